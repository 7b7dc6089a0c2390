"""All that belongs to one artefact and one reading of the policy files, and who still uses it.

Owns the set of parts that a reload swaps whole, and letting it go. Refuses to know how it is opened (`wiring`) and when
it is swapped (`runtime`).
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Protocol

from service.constitution_parts import ConstitutionParts
from service.feedback.desk import FeedbackDesk
from service.feedback.ledger import Ledger
from service.feedback.tuning import Tuning
from service.feedback.versions import PolicyVersions
from service.pipeline import Pipeline
from service.policy import LivePolicies

_log = logging.getLogger("weir.runtime")


class LoadedScorer(Protocol):
    """The model, as far as others than the stages need it."""

    @property
    def alive(self) -> bool:
        """Whether it can take work."""
        ...

    @property
    def expected_wait_s(self) -> float:
        """Seconds that a short text coming now would wait for a worker."""
        ...

    @property
    def capacity(self) -> int:
        """Texts that may wait."""
        ...


class Users:
    """Counts who is using something (`with users:`), so that it is closed after the last one has left."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def __enter__(self) -> None:
        self._count += 1
        self._none.clear()

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if self._count == 0:
            self._none.set()

    async def gone(self, within_s: float) -> bool:
        """Wait until there are none; False if some are left."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._none.wait()
        return self._none.is_set()


@dataclass(frozen=True)
class Parts:
    """All that belongs to one artefact and one reading of the policy files. `stack` closes it."""

    policies: LivePolicies
    model: str
    languages: tuple[str, ...]
    pipeline: Pipeline = field(repr=False)
    scorer: LoadedScorer = field(repr=False)
    feedback: FeedbackDesk = field(repr=False)
    versions: PolicyVersions = field(repr=False)
    tuning: Tuning = field(repr=False)
    ledger: Ledger | None = field(repr=False)
    constitution: ConstitutionParts = field(repr=False)
    users: Users = field(repr=False)
    stack: AsyncExitStack = field(repr=False)

    async def retire(self, within_s: float) -> None:
        """Close it when nobody uses it any more, or when that takes too long."""
        if not await self.users.gone(within_s):
            _log.error("parts that were replaced are still in use, and are closed")
        await self.stack.aclose()
        await asyncio.to_thread(_give_back)


def _give_back() -> None:
    """Return freed memory to the system: glibc keeps a model's worth for each thread that has loaded one."""
    with suppress(OSError, AttributeError):  # another C library has no such call
        ctypes.CDLL(None).malloc_trim(0)
