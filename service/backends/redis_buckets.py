"""Buckets of rate limits that several hosts share, in a Redis that may be slow or away.

Owns the script. Refuses to know keys, only their names, and what is done when Redis does not answer (`buckets`).
"""

from __future__ import annotations

import asyncio
import logging

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from service.backends.breaker import Breaker
from service.errors import StartRefused
from service.metrics import Metrics
from service.rates import Rate, Standing, stand

CALL_S = 0.1  # that an answer may take
PREFIX = "weir:limit:"

_TAKE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local items, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local kept = redis.call('HMGET', KEYS[1], 'spent', 'at')
local spent = tonumber(kept[1] or '0') - math.max(0, now - tonumber(kept[2] or now)) * items / window
spent = math.max(0, spent)
local missing = spent + math.min(cost, items) - items
if missing > 1e-9 then return {tostring(spent), tostring(missing * window / items)} end
spent = spent + cost
redis.call('HSET', KEYS[1], 'spent', string.format('%.9f', spent), 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], math.ceil(spent * window / items) + 1)
return {tostring(spent), ''}
"""  # `rates.take`, by the clock that all hosts share

_log = logging.getLogger("weir.limits")


class RedisBuckets:
    """SharedBuckets in one Redis, each change one script."""

    def __init__(self, url: str, metrics: Metrics) -> None:
        """Opened without asking the server, as it may come later; raises StartRefused for what is no address."""
        try:
            self._client = redis.Redis.from_url(
                url,
                decode_responses=True,
                socket_timeout=CALL_S,
                socket_connect_timeout=CALL_S,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            raise StartRefused("The address of the Redis for rate limits is none.") from None
        self._take = self._client.register_script(_TAKE)
        self._breaker = Breaker(self._tell)
        self._metrics = metrics

    async def take(self, name: str, rate: Rate, cost: int) -> Standing | None:
        """Charge a bucket; None when Redis does not answer in time."""
        if not self._breaker.ready:
            return None
        self._breaker.begin()
        try:
            async with asyncio.timeout(CALL_S):
                spent, retry = await self._take([PREFIX + name], [rate.items, rate.window_s, cost])
        except (RedisError, OSError, TimeoutError):
            self._breaker.failed()
            return None
        except asyncio.CancelledError:
            if not self._breaker.closed:  # or a trial that its caller gave up would be under way for ever
                self._breaker.failed()
            raise
        self._breaker.succeeded()
        return stand(rate, float(spent), float(retry) if retry else None)

    def _tell(self, opened: bool) -> None:
        self._metrics.limits_open.set(int(opened))
        _log.log(
            logging.WARNING if opened else logging.INFO,
            "Redis is left alone: this host's own rate limits hold" if opened else "rate limits are shared again",
        )

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.aclose()
