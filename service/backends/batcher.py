"""A bounded queue in front of long-lived worker threads: who waits, who runs, and who is told no.

Owns waiting items, worker threads and their health. Refuses to know what an item is.

Promises, each a test: waiting is bounded (Overloaded at once); an item whose caller went away is not computed; an
exception reaches exactly the item that caused it; a worker that dies fails its item, is seen at once in `alive`, and
leaves nobody waiting; closing answers what is in flight and fails what still waits.

Every item is computed alone, unpadded: int8 activations are scaled over a whole batch, so company would change a
score, and on a CPU a batch of one costs no throughput.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.errors import Overloaded, ScorerFailed
from service.metrics import Metrics

Item = TypeVar("Item")
Result = TypeVar("Result")

SLICE_ITEMS = 32  # of one caller at a time at most, so that a long text does not stand before everyone else
JOIN_S = 10.0  # a worker that is still computing when closing is given this long


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    answer: asyncio.Future[Result]
    since: float


class Batcher(Generic[Item, Result]):
    """Runs `compute` on items in `workers` threads. Must be opened and closed on one event loop."""

    def __init__(
        self,
        compute: Callable[[Item], Result],
        *,
        workers: int,
        max_items: int,
        metrics: Metrics,
        slice_items: int = SLICE_ITEMS,
    ) -> None:
        self._compute = compute
        self._max_items = max_items
        self._slice_items = slice_items
        self._metrics = metrics
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._work: queue.SimpleQueue[_Waiting[Item, Result] | None] = queue.SimpleQueue()
        self._idle = workers
        self._in_flight: set[asyncio.Future[Result]] = set()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._threads = [
            threading.Thread(target=self._serve, name=f"weir-worker-{n}", daemon=True) for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether every worker is there to take work."""
        return not self._closing and all(thread.is_alive() for thread in self._threads)

    @property
    def depth(self) -> int:
        """Items that wait."""
        return len(self._waiting)

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """Results in the order of the items.

        Raises Overloaded when there is no room, ScorerFailed when the workers are gone, and what `compute` raised.
        """
        results: list[Result] = []
        step = max(1, min(self._slice_items, self._max_items // 4))
        for begin in range(0, len(items), step):
            results.extend(await self._submit_slice(items[begin : begin + step]))
        return results

    async def _submit_slice(self, items: Sequence[Item]) -> list[Result]:
        if not self.alive:
            raise ScorerFailed("The model's workers are not running.")
        if len(self._waiting) + len(items) > self._max_items:  # those who went away do not count
            self._waiting = deque(entry for entry in self._waiting if not entry.answer.done())
        if len(self._waiting) + len(items) > self._max_items:
            raise Overloaded("Too many texts are waiting; try again later.")
        now = time.perf_counter()
        futures = [self._loop.create_future() for _ in items]
        for item, future in zip(items, futures, strict=True):
            self._waiting.append(_Waiting(item, future, now))
        self._dispatch()
        try:
            return list(await asyncio.gather(*futures))
        finally:
            for future in futures:
                future.cancel()

    def _dispatch(self) -> None:
        """Hand waiting items to idle workers; items whose caller went away are dropped."""
        while self._idle > 0 and self._waiting:
            entry = self._waiting.popleft()
            if entry.answer.done():
                continue
            self._idle -= 1
            self._in_flight.add(entry.answer)
            self._metrics.queue_wait_seconds.observe(time.perf_counter() - entry.since)
            self._metrics.batch_items.observe(1)
            self._work.put(entry)
        self._metrics.queue_depth.set(len(self._waiting))

    def _serve(self) -> None:
        """A worker thread: one item after the other until it is told to stop."""
        while (entry := self._work.get()) is not None:
            if entry.answer.cancelled():
                self._post(entry, None, None)
                continue
            try:
                result = self._compute(entry.item)
            except Exception as error:
                self._post(entry, None, error)
            except BaseException:
                self._post(entry, None, ScorerFailed("A model worker died."), died=True)
                return  # the thread ends without a traceback, which could quote the item
            else:
                self._post(entry, result, None)

    def _post(
        self, entry: _Waiting[Item, Result], result: Result | None, error: Exception | None, *, died: bool = False
    ) -> None:
        try:
            self._loop.call_soon_threadsafe(self._settle, entry.answer, result, error, died)
        except RuntimeError:  # the loop has closed: nobody is left to tell
            return

    def _settle(
        self, answer: asyncio.Future[Result], result: Result | None, error: Exception | None, died: bool
    ) -> None:
        self._in_flight.discard(answer)
        if not answer.done():
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)  # type: ignore[arg-type]
        if died:
            self._closing = True
            self._fail_waiting("A model worker died.")
            return
        self._idle += 1
        self._dispatch()

    def _fail_waiting(self, message: str) -> None:
        while self._waiting:
            entry = self._waiting.popleft()
            if not entry.answer.done():
                entry.answer.set_exception(ScorerFailed(message))
        self._metrics.queue_depth.set(0)

    async def close(self) -> None:
        """Answer what is in flight, fail what waits, end the threads."""
        self._closing = True
        self._fail_waiting("The service is stopping.")
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=JOIN_S)
        for answer in self._in_flight:  # a worker that hangs must not keep its caller
            if not answer.done():
                answer.set_exception(ScorerFailed("The service is stopping."))
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join, JOIN_S)
