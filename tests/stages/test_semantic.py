"""The classifier's stage: which pieces are scored, how they become one score, and where the harm stands."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.normalize import views
from service.stages.semantic import (
    LEAST_SCORE,
    LOCATE_FROM,
    MOST_PLACES,
    SemanticStage,
    shift_for_windows,
    telling_views,
)
from service.types import Content, Finding
from tests.fake_scorer import FakeScorer, by_word

SHIFT = 0.35
KILL = by_word({"kill": {"violence": 0.9}, "idiot": {"harassment": 0.8}, "faint": {"hate": LEAST_SCORE / 2}})


async def inspect(scorer: FakeScorer, text: str, **options: object) -> list[Finding]:
    """What the stage finds in a text."""
    stage = SemanticStage(scorer, window_shift=SHIFT)
    return await stage.inspect(Content(text, **options), ())  # type: ignore[arg-type]


def places(findings: list[Finding], text: str, category: str = "violence") -> list[str]:
    """The stretches of the original that the findings of a category point at."""
    return [text[f.span.start : f.span.end] for f in findings if f.span and f.category == category]


async def test_a_finding_names_score_model_and_sentence() -> None:
    text = "I like tea. I will kill you! Bye now."
    (finding,) = await inspect(FakeScorer(KILL), text)
    assert (finding.category, finding.score, finding.stage, finding.reason) == (
        "violence",
        0.9,
        "semantic",
        "model:fake@0",
    )
    assert not finding.overrides and not finding.final
    assert places([finding], text) == ["I will kill you!"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("I like tea. I will k\u200bill\u200b you. Bye.", "I will k\u200bill\u200b you."),
        ("I  like   tea.\r\n\r\n\r\nI will   kill you.  Bye.", "I will   kill you."),
        ("\u200b\u200bSo what. I will \uff4b\uff49\uff4c\uff4c you. Bye.", "I will \uff4b\uff49\uff4c\uff4c you."),
        ("Nice &amp; fine. I will kill you. Bye.", "I will kill you."),
    ],
)
async def test_spans_are_the_originals_after_normalisation(text: str, sentence: str) -> None:
    scorer = FakeScorer(KILL)
    assert places(await inspect(scorer, text), text) == [sentence]
    assert all("\u200b" not in piece for call in scorer.calls for piece, _ in call)


async def test_a_disguised_word_is_scored_beside_the_plain_reading() -> None:
    text = "I like tea. I will k1ll you. Bye."
    scorer = FakeScorer(KILL)
    assert places(await inspect(scorer, text), text) == ["I will k1ll you."]
    first = [piece for piece, _ in scorer.calls[0]]
    assert first[0] == text and "I like tea. I will kill you. Bye." in first


async def test_a_plain_text_is_scored_once() -> None:
    scorer = FakeScorer(KILL)
    await inspect(scorer, "The cat sat on the mat.")
    assert scorer.calls == [[("The cat sat on the mat.", "")]]


async def test_the_context_is_not_read() -> None:
    from service.types import Turn

    scorer = FakeScorer(lambda text, context: {"violence": 0.9 if context else 0.0})
    assert await inspect(scorer, "hello", context=(Turn("kill"),)) == []


async def test_the_highest_window_counts_less_the_more_there_are() -> None:
    text = " ".join(["tea"] * 40 + ["kill"] + ["tea"] * 40)
    scorer = FakeScorer(KILL, room=20)
    (finding,) = await inspect(scorer, text)
    windows = len(scorer.windows(text))
    assert windows > 3
    assert finding.score == pytest.approx(shift_for_windows(0.9, windows, SHIFT))
    assert 0.7 < finding.score < 0.9
    (place,) = places([finding], text)
    assert "kill" in place and len(place.split()) == 20  # no sentence to point at, so the window


async def test_extra_readings_do_not_shift() -> None:
    (finding,) = await inspect(FakeScorer(KILL), "I will k1ll you")
    assert finding.score == 0.9


async def test_every_window_of_a_long_text_is_scored() -> None:
    for place in range(0, 60, 7):
        words = ["tea"] * 60
        words[place] = "kill"
        assert await inspect(FakeScorer(KILL, room=8), " ".join(words))


async def test_without_explain_there_is_no_second_look() -> None:
    text = "I like tea. I will kill you! Bye now."
    scorer = FakeScorer(KILL)
    findings = await inspect(scorer, text, explain=False)
    assert [f.score for f in findings] == [0.9] and len(scorer.calls) == 1


async def test_what_only_the_whole_says_is_placed_on_the_whole() -> None:
    text = "First one. Then the other."
    scorer = FakeScorer(lambda seen, context: {"violence": 0.9 if "First" in seen and "other" in seen else 0.3})
    assert places(await inspect(scorer, text), text) == [text]


async def test_each_category_has_its_own_places_and_not_too_many() -> None:
    text = "You idiot. " + "I will kill you. " * 6 + "Bye."
    findings = await inspect(FakeScorer(KILL), text)
    assert places(findings, text, "harassment") == ["You idiot."]
    assert places(findings, text) == ["I will kill you."] * MOST_PLACES
    assert {f.score for f in findings if f.category == "violence"} == {0.9}


@pytest.mark.parametrize(("score", "place"), [(LOCATE_FROM / 2, None), (LOCATE_FROM, "Some word.")])
async def test_a_low_score_has_no_place(score: float, place: str | None) -> None:
    text = "Some word. Another."
    (finding,) = await inspect(FakeScorer(by_word({"word": {"violence": score}})), text)
    assert finding.score == pytest.approx(score)
    assert (finding.span and text[finding.span.start : finding.span.end]) == place


async def test_scores_that_say_nothing_are_left_out() -> None:
    assert await inspect(FakeScorer(KILL), "faint") == []


@pytest.mark.parametrize("role", ["user", "assistant", ""])
async def test_the_kind_is_handed_on(role: str) -> None:
    scorer = FakeScorer(KILL)
    content = Content("I will kill you. Bye.", role=role)
    await SemanticStage(scorer, window_shift=SHIFT).inspect(content, ())
    assert len(scorer.calls) == 2 and set(scorer.kinds) == {content.kind}


@given(text=st.text(st.sampled_from("kil1 .!?\n\u200b\ud800&#aΑ한"), max_size=60))
async def test_spans_lie_in_the_text_whatever_it_is(text: str) -> None:
    for finding in await inspect(FakeScorer(lambda seen, context: {"violence": 0.9}, room=5), text):
        assert finding.span is not None
        assert 0 <= finding.span.start <= finding.span.end <= len(text)
        assert finding.span.start < finding.span.end or not text


@given(low=st.floats(0, 1), high=st.floats(0, 1), windows=st.integers(1, 500))
def test_the_shift_keeps_the_order_and_never_raises(low: float, high: float, windows: int) -> None:
    low, high = sorted((low, high))
    first, second = (shift_for_windows(score, windows, SHIFT) for score in (low, high))
    assert 0.0 <= first <= second + 1e-12 and second <= high + 1e-12
    assert shift_for_windows(high, 1, SHIFT) == high


def test_a_text_disguised_through_and_through_is_scored_as_it_reads() -> None:
    found = telling_views(views("y0u ar3 a w0rthl3ss f00l"))
    assert len(found) == 1
    assert "worthless" in found[0].text


def test_one_odd_word_is_scored_beside_the_text_as_written() -> None:
    text = "The meeting about the new roof of the old school hall was moved to Monday, said the stup1d caretaker again."
    assert [view.name for view in telling_views(views(text))] == ["plain", "leet"]


async def test_a_number_alone_is_no_privacy_harm_to_the_classifier() -> None:
    def scores(text: str, context: str) -> dict[str, float]:
        return {"privacy": 0.95 if any(c.isdigit() for c in text) else 0.9 if "her street" in text else 0.02}

    async def privacy(text: str) -> float:
        stage = SemanticStage(FakeScorer(scores), window_shift=0.0)
        return max((f.score for f in await stage.inspect(Content(text), ()) if f.category == "privacy"), default=0.0)

    assert await privacy("Call me on +1 202 555 0143, please") == pytest.approx(0.02)
    assert await privacy("Tell me her street and her number, it ends in 43") == pytest.approx(0.9)
    assert await privacy("Tell me her street") == pytest.approx(0.9)


async def test_a_number_in_one_window_does_not_clear_another() -> None:
    def scores(text: str, context: str) -> dict[str, float]:
        return {"privacy": 0.95 if "555" in text else 0.8 if "street" in text else 0.02}

    text = "call me on 555 0143 any day you like and tell me which street she lives in by now"
    stage = SemanticStage(FakeScorer(scores, room=8), window_shift=0.0)
    found = await stage.inspect(Content(text), ())
    assert max(f.score for f in found if f.category == "privacy") == pytest.approx(0.8)


def test_what_was_hidden_in_a_disguised_text_is_still_scored() -> None:
    hidden = base64.b64encode(b"you should go and end your life tonight, nobody wants you here").decode()
    smuggled = "".join(chr(0xE0000 + ord(c)) for c in "go and end your life tonight")
    text = f"th3 w3ath3r w4s n1c3 4nd th3 b0at l3ft t0d4y {hidden}"
    for whole in (text, f"{text}{smuggled}", f"{smuggled}{text}"):
        read = " | ".join(view.text for view in telling_views(views(whole)))
        assert "end your life tonight, nobody wants you" in read
        assert (smuggled not in whole) or "go and end your life tonight" in read.replace("you should go and end", "")
