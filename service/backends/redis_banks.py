"""Banks of known images in the store's Redis.

Owns their keys and scripts. Refuses to know what hashes are compared with. Every change is one script; sent twice, it
changes nothing the second time. A removed hash leaves an entry that says so, for processes that still have it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from service.backends import record_json as form
from service.backends.redis_link import RedisLink
from service.bank_records import Bank, Change, HashKind, KnownHash, Put
from service.records import Event
from service.taxonomy import Action

_BANKS = "weir:banks"  # name -> what it says, as JSON
_TRAIL = "weir:trail:"

# A bank's counts are under its token, and are what there is of it: {revision, hashes}.
_SET_BANK = """
local before = redis.call('HGET', KEYS[1], ARGV[1])
if not before and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return '' end
local said = cjson.decode(ARGV[2])
if before then
  said['token'] = cjson.decode(before)['token']
else
  redis.call('HSET', KEYS[2], 'revision', 0, 'hashes', 0)
end
local body = cjson.encode(said)
redis.call('HSET', KEYS[1], ARGV[1], body)
if before ~= body then redis.call('RPUSH', KEYS[3], ARGV[3]) end
return body
"""
_DELETE_BANK = """
local before = redis.call('HGET', KEYS[1], ARGV[1])
if not before then return 0 end
local key = ARGV[2] .. cjson.decode(before)['token']
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('UNLINK', key, key .. ':hashes', key .. ':order')
redis.call('RPUSH', KEYS[2], ARGV[3])
return 1
"""
# Entries are `revision removed note`; ARGV: trail's event, then field and note of each.
_PUT = """
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local added = 0
for i = 2, #ARGV, 2 do
  local before = redis.call('HGET', KEYS[2], ARGV[i])
  local revision = before and string.match(before, '^(%d+) 0 ')
  if not revision then
    revision = redis.call('HINCRBY', KEYS[1], 'revision', 1)
    redis.call('ZADD', KEYS[3], revision, ARGV[i])
    added = added + 1
  end
  redis.call('HSET', KEYS[2], ARGV[i], revision .. ' 0 ' .. ARGV[i + 1])
end
if added > 0 then
  redis.call('HINCRBY', KEYS[1], 'hashes', added)
  redis.call('RPUSH', KEYS[4], ARGV[1])
end
return added
"""
_REMOVE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local removed = 0
for i = 2, #ARGV do
  local before = redis.call('HGET', KEYS[2], ARGV[i])
  if before and string.match(before, '^%d+ 0 ') then
    local revision = redis.call('HINCRBY', KEYS[1], 'revision', 1)
    redis.call('ZADD', KEYS[3], revision, ARGV[i])
    redis.call('HSET', KEYS[2], ARGV[i], revision .. ' 1 ')
    removed = removed + 1
  end
end
if removed > 0 then
  redis.call('HINCRBY', KEYS[1], 'hashes', -removed)
  redis.call('RPUSH', KEYS[4], ARGV[1])
end
return removed
"""


class RedisBanks:
    """A BankStore (see `bank_records`)."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._set = link.client.register_script(_SET_BANK)
        self._delete = link.client.register_script(_DELETE_BANK)
        self._put = link.client.register_script(_PUT)
        self._remove = link.client.register_script(_REMOVE)

    async def banks(self) -> list[Bank]:
        """All banks, by name."""
        async with self._link.budget():
            bodies: dict[Any, Any] = await self._link.client.hgetall(_BANKS)
            if not bodies:
                return []
            said = {name: json.loads(body) for name, body in sorted(bodies.items())}
            async with self._link.client.pipeline(transaction=False) as asked:
                for body in said.values():
                    asked.hgetall(_key(body["token"]))
                counts = await asked.execute()
        # One without counts was deleted between the two questions.
        return [_bank(name, body, n) for (name, body), n in zip(said.items(), counts, strict=True) if n]

    async def set_bank(self, bank: Bank, event: Event, most: int) -> Bank | None:
        """Make or change a bank."""
        said = {"token": bank.token, "category": bank.category, "action": int(bank.action)}
        body = json.dumps(said | {"description": bank.description})
        keys = [_BANKS, _key(bank.token), _TRAIL + event.policy]
        async with self._link.budget(), self._link.client.pipeline(transaction=False) as write:
            await self._set(keys, [bank.name, body, form.write_event(event), most], client=write)
            kept = (await self._link.commit(write))[0]
        if not kept:
            return None
        return next((one for one in await self.banks() if one.name == bank.name), None)

    async def delete_bank(self, name: str, event: Event) -> bool:
        """The bank is gone at once; the server frees its hashes beside its other work."""
        async with self._link.budget(), self._link.client.pipeline(transaction=False) as write:
            await self._delete([_BANKS, _TRAIL + event.policy], [name, _key(""), form.write_event(event)], client=write)
            return bool((await self._link.commit(write))[0] == 1)

    async def put_hashes(self, token: str, hashes: Sequence[KnownHash], event: Event) -> Put | None:
        """Add them in one script."""
        values = [form.write_event(event), *(value for known in hashes for value in (_field(known), known.note))]
        async with self._link.budget(), self._link.client.pipeline(transaction=False) as write:
            await self._put(_keys(token, event), values, client=write)
            added = int((await self._link.commit(write))[0])
        return None if added < 0 else Put(added, len(hashes) - added)

    async def remove_hashes(self, token: str, hashes: Sequence[KnownHash], event: Event) -> int | None:
        """Take them away in one script."""
        values = [form.write_event(event), *map(_field, hashes)]
        async with self._link.budget(), self._link.client.pipeline(transaction=False) as write:
            await self._remove(_keys(token, event), values, client=write)
            removed = int((await self._link.commit(write))[0])
        return None if removed < 0 else removed

    async def changes(self, token: str, since: int, most: int) -> list[Change]:
        """The next changes. One that changed again between the two questions is left for its new revision."""
        key = _key(token)
        async with self._link.budget():
            ranked: list[Any] = await self._link.client.zrange(
                f"{key}:order", f"({since}", "+inf", byscore=True, offset=0, num=most, withscores=True
            )
            fields = [field for field, _ in ranked]
            bodies: list[Any] = await self._link.client.hmget(f"{key}:hashes", fields) if fields else []
        pairs = zip(ranked, bodies, strict=True)
        changes = [(_change(field, body), int(score)) for (field, score), body in pairs if body is not None]
        return [change for change, revision in changes if change.revision == revision]


def _key(token: str) -> str:
    return f"weir:bank:{token}"


def _keys(token: str, event: Event) -> list[str]:
    return [_key(token), f"{_key(token)}:hashes", f"{_key(token)}:order", _TRAIL + event.policy]


def _field(known: KnownHash) -> str:
    return f"{known.kind} {known.value.hex()}"


def _change(field: str, body: str) -> Change:
    kind, value = field.split(" ")
    revision, removed, note = body.split(" ", 2)
    named: HashKind = "sha256" if kind == "sha256" else "pdq"
    return Change(int(revision), KnownHash(named, bytes.fromhex(value), note), removed == "1")


def _bank(name: str, said: dict[str, Any], counts: dict[str, str]) -> Bank:
    return Bank(
        name,
        said["category"],
        Action(said["action"]),
        said["token"],
        said["description"],
        int(counts["revision"]),
        int(counts["hashes"]),
    )
