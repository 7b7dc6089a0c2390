"""What a judge is given and what it says: the one seam between stage one and whoever is asked in doubt.

Owns those shapes. Refuses to know who judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.constitution.principles import Constitution
from service.types import Content, Finding, Scores, Span


@dataclass(frozen=True, slots=True)
class Case:
    """A content in doubt: `scores` is the outcome per category so far, `findings` what was seen, `text` as sent."""

    content: Content
    constitution: Constitution
    scores: Scores
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Breach:
    """One principle that a judge finds violated. `quote` stands in the text at `span`, where it does stand there."""

    principle: str
    score: float
    reason: str = field(repr=False)
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a judge says. `scores` are proposals per category; what it does not name it leaves as it is.

    `critique` and `revision` may quote the text: they go into the reply, never into a log, a metric or a store.
    """

    judge: str
    scores: Mapping[str, float] = field(default_factory=dict)
    breaches: tuple[Breach, ...] = ()
    critique: str = field(default="", repr=False)
    revision: str = field(default="", repr=False)


class Judge(Protocol):
    """Settles a doubt."""

    async def judge(self, case: Case) -> Opinion:
        """Raises JudgeFailed where there is no opinion to be had: never a mild one instead."""
        ...
