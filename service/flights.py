"""Equal work at the same time is done once: the first caller starts it, the others join.

Owns the tasks under way. Refuses to know what is done in them, and keeps nothing of what came out. A caller that
leaves stops nobody else; the last one to leave stops the work. Whatever the work raises reaches all who joined.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


@dataclass(slots=True)
class _Flight(Generic[Value]):
    task: asyncio.Task[Value]
    wanted: int = 0


class Flights(Generic[Value]):
    """Work under way by key, on one event loop."""

    def __init__(self) -> None:
        self._flying: dict[bytes, _Flight[Value]] = {}

    def __len__(self) -> int:
        return len(self._flying)

    def flying(self, key: bytes) -> bool:
        """Whether `run` would join."""
        return key in self._flying

    async def run(self, key: bytes, work: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """What the work under this key gives; it is started unless it is under way."""
        flight = self._flying.get(key)
        if flight is None:
            flight = self._flying[key] = _Flight(asyncio.create_task(work()))
            flight.task.add_done_callback(lambda task: self._land(key, task))
        flight.wanted += 1
        try:
            await asyncio.wait((flight.task,))  # unlike awaiting the task itself, this never cancels it
            return flight.task.result()
        finally:
            flight.wanted -= 1
            if flight.wanted == 0 and not flight.task.done():
                flight.task.cancel()
                self._forget(key, flight.task)  # at once: nobody may join what is being stopped

    def _land(self, key: bytes, task: asyncio.Task[Value]) -> None:
        self._forget(key, task)
        if not task.cancelled():
            task.exception()  # seen: asyncio would log it, message and all, if everybody has left

    def _forget(self, key: bytes, task: asyncio.Task[Value]) -> None:
        flight = self._flying.get(key)
        if flight is not None and flight.task is task:
            del self._flying[key]
