"""How conflicting answers are settled, and what each metric counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.feedback.labels import Label
from service.feedback.outcomes import Counts, Outcome, count, evidence, latest, resolve
from service.taxonomy import Action


def label(reviewer: str, harmful: bool, at: float = 0.0, receipt: str = "r") -> Label:
    return Label(receipt, "hate", 0.4, Action.ALLOW, True, 0.01, harmful, reviewer, at)


def outcome(
    score: float, harmful: bool | None, audited: bool = True, action: Action = Action.ALLOW, reviewers: int = 1
) -> Outcome:
    return Outcome("r", score, action, audited, harmful, reviewers)


OUTCOMES = st.lists(st.builds(outcome, st.floats(0, 1), st.sampled_from([True, False, None]), st.booleans()))


@pytest.mark.parametrize(
    ("answers", "truth"),
    [
        ([True], True),
        ([False], False),
        ([True, True, False], True),
        ([True, False, False], False),
        ([True, False], None),
        ([True, False, True, False], None),
    ],
)
def test_the_majority_speaks_and_a_tie_is_disputed(answers: list[bool], truth: bool | None) -> None:
    (found,) = resolve([label(str(n), answer) for n, answer in enumerate(answers)])
    assert (found.harmful, found.reviewers) == (truth, len(answers))


def test_a_reviewer_has_one_voice_the_last() -> None:
    answers = [label("ann", True, at=2.0), label("ann", False, at=1.0), label("bob", True), label("ann", False, at=0.0)]
    assert [one.harmful for one in latest(answers)] == [True, True]
    (found,) = resolve(answers)
    assert (found.harmful, found.reviewers) == (True, 2)


def test_reports_are_no_draw() -> None:
    allowed, held = outcome(0.4, True, audited=False), outcome(0.9, True, audited=False, action=Action.FLAG)
    drawn = outcome(0.4, True)
    assert evidence("precision", [allowed, held, drawn]) == [held, drawn]
    assert evidence("fpr", [allowed, held, drawn]) == evidence("fnr", [allowed, held, drawn]) == [drawn]


def test_counts_at_a_line() -> None:
    outcomes = [
        *(outcome(0.2, False) for _ in range(5)),
        *(outcome(0.8, False) for _ in range(3)),
        *(outcome(0.2, True) for _ in range(2)),
        *(outcome(0.8, True) for _ in range(4)),
    ]
    assert count("fpr", outcomes, 0.5, 0.5) == Counts(3, 8)
    assert count("fnr", outcomes, 0.5, 0.5) == Counts(2, 6)
    assert count("precision", outcomes, 0.5, 0.5) == Counts(4, 7)


def test_a_score_on_the_line_is_held_back() -> None:
    assert count("fpr", [outcome(0.5, False)], 0.5, 0.5) == Counts(1, 1)


def test_what_is_disputed_counts_against_the_move() -> None:
    low, high = outcome(0.2, None), outcome(0.8, None)
    assert count("fpr", [low, high], 0.5, 0.5) == Counts(1, 1)  # an innocent text held back; below it, nothing
    assert count("fnr", [low, high], 0.5, 0.5) == Counts(1, 1)  # a harmful one let by
    assert count("precision", [low, high], 0.5, 0.5) == Counts(0, 1)


@given(OUTCOMES, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_higher_line_holds_back_fewer_and_misses_more(outcomes: list[Outcome], one: float, two: float) -> None:
    low, high = sorted((one, two))
    assert count("fpr", outcomes, low, 0.5).events >= count("fpr", outcomes, high, 0.5).events
    assert count("fnr", outcomes, low, 0.5).events <= count("fnr", outcomes, high, 0.5).events


@given(OUTCOMES, st.floats(0.0, 1.0), st.data())
def test_settling_a_dispute_never_makes_a_metric_look_worse(
    outcomes: list[Outcome], line: float, data: st.DataObject
) -> None:
    """Whatever the truth of a disputed receipt is, the line looked no better before it was known."""
    settled = [
        one if one.harmful is not None else outcome(one.score, data.draw(st.booleans()), one.audited)
        for one in outcomes
    ]
    for metric in ("fpr", "fnr"):
        before, after = count(metric, outcomes, line, 0.0), count(metric, settled, line, 0.0)
        assert before.events >= after.events
        assert before.trials - before.events <= after.trials - after.events
    assert count("precision", outcomes, line, 0.0).events <= count("precision", settled, line, 0.0).events
