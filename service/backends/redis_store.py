"""The store for several hosts: Redis.

Owns the keys and the scripts. Refuses to know what the records mean, and the connection (`redis_link`). Every change is
one script, so it happens whole or not at all; each may be sent twice (the client tries again when a connection breaks)
and counts once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence

from service.backends import record_json as form
from service.backends.redis_banks import RedisBanks
from service.backends.redis_link import RedisLink
from service.errors import StoreUnavailable
from service.records import Appended, Cell, ChainKey, Event, Feedback, Version

COUNTS_KEPT_S = 120 * 86_400  # a day's counts; nothing else expires
FLUSH_MEMORY_S = 86_400
SCAN = 1_000  # entries of a hash at a time
MOST_TRIES = 16  # of an answer that others keep changing
_PREFIX = "weir:"
_GENERATION = "weir:generation"

_SET_FEEDBACK = """
local before = redis.call('HGET', KEYS[1], ARGV[1])
if (before or '') ~= ARGV[2] then return {before or ''} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
if ARGV[4] ~= '' then redis.call('RPUSH', KEYS[2], ARGV[4]) end
return 1
"""
_SET_VERSION = """
local number = tonumber(ARGV[1])
local have = redis.call('LLEN', KEYS[1])
if have >= number and redis.call('LINDEX', KEYS[1], number - 1) == ARGV[2] then return 1 end
if have + 1 ~= number then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[2])
redis.call('RPUSH', KEYS[2], ARGV[3])
redis.call('INCR', KEYS[3])
return 1
"""
_ADD_COUNTS = """
if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
for _, entry in ipairs(cjson.decode(ARGV[4])) do
  redis.call('HINCRBY', entry[1], entry[2], entry[3])
  redis.call('EXPIRE', entry[1], ARGV[3])
end
return 1
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_ACQUIRE = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


