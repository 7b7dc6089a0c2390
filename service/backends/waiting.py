"""What waits for the model, and in which order it is taken.

Owns ranks, lanes and the count of what waits; one lock, because workers take by themselves. Refuses to know what an
item is, who computes it and how it is answered.

Order: the shorter first, ageing. A rank is the moment of arrival plus AGEING_S for each token of the whole submission,
so a short text overtakes a long one that came shortly before, and nothing is overtaken for ever. Submissions of more
than QUICK_TOKENS wait in a lane of their own; while both lanes wait, each is given half of the tokens computed. So
the windows of a book do not stand before a greeting, and greetings do not keep a book out.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

QUICK_TOKENS = 512  # of a submission: a few windows; beyond, it is a long text
AGEING_S = 1e-4  # by which a token sets a submission back: a window's worth of tokens takes a few milliseconds
MOST_AGEING_S = 2.0  # far under a request's budget, however long the text


@dataclass(slots=True, eq=False)
class Waiting(Generic[Item, Result]):
    """One item, how many callers want it, and where its answer goes. Times are those of `time.perf_counter`."""

    item: Item
    key: bytes | None  # equal keys in flight are computed once
    tokens: int
    since: float
    expires: float
    answer: asyncio.Future[Result]
    wanted: int = 1
    quick: bool = True
    waits: bool = False  # in the line, and wanted


@dataclass(slots=True)
class _Lane(Generic[Item, Result]):
    heap: list[tuple[float, int, Waiting[Item, Result]]] = field(default_factory=list)
    items: int = 0
    tokens: int = 0


class Line(Generic[Item, Result]):
    """Two lanes under one lock. Every method may be called from any thread."""

    def __init__(self, most_items: int) -> None:
        """`most_items`: how many entries may lie here, gone ones included, before those are swept out."""
        self._lock = threading.Lock()
        self._quick: _Lane[Item, Result] = _Lane()
        self._long: _Lane[Item, Result] = _Lane()
        self._sweep_at = 2 * most_items + 64
        self._numbers = itertools.count()
        self._lead = 0  # tokens that the quick lane was given more than the long one while both waited
        self._idle = 0

    @property
    def items(self) -> int:
        """Items that wait."""
        return self._quick.items + self._long.items

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens that wait: of short submissions, and of long ones."""
        return self._quick.tokens, self._long.tokens

    def put(self, entries: Sequence[Waiting[Item, Result]], set_back_tokens: int) -> int:
        """Add entries of one submission of so many tokens; how many idle takers are to be woken for them."""
        with self._lock:
            for entry in entries:
                lane = self._lane(entry)
                rank = entry.since + min(MOST_AGEING_S, AGEING_S * set_back_tokens)
                entry.waits = True
                heapq.heappush(lane.heap, (rank, next(self._numbers), entry))
                lane.items += 1
                lane.tokens += entry.tokens
                if len(lane.heap) > self._sweep_at:
                    lane.heap = [ranked for ranked in lane.heap if ranked[2].waits]
                    heapq.heapify(lane.heap)
            woken = min(self._idle, len(entries))
            self._idle -= woken
            return woken

    def take(self, takers: int, most_items: int, most_tokens: int) -> list[Waiting[Item, Result]]:
        """The next group for one of so many takers. None: the taker counts as idle until `put` wakes it.

        A group is a fair part of what waits, so that it is one item where little waits: its answers come together.
        """
        with self._lock:
            lane = self._next_lane()
            if lane is None:
                self._idle += 1
                return []
            both = bool(self._quick.items and self._long.items)
            most_items = min(most_items, -(-lane.items // (2 * takers)))
            group: list[Waiting[Item, Result]] = []
            tokens = 0
            while lane.items and len(group) < most_items:
                entry = lane.heap[0][2]
                if entry.waits and group and tokens + entry.tokens > most_tokens:
                    break
                heapq.heappop(lane.heap)
                if entry.waits:
                    self._remove(lane, entry)
                    group.append(entry)
                    tokens += entry.tokens
            self._lead = 0 if not both else self._lead + (tokens if lane is self._quick else -tokens)
            return group

    def forget(self, entries: Iterable[Waiting[Item, Result]]) -> int:
        """Count these no longer, nobody wants them; how many of them were still waiting."""
        with self._lock:
            waited = [entry for entry in entries if entry.waits]
            for entry in waited:
                self._remove(self._lane(entry), entry)
            return len(waited)

    def clear(self) -> list[Waiting[Item, Result]]:
        """Everything that waits, taken out."""
        with self._lock:
            left = [entry for lane in (self._quick, self._long) for _, _, entry in lane.heap if entry.waits]
            for entry in left:
                self._remove(self._lane(entry), entry)
            self._quick.heap.clear()
            self._long.heap.clear()
            return left

    def _lane(self, entry: Waiting[Item, Result]) -> _Lane[Item, Result]:
        return self._quick if entry.quick else self._long

    def _next_lane(self) -> _Lane[Item, Result] | None:
        if self._quick.items and self._long.items:
            return self._long if self._lead > 0 else self._quick
        if self._quick.items or self._long.items:
            return self._quick if self._quick.items else self._long
        return None

    @staticmethod
    def _remove(lane: _Lane[Item, Result], entry: Waiting[Item, Result]) -> None:
        entry.waits = False
        lane.items -= 1
        lane.tokens -= entry.tokens
