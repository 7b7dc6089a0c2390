"""The score cache over memory and over a real redis-server with its faults."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from service.backends.cache import Ids, ScoreCache
from service.backends.redis_scores import RedisScores
from service.errors import StartRefused
from service.metrics import Metrics
from tests.redis_server import RedisServer

ITEMS: list[Ids] = [([101, 7, 102], 3), ([101, 7, 102], 2), ([101, 8, 102], 3)]
ROWS = [np.array([n, -n], dtype=np.float32) for n in range(3)]
PATIENCE_S = 30.0


@asynccontextmanager
async def opened(url: str | None = None, key: bytes = b"key", room: int = 1 << 20) -> AsyncIterator[ScoreCache]:
    metrics = Metrics()
    shared = None if url is None else RedisScores(url, metrics)
    made = ScoreCache(key, "digest", scoped=True, most_bytes=room, metrics=metrics, shared=shared)
    async with asyncio.timeout(PATIENCE_S):
        try:
            yield made
        finally:
            await made.close()


async def found(cache: ScoreCache, scope: str = "") -> list[list[float] | None]:
    rows = await cache.find(cache.keys(ITEMS, scope))
    return [None if row is None else row.tolist() for row in rows]


async def until(cache: ScoreCache, wanted: Callable[[list[list[float] | None]], bool]) -> None:
    """Ask until the answer is as wanted; what was written behind comes later."""
    while not wanted(await found(cache)):  # noqa: ASYNC110 - it is another process that is waited for
        await asyncio.sleep(0.02)


def keep(cache: ScoreCache) -> None:
    cache.keep(cache.keys(ITEMS, ""), ROWS)


WHOLE: list[list[float] | None] = [row.tolist() for row in ROWS]
NOTHING: list[list[float] | None] = [None] * 3


async def test_what_is_kept_is_found_by_its_own_caller_only() -> None:
    async with opened() as cache:
        assert len(set(cache.keys(ITEMS, ""))) == 3
        assert await found(cache) == NOTHING
        keep(cache)
        assert await found(cache) == WHOLE
        assert await found(cache, "another") == NOTHING


async def test_without_room_nothing_is_kept() -> None:
    async with opened(room=0) as cache:
        keep(cache)
        assert len(cache) == 0 and await found(cache) == NOTHING


async def test_another_process_finds_it_in_redis_unless_its_secret_is_another(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as one, opened(redis_server.url) as other:
        keep(one)
        await until(other, lambda rows: rows == WHOLE)
        assert len(other) == 3  # and keeps it in memory
    async with opened(redis_server.url, key=b"another") as stranger:
        assert await found(stranger) == NOTHING


async def test_no_redis_at_start_costs_nothing_and_it_may_come_later(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.kill()
    async with opened(server.url, room=0) as cache:
        for _ in range(20):
            assert await found(cache) == NOTHING
            keep(cache)
            await asyncio.sleep(0.005)
        server.start()
        try:
            while await found(cache) != WHOLE:
                keep(cache)
                await asyncio.sleep(0.05)
        finally:
            server.kill()


async def test_a_redis_that_hangs_is_left_alone_and_let_back(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    try:
        async with opened(server.url, room=0) as cache:
            keep(cache)
            await until(cache, lambda rows: rows == WHOLE)
            server.process.send_signal(signal.SIGSTOP)
            assert await found(cache) == NOTHING
            server.process.send_signal(signal.SIGCONT)
            await until(cache, lambda rows: rows == WHOLE)
    finally:
        server.kill()


async def test_a_full_redis_loses_entries_and_no_request(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, maxmemory="1", **{"maxmemory-policy": "noeviction"})
    try:
        async with opened(server.url) as cache:
            for _ in range(10):
                keep(cache)
                await asyncio.sleep(0.01)
            assert await found(cache) == WHOLE  # from memory
        async with opened(server.url) as other:
            assert await found(other) == NOTHING
    finally:
        server.kill()


async def test_a_wrong_address_stops_the_start() -> None:
    with pytest.raises(StartRefused):
        RedisScores("http://example", Metrics())
