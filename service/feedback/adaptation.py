"""From labels to the next flag lines: `propose`. Pure: no store, no clock, no HTTP.

Owns what one proposal may do and how it accounts for itself. Refuses to know whose answers count, how conflicts are
settled (`reviewers`, `outcomes`), how a line is tested (`targets`), and what becomes of a proposal.

Two strategies: `learn-then-test`, see `targets`; and `field-rule`, which is common in the field and here to compare
with: precision under 0.8 raises the line by 0.05, over 0.95 lowers it by as much, within 0.5 to 0.95.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from service.feedback.labels import Label
from service.feedback.outcomes import Outcome, count, evidence, latest, resolve
from service.feedback.reviewers import Trust, cap, judge
from service.feedback.targets import Estimate, Limits, Target, choose, estimate
from service.policy import Thresholds

__all__ = ["CategoryProposal", "Limits", "Proposal", "Reason", "Strategy", "Target", "propose"]

Strategy = Literal["learn-then-test", "field-rule"]
Reason = Literal[
    "moved",  # to the line that meets the target with confidence 1 - delta
    "moved_part_of_the_way",  # towards it, as far as one proposal may
    "unchanged",  # the line in force is the one that would be chosen
    "fixed",  # zero tolerance: nobody's feedback moves it
    "no_target",
    "too_few_labels",
    "too_few_reviewers",  # nobody is admitted, or too few for all to stay within their share
    "reviewers_split",  # as many are out of line as in it
    "no_candidate_passes",  # not even the safest line can be shown to meet the target
]


@dataclass(frozen=True, slots=True)
class CategoryProposal:
    """What is proposed for one category, and on what grounds.

    `labels` came in; `receipts` bear on the metric once untrusted reviewers are out and shares are capped. `supported`
    is the line that they support, which `new` may only approach.
    """

    category: str
    old: Thresholds
    new: Thresholds
    reason: Reason
    target: Target | None
    labels: int
    receipts: int = 0
    supported: float | None = None
    before: Estimate | None = None
    after: Estimate | None = None
    out_of_line: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """Every category of a policy, in the order of its lines."""

    strategy: Strategy
    categories: Mapping[str, CategoryProposal]

    @property
    def changed(self) -> bool:
        """Whether any line moves."""
        return any(found.new != found.old for found in self.categories.values())

    @property
    def lines(self) -> dict[str, Thresholds]:
        """The lines of every category as proposed."""
        return {name: found.new for name, found in self.categories.items()}


def propose(
    labels: Sequence[Label],
    lines: Mapping[str, Thresholds],
    targets: Mapping[str, Target],
    limits: Limits,
    fixed: frozenset[str] = frozenset(),
    strategy: Strategy = "learn-then-test",
    base: Mapping[str, Thresholds] | None = None,
) -> Proposal:
    """The next lines of every category in `lines`; labels of other categories are left alone.

    `review` and `block` keep the distance from `flag` that they have in `base` (the preset; by default the lines in
    force), within 0..1. Measured from lines that were once clipped at 1, it would shrink with every move there and
    back.
    """
    given: dict[str, list[Label]] = {name: [] for name in lines}
    for label in labels:
        if label.category in given:
            given[label.category].append(label)
    by_strategy = {"learn-then-test": _learn_then_test, "field-rule": _field_rule}[strategy]
    found = {}
    for name, old in lines.items():
        target = targets.get(name)
        proposal = CategoryProposal(name, old, old, "no_target", target, len(given[name]))
        if name in fixed:
            proposal = replace(proposal, reason="fixed")
        elif target is not None:
            proposal, outcomes = by_strategy(proposal, given[name], target, limits)
            proposal = _settled(proposal, outcomes, (base or lines)[name], limits)
        found[name] = proposal
    return Proposal(strategy, found)


def admitted(labels: Sequence[Label], limits: Limits) -> tuple[list[Outcome], Trust]:
    """The outcomes of one category's labels: of admitted reviewers, each within their share, conflicts settled."""
    trust = judge(labels, limits.shared)
    if trust.split:
        return [], trust
    names = set(trust.named("admitted"))
    return resolve(cap([label for label in latest(labels) if label.reviewer in names], limits.reviewer_share)), trust


def _learn_then_test(
    proposal: CategoryProposal, labels: Sequence[Label], target: Target, limits: Limits
) -> tuple[CategoryProposal, list[Outcome]]:
    outcomes, trust = admitted(labels, limits)
    usable = evidence(target.metric, outcomes)
    flag = proposal.old.flag
    trials = count(target.metric, usable, flag, flag).trials
    proposal = replace(
        proposal, receipts=trials, out_of_line=trust.named("out_of_line"), unproven=trust.named("unproven")
    )
    if trust.split:
        return replace(proposal, reason="reviewers_split"), usable
    if labels and not outcomes:
        return replace(proposal, reason="too_few_reviewers"), usable
    if trials < max(limits.minimum, target.least_trials):
        return replace(proposal, reason="too_few_labels"), usable
    supported = choose(target, usable, limits, flag)
    return replace(proposal, supported=supported, reason="no_candidate_passes"), usable


def _field_rule(
    proposal: CategoryProposal, labels: Sequence[Label], target: Target, limits: Limits
) -> tuple[CategoryProposal, list[Outcome]]:
    """No trust and no draw: every answer on what is held back counts, as it does where this rule is used."""
    flag, outcomes = proposal.old.flag, resolve(labels)
    counts = count("precision", outcomes, flag, 0.0)
    proposal = replace(proposal, receipts=counts.trials, reason="too_few_labels")
    if counts.trials < max(1, limits.minimum):
        return proposal, evidence(target.metric, outcomes)
    precision = counts.events / counts.trials
    shift = 0.05 if precision < 0.8 else -0.05 if precision > 0.95 else 0.0
    line = min(max(flag + shift, 0.5), 0.95) if shift else flag
    return replace(proposal, supported=line), evidence(target.metric, outcomes)


def _towards(old: Thresholds, supported: float, base: Thresholds, limits: Limits) -> Thresholds:
    """The lines moved to the supported flag line, as far as step, floor and ceiling let them."""
    reachable = min(max(supported, old.flag - limits.step), old.flag + limits.step)
    flag = min(max(limits.within(reachable), old.flag - limits.step), old.flag + limits.step)
    if abs(flag - old.flag) < 1e-9:
        return old
    review = min(1.0, flag + base.review - base.flag)
    block = min(1.0, flag + base.block - base.flag)
    return replace(old, flag=round(flag, 9), review=round(review, 9), block=round(block, 9))


def _settled(
    proposal: CategoryProposal, outcomes: Sequence[Outcome], base: Thresholds, limits: Limits
) -> CategoryProposal:
    """The proposal with its new lines, why they are what they are, and the metric at both."""
    target, old = proposal.target, proposal.old
    if target is None:
        return proposal
    if proposal.supported is not None:
        new = _towards(old, proposal.supported, base, limits)
        whole = abs(new.flag - proposal.supported) < 1e-9
        reason: Reason = "unchanged" if new == old else "moved" if whole else "moved_part_of_the_way"
        proposal = replace(proposal, new=new, reason=reason)
    before, after = (
        estimate(target.metric, outcomes, line, old.flag, 1.0 - target.delta) for line in (old.flag, proposal.new.flag)
    )
    return replace(proposal, before=before, after=after)
