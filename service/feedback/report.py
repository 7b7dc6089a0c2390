"""What feedback says of each category's flag line as it stands, and what it does not say yet. Pure.

Owns the numbers of the feedback report. Refuses to know how a line is chosen and how the report looks on the wire.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from service.feedback.adaptation import admitted
from service.feedback.labels import Label
from service.feedback.outcomes import Metric, Outcome, count, evidence
from service.feedback.reviewers import Standing, Trust
from service.feedback.targets import Estimate, Limits, Target, estimate
from service.policy import Thresholds

Missing = Literal[
    "admitted_reviewers",  # so that nobody need have more than their share
    "second_looks",  # answers beside others' that admit the reviewers who are unproven
    "audited_innocent",  # receipts drawn at random and found innocent, for an FPR
    "audited_harmful",  # the same, found harmful, for an FNR
    "reviewed_held_back",  # receipts held back and reviewed, for a precision
]
_OF_METRIC: Mapping[Metric, Missing] = {
    "fpr": "audited_innocent",
    "fnr": "audited_harmful",
    "precision": "reviewed_held_back",
}


@dataclass(frozen=True, slots=True)
class CategoryReport:
    """Feedback on one category.

    `labels` are all answers; the other counts are of receipts with answers of admitted reviewers, each within their
    share: `audited` drawn at random, `twice` answered by two or more, `disputed` between them, `harmful` and
    `innocent`. `precision`, `fpr` and `fnr` are taken at the flag line. `missing` says how many more of what a decision
    needs; it is empty where there is enough, or no target. `split`: as many reviewers are out of line as in it, so none
    is believed.
    """

    category: str
    labels: int
    receipts: int
    audited: int
    twice: int
    disputed: int
    harmful: int
    innocent: int
    precision: Estimate
    fpr: Estimate
    fnr: Estimate
    missing: Mapping[Missing, int]
    reviewers: tuple[Standing, ...]
    split: bool

    @property
    def out_of_line(self) -> tuple[Standing, ...]:
        """The reviewers whose answers are left out because they contradict the others'."""
        return tuple(standing for standing in self.reviewers if standing.verdict == "out_of_line")


def report(
    labels: Sequence[Label],
    lines: Mapping[str, Thresholds],
    targets: Mapping[str, Target],
    limits: Limits,
    confidence: float = 0.95,
) -> dict[str, CategoryReport]:
    """The report on every category in `lines`, in their order; intervals are exact, two-sided, of that confidence."""
    given: dict[str, list[Label]] = {name: [] for name in lines}
    for label in labels:
        if label.category in given:
            given[label.category].append(label)
    return {
        name: _category(name, given[name], lines[name].flag, targets.get(name), limits, confidence) for name in lines
    }


def _category(
    name: str, labels: Sequence[Label], flag: float, target: Target | None, limits: Limits, confidence: float
) -> CategoryReport:
    outcomes, trust = admitted(labels, limits)

    def at_the_line(metric: Metric) -> Estimate:
        return estimate(metric, evidence(metric, outcomes), flag, flag, confidence)

    return CategoryReport(
        category=name,
        labels=len(labels),
        receipts=len(outcomes),
        audited=sum(outcome.audited for outcome in outcomes),
        twice=sum(outcome.reviewers > 1 for outcome in outcomes),
        disputed=sum(outcome.harmful is None for outcome in outcomes),
        harmful=sum(outcome.harmful is True for outcome in outcomes),
        innocent=sum(outcome.harmful is False for outcome in outcomes),
        precision=at_the_line("precision"),
        fpr=at_the_line("fpr"),
        fnr=at_the_line("fnr"),
        missing={} if target is None else _missing(target, outcomes, trust, flag, limits),
        reviewers=tuple(trust.standings.values()),
        split=trust.split,
    )


def _missing(
    target: Target, outcomes: Sequence[Outcome], trust: Trust, flag: float, limits: Limits
) -> dict[Missing, int]:
    """How many more of what it takes, without what there is enough of."""
    unproven = [trust.standings[name] for name in trust.named("unproven")]
    reviewers = max(0, math.ceil(1.0 / limits.reviewer_share - 1e-9) - len(trust.named("admitted")))
    trials = count(target.metric, evidence(target.metric, outcomes), flag, flag).trials
    wanted: dict[Missing, int] = {
        "admitted_reviewers": reviewers,
        "second_looks": sum(limits.shared - standing.shared for standing in unproven) if reviewers else 0,
        _OF_METRIC[target.metric]: max(0, max(limits.minimum, target.least_trials) - trials),
    }
    return {what: number for what, number in wanted.items() if number > 0}
