"""The shared tier of the score cache in a Redis that may be slow, full or away.

Owns the connection, two breakers and two bounded lines: lookups that wait for the next MGET, and entries that wait to
be written. Refuses to know what keys and values mean. Nobody waits here for more than WAIT_S, and nothing is raised:
what cannot be had in time is computed. Lookups of several requests share a round trip, since one is under way at a
time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from service.backends.breaker import Breaker
from service.errors import StartRefused
from service.metrics import Metrics

WAIT_S = 0.01  # that a lookup costs at most; on a quiet host an answer takes a tenth of it
CALL_S = 0.1  # after which a call has failed: longer than WAIT_S, so that a pause of the event loop is no outage
KEPT_S = 86_400  # an entry's life in Redis
MOST_LOOKUPS = 512  # that wait at once
MOST_KEYS = 1_024  # of one MGET
MOST_WRITES = 4_096  # entries that wait to be written
WRITES_AT_ONCE = 128
PREFIX = b"weir:score:"

_log = logging.getLogger("weir.cache")
_Lookup = tuple[list[bytes], asyncio.Future[list[bytes | None]]]


class RedisScores:
    """A SharedScores (see `cache`) over one server. Opened without asking it, as it may come later."""

    def __init__(self, url: str, metrics: Metrics) -> None:
        """Must be made and closed on one event loop; raises StartRefused for what is no address."""
        try:
            self._client = redis.Redis.from_url(
                url, socket_timeout=CALL_S, socket_connect_timeout=CALL_S, retry=Retry(NoBackoff(), 0)
            )
        except ValueError:
            raise StartRefused("WEIR_CACHE_URL is not an address of a Redis.") from None
        self._metrics = metrics
        self._reads = Breaker(partial(self._tell, "read"))
        self._writes = Breaker(partial(self._tell, "write"))
        for call in ("read", "write"):
            metrics.cache_open.labels(call).set(0)
        self._lookups: deque[_Lookup] = deque()
        self._entries: deque[tuple[bytes, bytes]] = deque()
        self._closed = False
        self._asked = asyncio.Event()
        self._given = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]

    async def find(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What Redis has under each key; None for all where it does not say so in time."""
        nothing: list[bytes | None] = [None] * len(keys)
        if not self._reads.ready or len(self._lookups) >= MOST_LOOKUPS:
            return nothing
        answer: asyncio.Future[list[bytes | None]] = self._loop.create_future()
        self._lookups.append(([PREFIX + key for key in keys], answer))
        self._asked.set()
        try:
            async with asyncio.timeout(WAIT_S):
                return await answer
        except TimeoutError:
            self._metrics.cache_failures.labels("late").inc()
            return nothing

    def keep(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Write these later; where too many wait, or Redis takes none, they are dropped and counted."""
        room = MOST_WRITES - len(self._entries) if self._writes.ready else 0
        self._entries.extend((PREFIX + key, value) for key, value in entries[:room])
        if len(entries) > room:
            self._metrics.cache_dropped.inc(len(entries) - room)
        self._given.set()

    async def close(self) -> None:
        """Stop after the calls under way; what is not written by then is lost."""
        self._closed = True
        self._entries.clear()
        self._asked.set()
        self._given.set()
        _, late = await asyncio.wait(self._tasks, timeout=2 * CALL_S)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CALL_S)
        await self._client.aclose()

    async def _read(self) -> None:
        """Answer all lookups that wait with one MGET, then those that came meanwhile."""
        while not self._closed:
            await self._asked.wait()
            self._asked.clear()
            while lookups := self._next_lookups():
                wanted = list({key: None for keys, _ in lookups for key in keys})
                values = await self._call(self._reads, "read", partial(self._client.mget, wanted))
                found = dict(zip(wanted, values or (), strict=False))
                for keys, answer in lookups:
                    if not answer.done():
                        answer.set_result([found.get(key) for key in keys])

    def _next_lookups(self) -> list[_Lookup]:
        """Lookups that still wait, of MOST_KEYS in all or one that has more."""
        taken: list[_Lookup] = []
        count = 0
        while self._lookups:
            keys, answer = self._lookups[0]
            if taken and count + len(keys) > MOST_KEYS:
                break
            self._lookups.popleft()
            if not answer.done():
                taken.append((keys, answer))
                count += len(keys)
        return taken

    async def _write(self) -> None:
        """Write what waits, some at a time."""
        while not self._closed:
            await self._given.wait()
            self._given.clear()
            while self._entries:
                some = [self._entries.popleft() for _ in range(min(WRITES_AT_ONCE, len(self._entries)))]
                pipe = self._client.pipeline(transaction=False)
                for key, value in some:
                    pipe.set(key, value, ex=KEPT_S)
                if await self._call(self._writes, "write", pipe.execute) is None:
                    self._metrics.cache_dropped.inc(len(some))

    async def _call(self, breaker: Breaker, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """The call's answer; None where it was not made or failed."""
        if not breaker.ready:
            return None
        breaker.begin()
        try:
            async with asyncio.timeout(CALL_S):
                answer = await call()
        except Exception as error:  # the edge of a background loop: a defect of the client must not end it
            if not isinstance(error, RedisError | OSError | TimeoutError):
                _log.warning("the shared cache failed", extra={"error": type(error).__name__})
            self._metrics.cache_failures.labels(name).inc()
            breaker.failed()
            return None
        breaker.succeeded()
        return answer

    def _tell(self, call: str, opened: bool) -> None:
        self._metrics.cache_open.labels(call).set(opened)
        if opened:
            _log.warning("the shared cache is left alone", extra={"call": call})
        else:
            _log.info("the shared cache answers again", extra={"call": call})
