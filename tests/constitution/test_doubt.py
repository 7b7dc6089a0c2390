from __future__ import annotations

import numpy as np
import pytest

from service.constitution.doubt import Doubt
from service.constitution.embedded_judge import EmbeddedJudge
from service.constitution.masking import harmful_words
from service.constitution.opinion import Case
from service.constitution.principles import Constitution
from service.constitution.reading import Reading
from service.constitution.revision import mask, words
from service.constitution.second_look import MOST_SHIFT, SecondLook
from service.policy import LivePolicies, Policy, PolicyBook, Thresholds
from service.taxonomy import CATEGORIES
from service.types import Content, Depth, Finding, Span

POLICY = Policy("default", "v", "balanced", dict.fromkeys(CATEGORIES, Thresholds(0.5, 0.7, 0.9)))
POLICIES = LivePolicies(PolicyBook({"default": POLICY}))


class Lines:
    def line(self, policy: str, principle: str) -> float:
        return 0.8


def seen(score: float, category: str = "hate", stage: str = "semantic") -> Finding:
    return Finding(category, score, stage, "model:x")


@pytest.mark.parametrize(
    ("findings", "doubtful"),
    [
        ([seen(0.001)], False),
        ([seen(0.45)], True),
        ([seen(0.6)], True),
        ([seen(0.99)], False),
        ([seen(0.55), seen(0.99, "violence")], False),
        ([seen(0.001), seen(0.6, stage="keyword")], True),
        ([seen(0.01), Finding("", 0.82, "constitution", "principle:p:examples")], True),
        ([seen(0.01), Finding("", 0.3, "constitution", "principle:p:examples")], False),
        ([seen(0.01), Finding("", 0.82, "constitution", "principle:p:coercion")], False),
    ],
)
def test_what_is_doubtful(findings: list[Finding], doubtful: bool) -> None:
    gate = Doubt(POLICIES, Lines())
    depths: tuple[Depth, ...] = ("off", "auto", "always")
    assert [gate(Content("x", constitution=depth), findings) for depth in depths] == [False, doubtful, True]


READING = Reading(np.array([[[0.0, 2.0]], [[3.0, 0.0]]], dtype=np.float32), (Span(0, 1), Span(1, 9)))


async def read(content: Content) -> Reading:
    return READING


def second_look(intercept: float, *inner: float) -> SecondLook:
    return SecondLook(intercept, dict.fromkeys(CATEGORIES, 0.0), np.array(inner, dtype=np.float32))


async def test_a_second_look_moves_every_harm_by_the_same_and_no_further_than_it_may() -> None:
    look = second_look(50.0, 0.0, 0.0)
    scores = {**dict.fromkeys(CATEGORIES, 0.01), "hate": 0.45}
    assert look.shift(scores, -0.2, READING) == MOST_SHIFT
    case = Case(Content("x"), Constitution("c", "d", ()), scores, (seen(0.45),))
    opinion = await EmbeddedJudge(POLICIES, look, read).judge(case)
    assert opinion.scores["hate"] == pytest.approx(0.909, abs=0.01)
    assert "misinformation" not in opinion.scores
    far = Case(case.content, case.constitution, {**scores, "hate": 0.99}, (seen(0.99),))
    assert not (await EmbeddedJudge(POLICIES, look, read).judge(far)).scores
    assert not (await EmbeddedJudge(POLICIES, None, read).judge(case)).scores


def test_a_second_look_reads_which_way_the_text_lies() -> None:
    scores = dict.fromkeys(CATEGORIES, 0.5)
    assert READING.direction == pytest.approx(np.array([24.0, 2.0]) / np.hypot(24.0, 2.0), abs=1e-6)
    assert second_look(0.0, 1.0, 0.0).shift(scores, 0.0, READING) == pytest.approx(0.9965, abs=1e-3)
    assert second_look(9.0, 1.0, 0.0).shift(scores, 0.0, Reading.empty()) == 0.0


def test_masks_beside_one_another_become_one() -> None:
    text = "one two three four"
    spans = words(text)
    assert mask(text, [spans[1], spans[2]]) == "one [removed] four"
    assert mask(text, [Span(4, 13), spans[2]]) == "one [removed] four"
    assert mask(text, []) == text


async def test_the_shortest_list_of_words_that_is_enough() -> None:
    async def margins(texts: object) -> list[float]:
        assert isinstance(texts, list)
        return [text.count("bad") + text.count("worse") - 0.5 for text in texts]

    text = "a bad thing and a worse one on a fine day in the year"
    lists = await harmful_words(text, [Span(0, len(text))], margins)
    assert {text[s.start : s.end] for s in lists[0]} == {"bad", "worse"}
    assert await harmful_words("bad", [], margins) == []


async def test_words_that_say_the_same_do_not_hide_each_other_and_no_word_is_masked_for_nothing() -> None:
    async def margins(texts: object) -> list[float]:
        assert isinstance(texts, list)
        return [0.5 if "bad" in text or "vile" in text or "[removed]" not in text else -0.5 for text in texts]

    text = "a bad thing and a vile one, bad and vile, on a fine day in the year, as was said before by many of them"
    lists = await harmful_words(text, [], margins)
    assert [text[s.start : s.end].strip(",") for s in sorted(lists[0], key=lambda s: s.start)] == ["bad", "vile"] * 2
    named = [Span(2, 5), Span(28, 31)]
    lists = await harmful_words(text, [], margins, named)
    assert len(lists[0]) == 4 and all(span in found for span in named for found in lists)
    assert (await harmful_words("a bad thing", [], margins, [Span(2, 5)]))[0] == [Span(2, 5)]