class RedisStore:
    """A Store (see `records`). `open` makes one."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._client = client = link.client
        self.banks = RedisBanks(link)
        self._set_feedback = client.register_script(_SET_FEEDBACK)
        self._set_version = client.register_script(_SET_VERSION)
        self._add_counts = client.register_script(_ADD_COUNTS)
        self._acquire = client.register_script(_ACQUIRE)
        self._release = client.register_script(_RELEASE)

    @classmethod
    async def open(cls, url: str) -> RedisStore:
        """Connect, and see that this server keeps what it acknowledges; raises StoreRefused in one sentence."""
        return cls(await RedisLink.open(url))

    async def append_feedback(self, entries: Sequence[Feedback]) -> list[Appended]:
        """Keep each; several of one call are sent together."""
        results: dict[int, Appended] = {}
        async with self._link.budget():
            for _ in range(MOST_TRIES):
                left = [n for n in range(len(entries)) if n not in results]
                if not left:
                    break
                results |= await self._try_append({n: entries[n] for n in left})
            else:
                raise StoreUnavailable("Others keep changing the same answer.")
        return [results[n] for n in range(len(entries))]

    async def _try_append(self, entries: Mapping[int, Feedback]) -> dict[int, Appended]:
        """What became of those that nobody else changed between our look and our write."""
        async with self._client.pipeline(transaction=False) as look:
            for entry in entries.values():
                look.hget(_feedback_key(entry.policy, entry.artifact), _field(entry))
            found = await look.execute()
        done: dict[int, Appended] = {}
        writing: dict[int, Appended] = {}
        async with self._client.pipeline(transaction=False) as write:
            for (n, entry), before in zip(entries.items(), found, strict=True):
                old = None if before is None else form.read_feedback(before)
                if old is not None and entry.says_the_same(old):
                    done[n] = Appended.UNCHANGED
                    continue
                writing[n] = Appended.RECORDED if old is None else Appended.REPLACED
                event = "" if old is None else form.write_event(form.changed_mind(old, entry))
                await self._set_feedback(
                    [_feedback_key(entry.policy, entry.artifact), _trail_key(entry.policy)],
                    [_field(entry), before or "", form.write_feedback(entry), event],
                    client=write,
                )
            answers = await self._link.commit(write) if writing else []
        return done | {n: writing[n] for n, answer in zip(writing, answers, strict=True) if answer == 1}

    async def feedback(self, policy: str, artifact: str, since: float = 0.0) -> list[Feedback]:
        """What was said since then, oldest first."""
        found: dict[str, Feedback] = {}
        async with self._link.budget():
            async for name, body in self._client.hscan_iter(_feedback_key(policy, artifact), count=SCAN):
                found[name] = form.read_feedback(body)
        return sorted((entry for entry in found.values() if entry.at >= since), key=lambda entry: entry.at)

    async def compare_and_set(self, version: Version) -> bool:
        """Append the version if its number is the next one."""
        keys = [_chain_key(version.key), _trail_key(version.key.policy), _GENERATION]
        event = form.write_event(form.changed_version(version))
        values: list[str | int] = [version.number, form.write_version(version), event]
        async with self._link.budget(), self._client.pipeline(transaction=False) as write:
            await self._set_version(keys, values, client=write)
            return bool((await self._link.commit(write))[0] == 1)

    async def heads(self, keys: Sequence[ChainKey]) -> tuple[int, dict[ChainKey, Version]]:
        """Generation and newest versions, of one moment."""
        async with self._link.budget(), self._client.pipeline(transaction=True) as asked:
            asked.get(_GENERATION)
            for key in keys:
                asked.lindex(_chain_key(key), -1)
            generation, *bodies = await asked.execute()
        heads = {key: form.read_version(key, body) for key, body in zip(keys, bodies, strict=True) if body}
        return int(generation or 0), heads

    async def versions(self, key: ChainKey, most: int = 100) -> list[Version]:
        """The newest versions, newest first."""
        async with self._link.budget():
            bodies = await self._client.lrange(_chain_key(key), -most, -1)
        return [form.read_version(key, body) for body in reversed(bodies)]

    async def version(self, key: ChainKey, number: int) -> Version | None:
        """One version."""
        if number < 1:
            return None
        async with self._link.budget():
            body = await self._client.lindex(_chain_key(key), number - 1)
        return form.read_version(key, body) if body else None

    async def trail(self, policy: str, most: int = 100) -> list[Event]:
        """The newest events, newest first."""
        async with self._link.budget():
            bodies = await self._client.lrange(_trail_key(policy), -most, -1)
        return [form.read_event(body) for body in reversed(bodies)]

    async def generation(self) -> int:
        """How many versions were ever set."""
        async with self._link.budget():
            return int(await self._client.get(_GENERATION) or 0)

    async def add_counts(self, owner: str, flush: int, counts: Mapping[Cell, int]) -> None:
        """Add a flush, once."""
        entries = [(_counts_key(c.policy, c.artifact, c.day), form.write_cell(c), n) for c, n in counts.items()]
        values: list[str | int] = [flush, FLUSH_MEMORY_S, COUNTS_KEPT_S, json.dumps(entries)]
        async with self._link.budget():
            await self._add_counts([f"{_PREFIX}flush:{owner}"], values)

    async def counts(self, policy: str, artifact: str, since_day: int) -> dict[Cell, int]:
        """The counts since that day."""
        found: dict[Cell, int] = {}
        async with self._link.budget():
            seconds, _ = await self._client.time()
            days = range(max(since_day, seconds // 86_400 - COUNTS_KEPT_S // 86_400), seconds // 86_400 + 2)
            async with self._client.pipeline(transaction=False) as asked:
                for day in days:
                    asked.hgetall(_counts_key(policy, artifact, day))
                answers = await asked.execute()
        for day, cells in zip(days, answers, strict=True):
            found |= {form.read_cell(policy, artifact, day, cell): int(n) for cell, n in cells.items()}
            await asyncio.sleep(0)  # a day holds thousands; verdicts go on in between
        return found

    async def acquire(self, lease: str, owner: str, seconds: float) -> bool:
        """Take or keep a lease, by the server's clock."""
        async with self._link.budget():
            return bool(await self._acquire([f"{_PREFIX}lease:{lease}"], [owner, int(seconds * 1000)]) == 1)

    async def release(self, lease: str, owner: str) -> None:
        """Give it back."""
        async with self._link.budget():
            await self._release([f"{_PREFIX}lease:{lease}"], [owner])

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()


def _feedback_key(policy: str, artifact: str) -> str:
    return f"{_PREFIX}feedback:{policy}:{artifact}"


def _field(entry: Feedback) -> str:
    return f"{entry.receipt} {entry.reviewer}"


def _chain_key(key: ChainKey) -> str:
    return f"{_PREFIX}versions:{key.policy}:{key.base}:{key.chain}"


def _trail_key(policy: str) -> str:
    return f"{_PREFIX}trail:{policy}"


def _counts_key(policy: str, artifact: str, day: int) -> str:
    return f"{_PREFIX}counts:{policy}:{artifact}:{day}"
