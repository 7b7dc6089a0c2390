"""One long-lived thread that owns what must not be shared between threads, with a bounded line before it.

Owns the thread. Refuses to know what is called in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from service.errors import StoreUnavailable

Result = TypeVar("Result")


class OwnedThread:
    """Runs calls one after the other; `most_waiting` of them at most, `budget_s` for each, its wait included."""

    def __init__(self, name: str, *, most_waiting: int, budget_s: float) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._most_waiting = most_waiting
        self._budget_s = budget_s
        self._waiting = 0

    async def call(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, or StoreUnavailable when there is no room or no time.

        Work that was given up while it ran is finished all the same: a database call cannot be broken off.
        """
        if self._waiting >= self._most_waiting:
            raise StoreUnavailable("Too much is waiting for the store.")
        loop = asyncio.get_running_loop()
        try:
            future = self._executor.submit(work)
        except RuntimeError:
            raise StoreUnavailable("The store is closed.") from None
        self._waiting += 1

        def leave(_: Future[Result]) -> None:
            try:
                loop.call_soon_threadsafe(self._leave)
            except RuntimeError:  # the loop has closed: nobody counts any more
                return

        future.add_done_callback(leave)
        try:
            async with asyncio.timeout(self._budget_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise StoreUnavailable("The store does not answer in time.") from None

    def _leave(self) -> None:
        self._waiting -= 1

    async def close(self, last: Callable[[], None]) -> None:
        """Finish what waits, run `last` in the thread, and end it. Closing again does nothing."""
        try:
            self._executor.submit(last)
        except RuntimeError:
            return
        await asyncio.to_thread(self._executor.shutdown)
