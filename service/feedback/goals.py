"""What a policy's lines have to meet, and what may never move: the operator's part of adaptation.

Owns the values. Refuses to know files and labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.feedback.targets import Limits, Target

DAYS = 90  # of feedback that a proposal reads


@dataclass(frozen=True, slots=True)
class Goals:
    """Targets by category (one without a target never moves), `fixed` categories, limits, and how far back to read."""

    targets: Mapping[str, Target] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    days: int = DAYS
