"""What is kept: feedback, threshold versions, the audit trail, score counts; and the protocol of what keeps it.

Owns the shapes and the promises of a Store. Refuses to know databases, policies' other numbers and texts: nothing
here has a place for what somebody wrote. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from service.taxonomy import Action

Lines = tuple[float, float, float]  # flag <= review <= block
Chain = Literal["live", "draft"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A reviewer's truth on one category, beside what the verdict had said of it."""

    harmful: bool
    score: float
    action: Action


@dataclass(frozen=True, slots=True)
class Feedback:
    """One reviewer on one receipt. `artifact` is the scoring artefact's version; `answers` maps categories.

    `audited`: the verdict was drawn at random for review, with probability `audit_share`. `source` is `receipt`,
    `content` (re-scored) or `perspective`. `whole`: no stage was missing from the verdict.
    """

    receipt: str
    reviewer: str
    policy: str
    policy_version: str
    artifact: str
    made: float
    at: float
    audited: bool
    audit_share: float
    answers: Mapping[str, Answer]
    note: str = ""
    source: str = "receipt"
    whole: bool = True

    def says_the_same(self, other: Feedback) -> bool:
        """Whether this adds nothing to the other."""
        return self.note == other.note and {c: a.harmful for c, a in self.answers.items()} == {
            c: a.harmful for c, a in other.answers.items()
        }


class Appended(StrEnum):
    """What became of a feedback. `replaced`: the same reviewer said otherwise before; the later one counts."""

    RECORDED = "recorded"
    UNCHANGED = "unchanged"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class ChainKey:
    """Whose lines: a policy's, on one base (its file, preset and artefact as one digest), live or draft."""

    policy: str
    base: str
    chain: Chain = "live"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a policy's lines, 1 upwards; 0 is the base itself and is never stored.

    `lines` has every category, or none: then this is the base again (or, of a draft, no draft). `token` tells two
    writers of the same number apart.
    """

    key: ChainKey
    number: int
    lines: Mapping[str, Lines]
    author: str
    reason: str
    at: float
    token: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit trail: who did what to a policy, or said otherwise than before."""

    policy: str
    kind: str
    actor: str
    at: float
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cell:
    """What is counted: verdicts of one day (days since the epoch) whose score fell in one bin of one category."""

    policy: str
    artifact: str
    day: int
    category: str
    bin: int
    action: int
    audited: bool


class Store(Protocol):
    """Keeps what must not be lost: what a call has acknowledged survives kill -9 of any process.

    Every call raises StoreUnavailable when the store is away or slower than its budget.
    """

    async def append_feedback(self, entries: Sequence[Feedback]) -> list[Appended]:
        """Keep them, once per receipt and reviewer; a changed mind replaces the answer and leaves an Event."""
        ...

    async def feedback(self, policy: str, artifact: str, since: float = 0.0) -> list[Feedback]:
        """What was said at or after `since`, oldest first."""
        ...

    async def compare_and_set(self, version: Version) -> bool:
        """Append it to its chain if its number is the next one, with an Event and a new generation; else False."""
        ...

    async def heads(self, keys: Sequence[ChainKey]) -> tuple[int, dict[ChainKey, Version]]:
        """The generation, and the newest version of each of these chains that has one."""
        ...

    async def versions(self, key: ChainKey, most: int = 100) -> list[Version]:
        """The newest versions, newest first."""
        ...

    async def version(self, key: ChainKey, number: int) -> Version | None:
        """One version."""
        ...

    async def trail(self, policy: str, most: int = 100) -> list[Event]:
        """The newest events of a policy, newest first."""
        ...

    async def generation(self) -> int:
        """A number that rises with every version of any chain."""
        ...

    async def add_counts(self, owner: str, flush: int, counts: Mapping[Cell, int]) -> None:
        """Add to the counts; a flush of an owner that was added already changes nothing."""
        ...

    async def counts(self, policy: str, artifact: str, since_day: int) -> dict[Cell, int]:
        """The counts of a policy since a day."""
        ...

    async def acquire(self, lease: str, owner: str, seconds: float) -> bool:
        """Take or keep a lease; False while another owner has it."""
        ...

    async def release(self, lease: str, owner: str) -> None:
        """Give a lease back, if this owner has it."""
        ...

    async def close(self) -> None:
        """Finish what was begun."""
        ...
