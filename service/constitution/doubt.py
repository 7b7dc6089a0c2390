"""When stage one is not enough: scores near a line, detectors that disagree, principles near their own line.

Owns what doubt is. Refuses to know how it is settled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from service.policy import LivePolicies, Policy, resolve
from service.types import Content, Finding

NEAR_LOGITS = 0.5  # log-odds between a score and its flag line within which either side could be right
NEAR_PRINCIPLE = 0.02  # between the score of a principle made of examples and its line; rules are sure or silent
DISAGREE_LOW, DISAGREE_HIGH = 0.02, 0.5  # the classifier sees nothing where a rule by itself is this sure
_STAGES = ("semantic", "context")


class Lines(Protocol):
    """The line of each principle of the constitution that a policy has."""

    def line(self, policy: str, principle: str) -> float:
        """The score from which a text violates it."""
        ...


class Doubt:
    """The gate of the judge: `always` asks it of every text, `auto` of doubtful ones."""

    def __init__(self, policies: LivePolicies, lines: Lines) -> None:
        self._policies = policies
        self._lines = lines

    def __call__(self, content: Content, so_far: Sequence[Finding]) -> bool:
        """Whether the judge is to be asked."""
        if content.constitution == "off" or (content.images and not content.text):
            return False
        if content.constitution == "always":
            return True
        policy = self._policies.get(content.policy)
        return (
            near_a_line(so_far, policy)
            or disagree(so_far)
            or any(
                abs(f.score - self._lines.line(content.policy, principle_of(f))) < NEAR_PRINCIPLE
                for f in so_far
                if not f.category and f.reason.endswith(":examples")
            )
        )


def near_a_line(findings: Sequence[Finding], policy: Policy) -> bool:
    """Whether the category that stands out is close to its flag line; a text far over one line is no doubtful case."""
    return abs(margin(findings, policy)) < NEAR_LOGITS


def margin(findings: Sequence[Finding], policy: Policy) -> float:
    """Log-odds by which the foremost category stands over its flag line; negative below it."""
    scores = resolve(findings, policy)
    return max(log_odds(score) - log_odds(policy.thresholds[name].flag) for name, score in scores.items())


def disagree(findings: Sequence[Finding]) -> bool:
    """Whether a detector of words is sure of a category in which the classifier sees nothing."""
    read = [f for f in findings if f.category and f.stage in _STAGES]
    if not read:
        return False
    return any(
        f.score >= DISAGREE_HIGH
        and not f.final
        and max((r.score for r in read if r.category == f.category), default=0.0) < DISAGREE_LOW
        for f in findings
        if f.category and f.stage not in _STAGES
    )


def principle_of(finding: Finding) -> str:
    """The principle's id in a finding's reason, `principle:ID:GROUND`."""
    return finding.reason.split(":")[1]


def log_odds(score: float) -> float:
    """ln(p / (1 - p)), bounded."""
    bounded = min(max(score, 1e-6), 1.0 - 1e-6)
    return math.log(bounded / (1.0 - bounded))
