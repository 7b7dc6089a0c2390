"""Whether a request that has just come is taken on, decided before its body is read.

Owns the bounds on what is in flight, the wait that a new request may have, its deadline and Retry-After. Refuses to
know what the work is: how busy the model is, `Load` says. A refusal costs no look at the body and holds nothing, so
that a service that is full spends its time on what it has accepted.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from service.api.google import BATCH_PATH
from service.errors import BadInput, Overloaded

JUDGED_PATHS = frozenset(
    {
        *("/v1/moderate", "/v1/moderate/batch", "/v1/constitution/evaluate"),
        *("/v1/moderations", "/v1alpha1/comments:analyze", BATCH_PATH),
    }
)
DEADLINE_HEADER = b"x-weir-deadline-ms"
BODIES = 32  # bytes of all bodies in flight, as a multiple of the largest one that is taken
IMAGE_BODIES = 2  # and of the largest with images: each is in memory about four times over while it is read
PROBE_S = 0.05  # between two looks at how late the event loop is
PROBES = 8  # the least of so many counts: a pause is not a queue
TELL_EVERY_S = 5.0  # the log's line on refusals, since one for each would cost more than the refusal

_log = logging.getLogger("weir.admission")


class Load(Protocol):
    """How busy the model is."""

    @property
    def expected_wait_s(self) -> float:
        """Seconds that a short text coming now would wait for a worker."""
        ...

    @property
    def capacity(self) -> int:
        """Texts that may wait."""
        ...


class Lateness:
    """How late the event loop runs what is due, in seconds; looked at only while requests come."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque([0.0] * PROBES, PROBES)
        self._armed = False

    @property
    def seconds(self) -> float:
        """The least of the last looks: what stands, not what passes by."""
        return min(self._seen)

    def arm(self) -> None:
        """See to it that the next look is due."""
        if not self._armed:
            self._armed = True
            due = time.perf_counter() + PROBE_S
            asyncio.get_running_loop().call_later(PROBE_S, self._look, due)

    def _look(self, due: float) -> None:
        self._armed = False
        self._seen.append(max(0.0, time.perf_counter() - due))


class Admission:
    """Counts what is in flight and says no in time. For one event loop."""

    def __init__(self, *, max_wait_s: float, most_bytes: int) -> None:
        """`max_wait_s`: a request that would wait longer is refused, whatever its own deadline allows.

        `most_bytes` of all bodies in flight; one body alone is taken whatever its size.
        """
        self._max_wait_s = max_wait_s
        self._most_bytes = most_bytes
        self._lateness = Lateness()
        self._refused = 0
        self._told = -math.inf
        self.requests = 0
        self.bytes = 0

    @contextmanager
    def admitted(self, load: Load, size: int, deadline_s: float | None) -> Iterator[None]:
        """Hold a place while the request is answered; raises Overloaded if there is none, or no time.

        `size` is the most bytes that the body may have.
        """
        self._lateness.arm()
        wait = load.expected_wait_s + self._lateness.seconds
        limit = self._max_wait_s if deadline_s is None else min(self._max_wait_s, deadline_s)
        if self.requests >= load.capacity or wait > limit:
            raise self._refusal(wait)
        with self.held(size, wait):
            self.requests += 1
            try:
                yield
            finally:
                self.requests -= 1

    @contextmanager
    def held(self, size: int, wait: float = 0.0) -> Iterator[None]:
        """Hold the place of a body of so many bytes; raises Overloaded if there is none."""
        if self.bytes and self.bytes + size > self._most_bytes:
            raise self._refusal(wait)
        self.bytes += size
        try:
            yield
        finally:
            self.bytes -= size

    def _refusal(self, wait: float) -> Overloaded:
        self._refused += 1
        now = time.monotonic()
        if now - self._told >= TELL_EVERY_S:
            facts = {"refused": self._refused, "in_flight": self.requests, "wait_s": round(wait, 3)}
            _log.warning("refusing requests: too much is waiting", extra=facts)
            self._told, self._refused = now, 0
        error = Overloaded("Too much is waiting; try again later.")
        error.retry_after_s = max(1, math.ceil(wait))
        return error


def deadline_of(headers: Iterable[tuple[bytes, bytes]], most_s: float) -> float | None:
    """Seconds that the caller gives, `most_s` at most, or None; raises BadInput for what is no number of them."""
    for name, value in headers:
        if name == DEADLINE_HEADER:
            if not (value.isdigit() and 0 < len(value) <= 9 and int(value) > 0):
                raise BadInput("X-Weir-Deadline-Ms must be a whole number of milliseconds, 1 or more.")
            return min(int(value) / 1000, most_s)
    return None
