"""Thresholds, policies and the verdict. Pure: no HTTP, no model, no clock, no files.

Owns every number that turns a score into an action, and `decide`, the one place where an Action is made.
Refuses to know how a score came about.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from service.errors import PolicyInvalid, UnknownPolicy
from service.stream_rules import StreamRules
from service.taxonomy import CATEGORIES, Action
from service.types import Finding, Judgement

PRESETS = ("strict", "balanced", "permissive")
_PARENTS = tuple((name, category.parent) for name, category in CATEGORIES.items() if category.parent is not None)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The lines of one category, flag <= review <= block.

    `most` caps the action, `max_lowering` bounds how far adjudicators together may lower the detectors' maximum.
    """

    flag: float
    review: float
    block: float
    max_lowering: float = 0.0
    most: Action = Action.BLOCK

    def action(self, score: float) -> Action:
        """The action that a score calls for in this category."""
        if score < self.flag:  # of nearly every category of nearly every text
            return Action.ALLOW
        reached = Action.ALLOW
        for line, action in ((self.flag, Action.FLAG), (self.review, Action.REVIEW), (self.block, Action.BLOCK)):
            if score >= line:
                reached = action
        return min(reached, self.most)

    def line(self, action: Action) -> float:
        """The score from which an action is called for."""
        return {Action.ALLOW: 0.0, Action.FLAG: self.flag, Action.REVIEW: self.review, Action.BLOCK: self.block}[action]


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that a verdict depends on besides the scores. `version` names these very numbers."""

    name: str
    version: str
    preset: str
    thresholds: Mapping[str, Thresholds]
    on_degraded: Action = Action.REVIEW
    on_language: Action = Action.ALLOW  # what a text in an unmeasured language is raised to; ALLOW is a note only
    on_unscanned_image: Action = Action.ALLOW  # what an image that no visual classifier saw is raised to
    stream: StreamRules = field(default_factory=StreamRules)  # no verdict depends on it, nor does the version


@dataclass(frozen=True, slots=True)
class Draft:
    """Lines that are tried beside a policy's own and decide nothing. `token` names this very draft."""

    policy: Policy
    token: str


@dataclass(frozen=True, slots=True)
class PolicyBook:
    """All policies by name, and the drafts beside some: one reference, swapped whole."""

    policies: Mapping[str, Policy]
    drafts: Mapping[str, Draft] = field(default_factory=dict)

    def get(self, name: str) -> Policy:
        """The policy of that name, or UnknownPolicy."""
        try:
            return self.policies[name]
        except KeyError:
            raise UnknownPolicy("There is no policy of that name.", param="policy") from None


class LivePolicies:
    """The book in force: whoever asks holds this, and what changes is one reference."""

    def __init__(self, book: PolicyBook) -> None:
        self.current = book

    def get(self, name: str) -> Policy:
        """The policy of that name as it stands now, or UnknownPolicy."""
        return self.current.get(name)

    def draft(self, name: str) -> Draft | None:
        """The draft beside a policy, if there is one."""
        return self.current.drafts.get(name)


def name_version(policy: Policy, artifact_digest: str) -> str:
    """A policy's version: its name, and a hash of every number that a verdict depends on and of the artefact."""
    numbers = {c: [t.flag, t.review, t.block, t.max_lowering, int(t.most)] for c, t in policy.thresholds.items()}
    raises = [int(policy.on_degraded), int(policy.on_language), int(policy.on_unscanned_image)]
    content = [policy.preset, *raises, numbers, artifact_digest]
    return f"{policy.name}-{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]}"


def with_lines(policy: Policy, lines: Mapping[str, tuple[float, float, float]], artifact_digest: str) -> Policy:
    """The policy with other flag, review and block lines; every other number is its own."""
    thresholds = {
        category: replace(own, flag=lines[category][0], review=lines[category][1], block=lines[category][2])
        for category, own in policy.thresholds.items()
    }
    check_thresholds(policy.name, thresholds)
    moved = replace(policy, thresholds=thresholds)
    return replace(moved, version=name_version(moved, artifact_digest))


def check_thresholds(policy: str, thresholds: Mapping[str, Thresholds]) -> None:
    """Raise PolicyInvalid, in one sentence, unless every category has ordered lines within 0..1."""
    missing = sorted(set(CATEGORIES) - set(thresholds))
    if missing:
        raise PolicyInvalid(f"policy {policy}: category {missing[0]!r} has no thresholds")
    for name, lines in thresholds.items():
        if name not in CATEGORIES:
            raise PolicyInvalid(f"policy {policy}: category {name!r} is not in the taxonomy")
        if not 0.0 < lines.flag <= lines.review <= lines.block <= 1.0:
            raise PolicyInvalid(f"policy {policy}: {name} needs 0 < flag <= review <= block <= 1")
        if not 0.0 <= lines.max_lowering <= 1.0:
            raise PolicyInvalid(f"policy {policy}: {name} needs 0 <= max_lowering <= 1")


def resolve(findings: Iterable[Finding], policy: Policy) -> dict[str, float]:
    """One score per category: detectors' maximum, then the adjudicators' proposals, then what names imply.

    Any raise wins. The lowest lowering counts, but never further than `max_lowering` below the detectors' maximum,
    and never below a final finding.
    """
    detected = dict.fromkeys(CATEGORIES, 0.0)
    final: dict[str, float] = {}
    proposals: dict[str, list[float]] = {}
    for finding in findings:
        if not finding.category:
            continue  # of a principle: its own file decides, see `decide`
        score = finding.score
        if finding.calls_for > Action.ALLOW:
            score = policy.thresholds[finding.category].line(finding.calls_for)
        if finding.overrides:
            proposals.setdefault(finding.category, []).append(score)
        elif score > detected[finding.category]:
            detected[finding.category] = score
        if finding.final:
            final[finding.category] = max(final.get(finding.category, 0.0), score)
    scores = dict(detected)
    for name, proposed in proposals.items():
        top = detected[name]
        bound = max(0.0, top - policy.thresholds[name].max_lowering, final.get(name, 0.0))
        scores[name] = max(proposed) if max(proposed) > top else max(min(proposed), bound)
    for name, parent in _PARENTS:
        scores[parent] = max(scores[parent], scores[name])
    return scores


def decide(
    findings: Iterable[Finding], policy: Policy, *, degraded: bool, unmeasured_language: bool
) -> tuple[Action, tuple[Judgement, ...]]:
    """Make the action: the strictest over categories and principles, raised where a stage failed, the language is
    unmeasured, or an image was not seen.
    """
    findings = tuple(findings)
    scores = resolve(findings, policy)
    judgements = []
    action = max((finding.calls_for for finding in findings), default=Action.ALLOW)
    for name in CATEGORIES:
        lines, score = policy.thresholds[name], scores[name]
        own = lines.action(score)
        judgements.append(Judgement(name, score, lines.flag, own))
        action = max(action, own)
    if degraded:
        action = max(action, policy.on_degraded)
    if unmeasured_language:
        action = max(action, policy.on_language)
    if any(finding.missing.startswith("visual:") for finding in findings):
        action = max(action, policy.on_unscanned_image)
    return action, tuple(judgements)
