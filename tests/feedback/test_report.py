"""The feedback report: counts that add up, exact intervals, what is missing, and who is out of line."""

from __future__ import annotations

import pytest

from service.feedback.binomial import interval
from service.feedback.labels import Label
from service.feedback.report import CategoryReport, report
from service.feedback.targets import Limits, Target
from service.policy import Thresholds
from service.taxonomy import Action

LINES = {"hate": Thresholds(0.5, 0.7, 0.9)}
TARGETS = {"hate": Target("fpr", 0.05, 0.1)}
OPEN = Limits(minimum=100, shared=0, reviewer_share=1.0)


def label(
    receipt: str,
    score: float,
    harmful: bool,
    reviewer: str = "ann",
    audited: bool = True,
    action: Action = Action.ALLOW,
) -> Label:
    return Label(receipt, "hate", score, action, audited, 0.01, harmful, reviewer, 0.0)


def reported(labels: list[Label], limits: Limits = OPEN, target: Target | None = TARGETS["hate"]) -> CategoryReport:
    return report(labels, LINES, {} if target is None else {"hate": target}, limits)["hate"]


def sample(reviewer: str = "ann") -> list[Label]:
    """Audited: 40 innocent, 4 of them held back, and 10 harmful, 3 of them missed. Held back else: 20, 15 harmful."""
    audited = [label(f"a{n}", 0.8 if n < 4 else 0.1, False, reviewer) for n in range(40)]
    audited += [label(f"b{n}", 0.1 if n < 3 else 0.8, True, reviewer) for n in range(10)]
    held = [label(f"c{n}", 0.8, n < 15, reviewer, audited=False, action=Action.FLAG) for n in range(20)]
    return audited + held


def test_the_metrics_and_their_intervals() -> None:
    found = reported(sample())
    assert (found.labels, found.receipts, found.audited, found.harmful, found.innocent) == (70, 70, 50, 25, 45)
    assert (found.fpr.events, found.fpr.trials, found.fpr.value) == (4, 40, 0.1)
    assert (found.fnr.events, found.fnr.trials, found.fnr.value) == (3, 10, 0.3)
    assert (found.precision.events, found.precision.trials) == (7 + 15, 7 + 4 + 20)
    for metric in (found.fpr, found.fnr, found.precision):
        assert (metric.low, metric.high) == interval(metric.events, metric.trials, 0.95)
        assert metric.line == 0.5


def test_nothing_is_known_of_a_category_without_labels() -> None:
    found = reported([])
    assert (found.fpr.value, found.fpr.low, found.fpr.high) == (None, 0.0, 1.0)
    assert found.missing == {"admitted_reviewers": 1, "audited_innocent": 100}


@pytest.mark.parametrize(
    ("target", "missing"),
    [
        (Target("fpr", 0.05, 0.1), {"audited_innocent": 60}),
        (Target("fpr", 0.01, 0.1), {"audited_innocent": 230 - 40}),  # 0.99 ** 230 < 0.1 < 0.99 ** 229
        (Target("fnr", 0.2, 0.1), {"audited_harmful": 90}),
        (Target("precision", 0.9, 0.1), {"reviewed_held_back": 69}),
        (None, {}),
    ],
)
def test_what_is_missing_for_a_decision(target: Target | None, missing: dict[str, int]) -> None:
    assert reported(sample(), target=target).missing == missing


def test_enough_is_not_missing() -> None:
    assert reported(sample(), Limits(minimum=10, shared=0, reviewer_share=1.0), Target("fpr", 0.3, 0.2)).missing == {}


def test_second_looks_are_missing_where_nobody_is_proven() -> None:
    found = reported(sample(), Limits(minimum=10, shared=5, reviewer_share=0.5))
    assert found.receipts == 0
    assert found.missing == {"admitted_reviewers": 2, "second_looks": 5, "audited_innocent": 45}
    assert [standing.verdict for standing in found.reviewers] == ["unproven"]


def test_second_looks_and_disputes_are_counted() -> None:
    labels = [*sample(), label("a0", 0.8, True, "bob"), label("a1", 0.8, False, "bob")]
    found = reported(labels)
    assert (found.labels, found.receipts, found.twice, found.disputed) == (72, 70, 2, 1)
    assert found.innocent == 44


def test_who_is_out_of_line_is_named_and_left_out() -> None:
    liar = [label(one.receipt, one.score, not one.harmful, "eve", one.audited, one.action) for one in sample()]
    honest = [one for name in ("ann", "bob", "cem") for one in sample(name)]
    found = reported(honest + liar, Limits(minimum=10, shared=5, reviewer_share=0.4))
    assert [standing.reviewer for standing in found.out_of_line] == ["eve"]
    assert (found.fpr.events, found.fpr.trials) == (4, 40)
    assert not found.split


def test_a_split_is_told() -> None:
    other = [label(one.receipt, one.score, not one.harmful, "eve", one.audited, one.action) for one in sample()]
    found = reported(sample() + other, Limits(minimum=10, shared=5, reviewer_share=0.5))
    assert found.split
    assert found.receipts == 0 and not found.out_of_line
