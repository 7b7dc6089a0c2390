"""From reviewers' answers to one truth a receipt, and from truths to counts at a line. Pure.

Owns the rule for answers that conflict, and what each metric counts. Refuses to know whom to trust, how lines move and
where labels lie.

The rule: a receipt has the truth that most of its admitted reviewers gave; where they are split evenly it is disputed,
and a disputed receipt counts against whatever would loosen the line, whichever line is asked about. So a tie is never a
reason to move, and one honest second look is enough to undo one lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from service.feedback.labels import Label
from service.taxonomy import Action

Metric = Literal["fpr", "fnr", "precision"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One receipt after review. `harmful` is None while its reviewers are split; `reviewers` says how many they are."""

    receipt: str
    score: float
    action: Action
    audited: bool
    harmful: bool | None
    reviewers: int


@dataclass(frozen=True, slots=True)
class Counts:
    """`events` of `trials`: innocent ones held back (fpr), harmful ones let by (fnr), or held back with reason."""

    events: int
    trials: int


def latest(labels: Iterable[Label]) -> list[Label]:
    """One label per receipt and reviewer, the newest, by receipt and reviewer, in whatever order they came."""
    newest: dict[tuple[str, str], Label] = {}
    for label in labels:
        key = label.receipt, label.reviewer
        if key not in newest or (label.at, label.harmful) > (newest[key].at, newest[key].harmful):
            newest[key] = label
    return [newest[key] for key in sorted(newest)]


def resolve(labels: Iterable[Label]) -> list[Outcome]:
    """The outcome of each receipt, by the rule above; the labels are of one category and of admitted reviewers."""
    answers: dict[str, list[Label]] = {}
    for label in latest(labels):
        answers.setdefault(label.receipt, []).append(label)
    found = []
    for receipt, given in answers.items():
        harmful, first = sum(label.harmful for label in given), given[0]
        truth = None if 2 * harmful == len(given) else 2 * harmful > len(given)
        audited = all(label.audited for label in given)
        found.append(Outcome(receipt, first.score, first.action, audited, truth, len(given)))
    return found


def evidence(metric: Metric, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes that may speak of the metric.

    FPR and FNR: randomly audited ones alone, since feedback on what was held back says nothing of misses. They are
    drawn whatever their verdict, so what was allowed and what was held back stand in their true proportion and each
    counts as one: a weight would leave no binomial count to bound exactly. Precision: all, but for reports on what had
    been let through, which nobody drew.
    """
    held_back = metric == "precision"
    return [outcome for outcome in outcomes if outcome.audited or (held_back and outcome.action >= Action.FLAG)]


def count(metric: Metric, outcomes: Sequence[Outcome], line: float, flag: float) -> Counts:
    """The metric's counts, were `line` the flag line. `flag` is the line in force.

    Under the line in force, precision is counted among audited outcomes alone: what was let through was reviewed by
    draw only, and would be outnumbered by what was held back.
    """
    if metric == "fpr":
        held = sum(outcome.harmful is not True and outcome.score >= line for outcome in outcomes)
        return Counts(held, held + sum(outcome.harmful is False and outcome.score < line for outcome in outcomes))
    if metric == "fnr":
        missed = sum(outcome.harmful is not False and outcome.score < line for outcome in outcomes)
        return Counts(missed, missed + sum(outcome.harmful is True and outcome.score >= line for outcome in outcomes))
    held_back = [o for o in outcomes if o.score >= line and (o.audited or line >= flag)]
    return Counts(sum(outcome.harmful is True for outcome in held_back), len(held_back))
