"""A connection to a Redis that writes to disk before it answers and never evicts.

Owns the connection, its budget, and what is asked of the server. Refuses to know keys and what they hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError, ResponseError

from service.errors import StoreRefused, StoreUnavailable

BUDGET_S = 5.0
CONNECT_S = 2.0


class RedisLink:
    """The connection, open."""

    def __init__(self, client: redis.Redis, *, wait_for_disk: bool) -> None:
        """`wait_for_disk`: the server answers before it has written, so each write is followed by WAITAOF."""
        self.client = client
        self._wait_for_disk = wait_for_disk

    @classmethod
    async def open(cls, url: str) -> RedisLink:
        """Connect, and see that this server keeps what it acknowledges; raises StoreRefused in one sentence."""
        try:
            client = redis.Redis.from_url(
                url, decode_responses=True, socket_timeout=BUDGET_S, socket_connect_timeout=CONNECT_S
            )
        except ValueError:
            raise StoreRefused("WEIR_STORE_URL is not an address of a Redis.") from None
        try:
            async with asyncio.timeout(BUDGET_S):
                return cls(client, wait_for_disk=await _must_wait(client))
        except BaseException as error:
            await client.aclose()
            if isinstance(error, RedisError | OSError | TimeoutError):
                raise StoreRefused("WEIR_STORE_URL: no Redis answers there.") from error
            raise

    @asynccontextmanager
    async def budget(self) -> AsyncIterator[None]:
        """Whatever goes wrong with the server inside is one error, after BUDGET_S at the latest."""
        try:
            async with asyncio.timeout(BUDGET_S):
                yield
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable("The store cannot be read or written now.") from error

    async def commit(self, write: Pipeline) -> list[Any]:
        """The answers of what was written, once it is on the server's disk. WAITAOF is about its own connection."""
        if not self._wait_for_disk:
            return list(await write.execute())
        write.execute_command("WAITAOF", 1, 0, int(BUDGET_S * 1000))
        *answers, synced = await write.execute()
        if int(synced[0]) < 1:
            raise StoreUnavailable("The store has not written to its disk in time.")
        return answers

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


async def _must_wait(client: redis.Redis) -> bool:
    """Whether writes are to be followed by WAITAOF; raises StoreRefused for a server that could lose them."""
    facts: dict[str, Any] = await client.info()
    if facts.get("maxmemory_policy", "noeviction") != "noeviction":
        raise StoreRefused("WEIR_STORE_URL: this Redis evicts; set its maxmemory-policy to noeviction.")
    if not int(facts.get("aof_enabled", 0)):
        raise StoreRefused("WEIR_STORE_URL: this Redis keeps no append-only file; set its appendonly to yes.")
    try:
        if (await client.config_get("appendfsync")).get("appendfsync") == "always":
            return False
    except ResponseError:  # hosted ones forbid CONFIG
        pass
    release = tuple(int(part) for part in str(facts["redis_version"]).split(".")[:2])
    if release >= (7, 2):
        return True
    raise StoreRefused(
        "WEIR_STORE_URL: this Redis answers before it has written to disk; set its appendfsync to always, or use 7.2."
    )
