"""One contract over a host's buckets and those in Redis; and what holds when Redis goes."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import redis

from service.backends.buckets import HostBuckets, Limiter
from service.backends.redis_buckets import PREFIX, RedisBuckets
from service.errors import StartRefused
from service.metrics import Metrics
from service.rates import Rate, RateLimits, Standing
from tests.redis_server import RedisServer

RATE = Rate(20, 86_400)  # so slow that nothing comes back during a test
Take = Callable[[str, Rate, int], Awaitable[Standing | None]]


@pytest.fixture(params=["host", "redis"])
async def take(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Take]:
    """Charges a bucket of an implementation, which nobody has charged yet."""
    if request.param == "host":
        host = HostBuckets(tmp_path, ["a", "b", "slow", "quick"])

        async def charge(name: str, rate: Rate, cost: int) -> Standing | None:
            return host.take(name, rate, cost)

        yield charge
        host.close()
    else:
        server = request.getfixturevalue("redis_server")
        with redis.Redis.from_url(server.url) as client:
            client.flushall()
        shared = RedisBuckets(server.url, Metrics())
        yield shared.take
        await shared.close()


async def test_what_is_in_the_bucket_is_given_and_no_more(take: Take) -> None:
    given = [await take("a", RATE, 7) for _ in range(4)]
    assert [s.retry_after_s is None for s in given if s is not None] == [True, True, False, False]
    assert [s.remaining for s in given if s is not None] == [13, 6, 6, 6]
    last = await take("a", RATE, 6)
    assert last is not None and (last.remaining, last.retry_after_s) == (0, None)
    other = await take("b", RATE, 20)
    assert other is not None and other.retry_after_s is None


async def test_it_fills_again(take: Take) -> None:
    quick = Rate(50, 1)
    assert (await take("quick", quick, 50)).retry_after_s is None  # type: ignore[union-attr]
    refused = await take("quick", quick, 50)
    assert refused is not None and refused.retry_after_s is not None and 0 < refused.retry_after_s <= 1
    await asyncio.sleep(refused.retry_after_s + 0.05)
    assert (await take("quick", quick, 50)).retry_after_s is None  # type: ignore[union-attr]


async def test_a_debt_is_paid_before_more_is_given(take: Take) -> None:
    assert (await take("slow", RATE, 50)).retry_after_s is None  # type: ignore[union-attr]
    refused = await take("slow", RATE, 1)
    assert refused is not None and refused.retry_after_s == pytest.approx(31 / RATE.per_s, rel=0.01)


def _charge(folder: Path, times: int) -> None:
    buckets = HostBuckets(folder, ["a", "b"])
    given = sum(buckets.take("b", Rate(1_000, 86_400), 1).retry_after_s is None for _ in range(times))
    (folder / f"given-{multiprocessing.current_process().pid}").write_text(str(given))


def test_processes_of_one_host_share(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_charge, args=(tmp_path, 800)) for _ in range(2)]
    for process in others:
        process.start()
    for process in others:
        process.join()
    assert sum(int(path.read_text()) for path in tmp_path.glob("given-*")) == 1_000


async def test_replicas_share_and_without_redis_the_host_decides(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    limits = RateLimits(RATE)
    metrics = Metrics()
    pair = [Limiter(limits, HostBuckets(None, ["a"]), RedisBuckets(server.url, metrics), metrics) for _ in range(2)]
    try:
        for limiter in (*pair, *pair):
            standing = await limiter.take("a", 4)
            assert standing is not None and standing.retry_after_s is None
        assert standing.remaining == 4
        server.kill()
        # Each host knows what went through itself: 8 of 20.
        standings = [await limiter.take("a", 4) for _ in range(5) for limiter in pair]
        assert [s.retry_after_s is None for s in standings if s is not None] == [True] * 6 + [False] * 4
        assert metrics.registry.get_sample_value("weir_rate_limit_fallbacks_total") == 10
        assert metrics.registry.get_sample_value("weir_rate_limit_breaker_open") == 1
        server.start()
        async with asyncio.timeout(30):
            while metrics.registry.get_sample_value("weir_rate_limit_breaker_open"):
                await asyncio.gather(*(limiter.take("a", 1) for limiter in pair))
                await asyncio.sleep(0.1)
    finally:
        for limiter in pair:
            await limiter.close()
        server.kill()


async def test_an_empty_bucket_is_known_without_asking(tmp_path: Path) -> None:
    limiter = Limiter(RateLimits(RATE), HostBuckets(None, ["a"]), None, Metrics())
    assert limiter.refused("a") is None
    await limiter.take("a", 20)
    refused = limiter.refused("a")
    assert refused is not None and refused.retry_after_s is not None
    await limiter.close()
    free = Limiter(RateLimits(), HostBuckets(None, []), None, Metrics())
    assert await free.take("b", 5) is None
    await free.close()


def test_the_script_keeps_nothing_for_ever(redis_server: RedisServer) -> None:
    async def charge() -> None:
        shared = RedisBuckets(redis_server.url, Metrics())
        await shared.take("kept", Rate(10, 60), 10)
        await shared.close()

    asyncio.run(charge())
    with redis.Redis.from_url(redis_server.url) as client:
        assert 0 < int(client.ttl(PREFIX + "kept")) <= 61  # type: ignore[arg-type]


async def test_an_address_that_is_none_stops_the_start() -> None:
    with pytest.raises(StartRefused):
        RedisBuckets("ftp://nowhere", Metrics())
