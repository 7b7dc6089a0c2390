"""What goes on by itself: refreshing thresholds, handing counts over, adapting on a schedule, watching for drift.

Owns the schedule and the tasks. Refuses to let any failure end one of them, or reach a verdict: a store that is away
is tried again, told once in the log, and shown in `weir_store_up`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from service.errors import StoreUnavailable, VersionConflict
from service.feedback.receipts import DAY_S
from service.feedback.traffic import Traffic, drift, histogram, split_days
from service.feedback.tuning import Tuning, flag_rate
from service.feedback.versions import PolicyVersions
from service.log import describe
from service.metrics import Metrics
from service.records import Cell, Store
from service.taxonomy import CATEGORIES

REFRESH_S = 0.25  # so that all replicas have swapped well within a second
FLUSH_S = 1.0
DRIFT_S = 60.0
DRIFT_DAYS = 15  # today, and the days that it is compared with
DRIFT_ALERT = 0.25  # the index from which a population counts as changed
LEASE_S = 120.0  # over what an adaptation takes; whoever dies with it costs one turn
LEASE = "adapt"
CANCEL_S = 0.5

_log = logging.getLogger("weir.loops")


class Loops:
    """The background tasks of one process. `owner` names the process in the store."""

    def __init__(
        self,
        versions: PolicyVersions,
        tuning: Tuning,
        traffic: Traffic,
        store: Store,
        metrics: Metrics,
        *,
        owner: str,
        policies: Sequence[str],
        adapt_every_s: float,
    ) -> None:
        """`adapt_every_s` of 0 never adapts by itself."""
        self._versions = versions
        self._tuning = tuning
        self._traffic = traffic
        self._store = store
        self._metrics = metrics
        self._owner = owner
        self._policies = policies
        self._adapt_every_s = adapt_every_s
        self._away = False
        self._closing = False
        self._drifted: frozenset[tuple[str, str]] = frozenset()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._metrics.store_up.set(1)
        turns: list[tuple[float, Callable[[], Awaitable[object]]]] = [
            (REFRESH_S, self._versions.refresh),
            (FLUSH_S, self.flush),
            (DRIFT_S, self.watch),
        ]
        if self._adapt_every_s > 0:
            turns.append((self._adapt_every_s, self.adapt))
        self._tasks = [asyncio.create_task(self._repeat(every, turn)) for every, turn in turns]

    async def close(self) -> None:
        """Stop, and hand over what is counted. A lease is not given back: another turn is due when it runs out."""
        self._closing = True
        while running := [task for task in self._tasks if not task.done()]:
            for task in running:
                task.cancel()
            # Again and again: a client that finishes in the same moment swallows a cancellation (as `wait_for` does).
            await asyncio.wait(running, timeout=CANCEL_S)
        try:
            for _ in range(2):  # a flush that was not acknowledged, and what was counted since
                await self.flush()
        except StoreUnavailable:
            _log.warning("counts were lost: the store is away")

    async def _repeat(self, every_s: float, turn: Callable[[], Awaitable[object]]) -> None:
        while not self._closing:
            try:
                await turn()
            except StoreUnavailable:
                self._note_store(up=False)
            except Exception as error:  # a defect in one turn must not end the task
                _log.error("a background turn failed", extra=describe(error))
            else:
                self._note_store(up=True)
            await asyncio.sleep(every_s)

    def _note_store(self, *, up: bool) -> None:
        self._metrics.store_up.set(int(up))
        if self._away == up:
            self._away = not up
            _log.log(logging.INFO if up else logging.WARNING, "the store answers" if up else "the store is away")

    async def flush(self) -> None:
        """Hand over what was counted; what is not acknowledged is handed over again."""
        counted = self._traffic.flush(int(time.time() // DAY_S))
        if counted is not None:
            number, cells = counted
            await self._store.add_counts(self._owner, number, cells)
            self._traffic.acknowledge(number)

    async def adapt(self) -> None:
        """Adapt every policy, if this process has the lease."""
        if not await self._store.acquire(LEASE, self._owner, max(LEASE_S, self._adapt_every_s)):
            return
        for name in self._policies:
            if not self._tuning.goals(name).targets:
                continue
            try:
                adapted = await self._tuning.adapt(name, apply=True, author="schedule")
            except VersionConflict:
                outcome = "conflict"  # somebody set lines meanwhile: theirs stand until the next turn
            else:
                outcome = "unchanged" if adapted.version is None else "moved"
            self._metrics.adaptations.labels(name, outcome).inc()
            _log.info("adapted", extra={"policy": name, "outcome": outcome})

    async def watch(self) -> None:
        """Set the gauges of drift and flag rate; a category that begins to drift is told in the log."""
        today = int(time.time() // DAY_S)
        drifted: set[tuple[str, str]] = set()
        for name in self._policies:
            cells = await self._tuning.recent(name, DRIFT_DAYS)
            rates, indices = await asyncio.to_thread(_compare, cells, today)
            for days, rate in rates.items():
                self._metrics.flag_rate.labels(name, days).set(rate)
            for category, index in indices.items():
                self._metrics.score_drift.labels(name, category).set(index)
                if index >= DRIFT_ALERT:
                    drifted.add((name, category))
        for name, category in sorted(drifted - self._drifted):
            _log.warning("scores have drifted", extra={"policy": name, "category": category})
        self._drifted = frozenset(drifted)


def _compare(cells: Mapping[Cell, int], today: int) -> tuple[dict[str, float], dict[str, float]]:
    """Flag rates of today and before, and each category's stability index, where there are enough verdicts."""
    before, now = split_days(cells, today)
    rates = {"today": flag_rate(now), "before": flag_rate(before)}
    old, new = histogram(before), histogram(now)
    indices = {category: drift(old[category], new[category]) for category in CATEGORIES}
    return (
        {days: rate for days, rate in rates.items() if rate is not None},
        {category: index for category, index in indices.items() if index is not None},
    )
