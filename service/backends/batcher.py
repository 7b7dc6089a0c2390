"""A bounded line in front of long-lived worker threads: who waits, who runs, and who is told no.

Owns admission, worker threads and their health. Refuses to know what an item is, and in which order items are taken
(`waiting`).

Promises, each a test: waiting is bounded (Overloaded at once); an item whose callers went away, or whose budget is
over, is not computed; equal items at the same time are computed once; an exception reaches exactly the item that
caused it; a worker that dies fails its items, is seen at once in `alive`, and leaves nobody waiting; closing answers
what was accepted.

A worker takes a small group of items at a time by itself and posts their results in one call, since each call wakes
the event loop. Every item is computed alone, unpadded: int8 activations are scaled over a whole batch, so company
would change a score, and on a CPU a batch of one costs no throughput.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Generic

from service.backends.waiting import QUICK_TOKENS, Item, Line, Result, Waiting
from service.errors import DeadlineExceeded, Overloaded, ScorerFailed
from service.metrics import Metrics

SLICE_ITEMS = 32  # of one submission at a time at most, so that a long text does not fill the line
GROUP_ITEMS = 8  # that a worker takes at once
GROUP_TOKENS = 192  # a window's worth: the first answer of a group waits for its last one
JOIN_S = 10.0  # what was accepted is given this long when closing
_SMOOTHING = 0.05  # weight of the newest group in the cost per token

Outcome = tuple[Waiting[Item, Result], Result | None, Exception | None]


def one_token(item: object) -> int:
    """The cost of an item where all cost the same."""
    return 1


class Batcher(Generic[Item, Result]):
    """Runs `compute` on items in `workers` threads. Must be opened, used and closed on one event loop.

    `tokens` names an item's cost; `budget_s` is the longest that anyone waits for an item before it is worthless.
    """

    def __init__(
        self,
        compute: Callable[[Item], Result],
        *,
        workers: int,
        max_items: int,
        metrics: Metrics,
        tokens: Callable[[Item], int] = one_token,
        slice_items: int = SLICE_ITEMS,
        budget_s: float = 60.0,
    ) -> None:
        self._compute = compute
        self._tokens = tokens
        self._budget_s = budget_s
        self._max_items = max_items
        self._slice_items = max(1, min(slice_items, max_items // 4))
        self._metrics = metrics
        self._line: Line[Item, Result] = Line(max_items)
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._admitted = 0  # items of submissions under way, a slice of each at most
        self._open: dict[Waiting[Item, Result], None] = {}  # unanswered, in order of arrival
        self._flying: dict[bytes, Waiting[Item, Result]] = {}
        self._token_s = 0.0  # seconds that a worker needs for a token, as measured
        self._closing = False  # nothing new is taken
        self._stopped = False  # nothing more is begun
        self._drained = asyncio.Event()
        self._drained.set()
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
        return self._line.items

    @property
    def capacity(self) -> int:
        """Items that may wait."""
        return self._max_items

    @property
    def expected_wait_s(self) -> float:
        """Seconds that a short text coming now would wait for a worker, from what waits and the cost of late."""
        quick, long = self._line.tokens
        return (quick + min(quick, long)) * self._token_s / len(self._threads)

    @property
    def backlog_s(self) -> float:
        """Seconds until all that waits now is computed."""
        return sum(self._line.tokens) * self._token_s / len(self._threads)

    async def submit(self, items: Sequence[Item], keys: Sequence[bytes] | None = None) -> list[Result]:
        """Results in the order of the items. With `keys`, an item that is in flight for another caller is joined.

        Raises Overloaded when there is no room, DeadlineExceeded when the budget is over, ScorerFailed when the
        workers are gone, and what `compute` raised.
        """
        if not self.alive:
            raise ScorerFailed("The model's workers are not running.")
        step = self._slice_items
        new = sum(key not in self._flying for key in keys) if keys else len(items)
        held = min(step, new)  # who only joins takes no room
        if self._admitted + held > self._max_items + len(self._threads):  # what runs does not wait
            raise Overloaded("Too many texts are waiting; try again later.")
        self._admitted += held
        self._drained.clear()
        since = time.perf_counter()
        costs = [self._tokens(item) for item in items]
        total = sum(costs)
        results: list[Result] = []
        try:
            for begin in range(0, len(items), step):
                fresh: list[Waiting[Item, Result]] = []
                entries = [
                    self._enter(items[n], keys[n] if keys else None, costs[n], since, total, fresh)
                    for n in range(begin, min(begin + step, len(items)))
                ]
                results.extend(await self._await_answers(entries, fresh, total))
        finally:
            self._admitted -= held
            if self._admitted == 0:
                self._drained.set()
        return results

    def _enter(
        self,
        item: Item,
        key: bytes | None,
        tokens: int,
        since: float,
        total: int,
        fresh: list[Waiting[Item, Result]],
    ) -> Waiting[Item, Result]:
        """The entry that computes this item: one in flight, or a new one, which is added to `fresh`."""
        expires = since + self._budget_s
        flying = None if key is None else self._flying.get(key)
        if flying is not None:
            flying.wanted += 1
            flying.expires = max(flying.expires, expires)
            self._metrics.joins.labels("scores").inc()
            return flying
        answer: asyncio.Future[Result] = self._loop.create_future()
        entry = Waiting(item, key, tokens, since, expires, answer, quick=total <= QUICK_TOKENS)
        if key is not None:
            self._flying[key] = entry
        self._open[entry] = None
        fresh.append(entry)
        return entry

    async def _await_answers(
        self, entries: Sequence[Waiting[Item, Result]], fresh: Sequence[Waiting[Item, Result]], total: int
    ) -> list[Result]:
        try:
            if self._stopped:  # a worker died since the slice before this one
                raise ScorerFailed("The model's workers are not running.")
            for _ in range(self._line.put(fresh, total)):
                self._wake.put(None)
            self._metrics.queue_depth.set(self.depth)
            # Not `gather`: it would cancel answers that others wait for too.
            await asyncio.wait([entry.answer for entry in entries], return_when=asyncio.FIRST_EXCEPTION)
            failed = next((e.answer for e in entries if e.answer.done() and e.answer.exception() is not None), None)
            return [failed.result()] if failed is not None else [entry.answer.result() for entry in entries]
        finally:
            self._leave(entries)

    def _leave(self, entries: Sequence[Waiting[Item, Result]]) -> None:
        """One caller less wants these; what nobody wants any more is given up."""
        abandoned = []
        for entry in entries:
            entry.wanted -= 1
            if entry.answer.done():
                _ = entry.answer.cancelled() or entry.answer.exception()  # seen, or asyncio would log it
            elif entry.wanted == 0:
                entry.answer.cancel()
                self._close_entry(entry)
                abandoned.append(entry)
        if abandoned:
            self._metrics.uncomputed.labels("abandoned").inc(self._line.forget(abandoned))

    def _close_entry(self, entry: Waiting[Item, Result]) -> None:
        self._open.pop(entry, None)
        if entry.key is not None and self._flying.get(entry.key) is entry:
            del self._flying[entry.key]

    def _serve(self) -> None:
        """A worker thread: one group after the other until it is told to stop."""
        while not self._stopped:
            group = self._line.take(len(self._threads), GROUP_ITEMS, GROUP_TOKENS)
            if not group:
                self._wake.get()
                continue
            self._metrics.queue_depth.set(self._line.items)
            begun = time.perf_counter()
            outcomes: list[Outcome[Item, Result]] = []
            tokens = 0
            for entry in group:
                if entry.answer.done():
                    continue
                try:
                    if entry.expires <= time.perf_counter():
                        raise DeadlineExceeded("The text waited for too long.")
                    tokens += entry.tokens
                    outcomes.append((entry, self._compute(entry.item), None))
                except Exception as error:
                    outcomes.append((entry, None, error))
                except BaseException:
                    outcomes.extend((entry, None, ScorerFailed("A model worker died.")) for entry in group)
                    self._post(outcomes, begun, tokens, died=True)
                    return  # the thread ends without a traceback, which could quote the item
            self._post(outcomes, begun, tokens)

    def _post(self, outcomes: list[Outcome[Item, Result]], begun: float, tokens: int, *, died: bool = False) -> None:
        try:
            self._loop.call_soon_threadsafe(self._settle, outcomes, begun, time.perf_counter(), tokens, died)
        except RuntimeError:  # the loop has closed: nobody is left to tell
            return

    def _settle(
        self, outcomes: list[Outcome[Item, Result]], begun: float, ended: float, tokens: int, died: bool
    ) -> None:
        """Answer a group, on the event loop."""
        for entry, result, error in outcomes:
            self._metrics.queue_wait_seconds.observe(begun - entry.since)
            self._close_entry(entry)
            if isinstance(error, DeadlineExceeded):
                self._metrics.uncomputed.labels("expired").inc()
            if entry.answer.done():
                continue
            if error is not None:
                entry.answer.set_exception(error)
            else:
                entry.answer.set_result(result)  # type: ignore[arg-type]
        self._metrics.batch_items.observe(len(outcomes))
        self._metrics.batch_tokens.observe(tokens)
        if tokens:
            cost = (ended - begun) / tokens
            self._token_s += (cost - self._token_s) * (_SMOOTHING if self._token_s else 1.0)
        if died:
            self._closing = True
            self._stop("A model worker died.", self._line.clear())

    def _stop(self, message: str, unanswered: Iterable[Waiting[Item, Result]]) -> None:
        """End the workers after what they hold, and fail what they will not come to."""
        self._stopped = True
        for entry in list(unanswered):
            self._close_entry(entry)
            if not entry.answer.done():
                entry.answer.set_exception(ScorerFailed(message))
        for _ in self._threads:
            self._wake.put(None)

    async def close(self) -> None:
        """Take nothing new, answer what was accepted, end the threads."""
        self._closing = True
        try:
            async with asyncio.timeout(JOIN_S):
                await self._drained.wait()
        except TimeoutError:  # a worker that hangs must not keep its caller
            pass
        self._line.clear()
        self._stop("The service is stopping.", self._open)
        for thread in self._threads:
            await asyncio.to_thread(thread.join, JOIN_S)
