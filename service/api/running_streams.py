"""The replies that are being relayed: how many there may be, and for how long once the process is about to stop.

Owns the bound, the time that draining leaves them, and the audits that follow some of them. Refuses to know what is
relayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from service.errors import Draining, Overloaded

if TYPE_CHECKING:
    from service.runtime import Runtime

LOOK_S = 0.5  # between two looks at whether the process drains
MOST_AUDITS = 4  # at once; a stream that ends beside them is passed over, and counted as such

Done = TypeVar("Done")


class RunningStreams:
    """One for each application."""

    def __init__(self, *, most: int, drain_s: float, audit_share: float) -> None:
        """`drain_s`: what a stream may still take, once the process drains. `audit_share`: of the streams, 0 to 1."""
        self._most, self._drain_s = most, drain_s
        self.audit_share = audit_share
        self._running = 0
        self._drained_at: float | None = None
        self._audits: set[asyncio.Task[None]] = set()

    @contextmanager
    def one(self, runtime: Runtime) -> Iterator[None]:
        """Room for one stream while it runs; Overloaded where there is none."""
        if self._running >= self._most:
            raise Overloaded("Too many streams are running; ask again.")
        self._running += 1
        runtime.metrics.streams_in_flight.inc()
        try:
            yield
        finally:
            self._running -= 1
            runtime.metrics.streams_in_flight.dec()

    def patience(self, runtime: Runtime) -> float:
        """Seconds for which a stream may wait before it asks again; raises Draining when its time is up."""
        if not runtime.draining:
            self._drained_at = None
            return LOOK_S
        now = asyncio.get_running_loop().time()
        if self._drained_at is None:
            self._drained_at = now
        left = self._drained_at + self._drain_s - now
        if left <= 0:
            raise Draining("This replica is about to stop, and the reply was not done in time.")
        return min(left, LOOK_S)

    async def within(self, runtime: Runtime, work: Coroutine[Any, Any, Done]) -> Done:
        """What comes of the work; it is cancelled, and Draining raised, when draining leaves it no more time."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait((task,), timeout=self.patience(runtime))
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def audit(self, auditing: Coroutine[Any, Any, None]) -> bool:
        """Run an audit beside what is served; False, and it never starts, where enough of them run."""
        if len(self._audits) >= MOST_AUDITS:
            auditing.close()
            return False
        task = asyncio.ensure_future(auditing)
        self._audits.add(task)
        task.add_done_callback(self._audits.discard)
        return True

    async def close(self) -> None:
        """End the audits that still run."""
        for task in self._audits:
            task.cancel()
        await asyncio.gather(*self._audits, return_exceptions=True)
