"""Counting verdicts without their texts, and what is read out of the counts."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from service.feedback.traffic import (
    BINS,
    DRIFT_LEAST,
    Traffic,
    actions,
    drift,
    histogram,
    share_over,
    split_days,
    transitions,
)
from service.records import Cell
from service.taxonomy import CATEGORIES, Action
from service.types import Judgement, Verdict


def verdict(score: float, action: Action = Action.ALLOW, **more: object) -> Verdict:
    judgements = tuple(
        Judgement(name, score if name == "hate" else 0.0, 0.4, action if name == "hate" else Action.ALLOW)
        for name in CATEGORIES
    )
    return replace(Verdict(action, judgements, (), "default", "v", "tiny@1", "en"), **more)  # type: ignore[arg-type]


def test_every_verdict_is_counted_by_category_bin_action_and_draw() -> None:
    traffic = Traffic()
    traffic.note(verdict(0.5, Action.FLAG))
    traffic.note(verdict(0.5, Action.FLAG))
    traffic.note(verdict(1.0, Action.BLOCK, audit=True, policy="kids"))
    flush = traffic.flush(7)
    assert flush is not None
    number, cells = flush
    assert number == 1
    assert cells[Cell("default", "tiny@1", 7, "hate", BINS // 2, 1, False)] == 2
    assert cells[Cell("default", "tiny@1", 7, "violence", 0, 0, False)] == 2
    assert cells[Cell("kids", "tiny@1", 7, "hate", BINS - 1, 3, True)] == 1
    assert sum(cells.values()) == 3 * (len(CATEGORIES) + 1)
    assert actions(cells) == {Action.ALLOW: 0, Action.FLAG: 2, Action.REVIEW: 0, Action.BLOCK: 1}
    assert sum(histogram(cells)["hate"]) == sum(histogram(cells)["privacy"]) == 3


def test_a_flush_is_the_same_until_it_is_acknowledged() -> None:
    traffic = Traffic()
    assert traffic.flush(1) is None
    traffic.note(verdict(0.1))
    first = traffic.flush(1)
    traffic.note(verdict(0.2))
    assert first is not None and traffic.flush(2) == first
    traffic.acknowledge(first[0])
    second = traffic.flush(2)
    assert second is not None and second[0] == 2 and sum(histogram(second[1])["hate"]) == 1
    traffic.acknowledge(1)  # an acknowledgement that comes late takes nothing away
    assert traffic.flush(3) == second
    traffic.acknowledge(2)
    assert traffic.flush(3) is None


def test_what_a_draft_would_have_done_is_counted_beside() -> None:
    traffic = Traffic()
    for score, live, draft in ((0.1, 0, 3), (0.1, 0, 3), (0.9, 3, 0)):
        traffic.note(verdict(score, Action(live)))
        traffic.compare(verdict(score, Action(live)), "draft:t", Action(draft))
    flush = traffic.flush(1)
    assert flush is not None
    assert transitions(flush[1], "draft:t") == {(Action.ALLOW, Action.BLOCK): 2, (Action.BLOCK, Action.ALLOW): 1}
    assert transitions(flush[1], "another") == {}
    assert sum(histogram(flush[1])["hate"]) == 3


def test_the_share_over_a_line_splits_the_bin_that_it_cuts() -> None:
    counts = [10] * 10
    assert share_over(counts, 0.5) == pytest.approx(0.5)
    assert share_over(counts, 0.55) == pytest.approx(0.45)
    assert share_over(counts, 1.0) == 0.0 and share_over(counts, 0.0) == 1.0
    assert share_over([0] * 10, 0.5) == 0.0


def test_drift_is_small_for_the_same_population_and_large_for_another() -> None:
    draw = random.Random(1)

    def counts(shape: float, n: int = 2000) -> list[int]:
        found = [0] * BINS
        for _ in range(n):
            found[min(int(draw.random() ** shape * BINS), BINS - 1)] += 1
        return found

    same, other = drift(counts(4), counts(4)), drift(counts(4), counts(1.5))
    assert same is not None and other is not None
    assert 0.0 <= same < 0.1 and other > 0.25
    assert drift(counts(4), counts(4, DRIFT_LEAST - 1)) is None


def test_days_are_split() -> None:
    cells = {Cell("p", "m", day, "hate", 0, 0, False): day for day in (1, 2, 3)}
    before, now = split_days(cells, 2)
    assert sum(before.values()) == 1 and sum(now.values()) == 5
