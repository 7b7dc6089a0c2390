"""What every Store promises: one suite over all of them, over a real file and a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from pathlib import Path

import pytest

from service.backends.redis_store import RedisStore
from service.backends.sqlite_store import SqliteStore
from service.errors import StoreRefused, StoreUnavailable
from service.records import Answer, Appended, Cell, ChainKey, Feedback, Store, Version
from service.taxonomy import CATEGORIES, Action
from tests.backends.opening import Open
from tests.redis_server import RedisServer

KEY = ChainKey("default", "base-1")
LINES = dict.fromkeys(CATEGORIES, (0.25, 0.5, 0.75))


@pytest.fixture
async def store(another: Open) -> Store:
    return await another()


def said(receipt: str = "r1", reviewer: str = "anna", *, harmful: bool = True, at: float = 100.0) -> Feedback:
    answers = {"hate": Answer(harmful, 0.4321, Action.REVIEW), "violence": Answer(False, 0.1, Action.ALLOW)}
    return Feedback(
        receipt, reviewer, "default", "default-1", "tiny@1", 90.0, at, True, 0.02, answers, note="n-1", source="content"
    )


def version(number: int, token: str = "t", key: ChainKey = KEY) -> Version:
    lines = dict.fromkeys(LINES, (0.25 + number / 1000, 0.5, 0.75))
    return Version(key, number, lines, "root", "put", 100.0 + number, token, {"why": "test"})


async def test_what_was_said_comes_back_whole_and_in_order(store: Store, another: Open) -> None:
    entries = [said("r2", at=200.0), said("r1", at=100.0), said("r1", "ben", harmful=False, at=300.0)]
    assert await store.append_feedback(entries) == [Appended.RECORDED] * 3
    elsewhere = await another()
    assert await elsewhere.feedback("default", "tiny@1") == [entries[1], entries[0], entries[2]]
    assert await elsewhere.feedback("default", "tiny@1", since=200.0) == [entries[0], entries[2]]
    assert await elsewhere.feedback("kids", "tiny@1") == await elsewhere.feedback("default", "tiny@2") == []


async def test_once_per_receipt_and_reviewer_and_the_later_answer_counts(store: Store) -> None:
    first, later = said(), said(harmful=False, at=200.0)
    assert await store.append_feedback([first]) == [Appended.RECORDED]
    assert await store.append_feedback([dataclasses.replace(first, at=150.0)]) == [Appended.UNCHANGED]
    assert await store.feedback("default", "tiny@1") == [first]
    assert await store.append_feedback([later]) == [Appended.REPLACED]
    assert await store.feedback("default", "tiny@1") == [later]
    (event,) = await store.trail("default")
    assert (event.kind, event.actor, event.detail["receipt"]) == ("feedback_replaced", "anna", "r1")
    assert event.detail["before"]["answers"]["hate"][0] == 1


async def test_one_call_may_hold_the_same_answer_twice(store: Store) -> None:
    results = await store.append_feedback([said(), said(), said(harmful=False)])
    assert results[0] == Appended.RECORDED and len(results) == 3
    assert len(await store.feedback("default", "tiny@1")) == 1


async def test_many_at_once_are_each_kept_once(store: Store, another: Open) -> None:
    other = await another()
    calls = [
        (store if n % 2 else other).append_feedback([said(f"r{n // 2}", "anna", at=float(n // 2))]) for n in range(60)
    ]
    results = [result for (result,) in await asyncio.gather(*calls)]
    assert results.count(Appended.RECORDED) == 30 and results.count(Appended.UNCHANGED) == 30
    assert [entry.receipt for entry in await store.feedback("default", "tiny@1")] == [f"r{n}" for n in range(30)]


async def test_a_version_is_set_once_and_only_next(store: Store) -> None:
    assert await store.compare_and_set(version(2)) is False
    assert await store.compare_and_set(version(1)) is True
    assert await store.compare_and_set(version(1, "another writer")) is False
    assert await store.compare_and_set(version(2)) is True
    assert await store.versions(KEY) == [version(2), version(1)]
    assert await store.versions(KEY, most=1) == [version(2)]
    assert await store.version(KEY, 1) == version(1)
    assert await store.version(KEY, 3) is None and await store.version(KEY, 0) is None
    events = await store.trail("default")
    assert [(e.kind, e.actor, e.detail["number"]) for e in events] == [("put", "root", 2), ("put", "root", 1)]


async def test_chains_do_not_mix(store: Store) -> None:
    draft, other_base = ChainKey("default", "base-1", "draft"), ChainKey("default", "base-2")
    assert await store.heads([KEY, draft, other_base]) == (0, {})
    for made in (version(1), version(1, key=draft), version(2)):
        assert await store.compare_and_set(made)
    generation, heads = await store.heads([KEY, draft, other_base])
    assert (generation, heads) == (3, {KEY: version(2), draft: version(1, key=draft)})
    assert await store.generation() == 3


async def test_sixteen_writers_lose_no_update(store: Store, another: Open) -> None:
    stores = [store, await another(), await another(), await another()]

    async def write(name: int) -> list[int]:
        mine = stores[name % 4]
        won: list[int] = []
        while len(won) < 5:
            _, heads = await mine.heads([KEY])
            number = heads[KEY].number + 1 if KEY in heads else 1
            if await mine.compare_and_set(version(number, f"writer {name}")):
                won.append(number)
        return won

    won = await asyncio.gather(*(write(name) for name in range(16)))
    assert sorted(number for numbers in won for number in numbers) == list(range(1, 81))
    kept = {v.number: v.token for v in await store.versions(KEY, most=200)}
    assert kept == {number: f"writer {name}" for name, numbers in enumerate(won) for number in numbers}


async def test_counts_add_up_over_processes_and_a_repeated_flush_counts_once(store: Store, another: Open) -> None:
    day = int(time.time() // 86_400)
    cell, old = (
        Cell("default", "tiny@1", day, "hate/threatening", 20, 1, True),
        Cell("default", "tiny@1", day - 3, "hate", 0, 0, False),
    )
    other = await another()
    await store.add_counts("one", 1, {cell: 3, old: 1})
    await store.add_counts("one", 1, {cell: 3, old: 1})
    await other.add_counts("two", 1, {cell: 4})
    await store.add_counts("one", 2, {cell: 5})
    assert await other.counts("default", "tiny@1", day - 30) == {cell: 12, old: 1}
    assert await other.counts("default", "tiny@1", day) == {cell: 12}
    assert await other.counts("kids", "tiny@1", 0) == {}


async def test_a_file_keeps_counts_no_longer_than_redis_does(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "weir.db")
    day = int(time.time() // 86_400)
    new, kept, old = (Cell("default", "tiny@1", day - back, "hate", 0, 0, False) for back in (0, 120, 121))
    await store.add_counts("one", 1, {kept: 1, old: 1})
    await store.add_counts("one", 2, {new: 1})
    assert await store.counts("default", "tiny@1", 0) == {new: 1, kept: 1}
    await store.close()


async def test_a_lease_has_one_owner_at_a_time(store: Store, another: Open) -> None:
    other = await another()
    assert await store.acquire("adapt", "one", 30.0)
    assert not await other.acquire("adapt", "two", 30.0)
    assert await store.acquire("adapt", "one", 30.0)
    await other.release("adapt", "two")
    assert not await other.acquire("adapt", "two", 30.0)
    await store.release("adapt", "one")
    assert await other.acquire("adapt", "two", 0.05)
    async with asyncio.timeout(60):
        while not await store.acquire("adapt", "one", 30.0):  # noqa: ASYNC110 - nothing tells when a lease runs out
            await asyncio.sleep(0.01)


async def test_a_closed_store_says_so(another: Open, tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "other.db")
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.generation()


async def test_a_file_of_a_newer_version_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weir.db"
    store = await SqliteStore.open(path)
    assert path.stat().st_mode & 0o777 == 0o600
    await store._file.call(lambda: store._file.db.execute("PRAGMA user_version = 99"))
    await store.close()
    with pytest.raises(StoreRefused, match="newer version"):
        await SqliteStore.open(path)
    (tmp_path / "text.db").write_text("this is no database, and long enough to be looked at" * 50)
    with pytest.raises(StoreRefused, match="cannot be opened"):
        await SqliteStore.open(tmp_path / "text.db")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"maxmemory-policy": "allkeys-lru", "maxmemory": "100mb"}, "evicts"),
        ({"appendonly": "no"}, "no append-only file"),
        ({"appendfsync": "everysec"}, "before it has written"),
    ],
)
async def test_a_redis_that_could_lose_something_is_refused(tmp_path: Path, options: dict[str, str], why: str) -> None:
    server = RedisServer(tmp_path, **options)
    try:
        with pytest.raises(StoreRefused, match=why):
            await RedisStore.open(server.url)
    finally:
        server.kill()


async def test_a_redis_that_is_away_is_refused_at_the_start_and_unavailable_later(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    store = await RedisStore.open(server.url)
    await store.append_feedback([said()])
    server.kill()
    with pytest.raises(StoreUnavailable):
        await store.append_feedback([said("r2")])
    with pytest.raises(StoreRefused, match="no Redis answers"):
        await RedisStore.open(server.url)
    server.start()
    try:
        assert [entry.receipt for entry in await store.feedback("default", "tiny@1")] == ["r1"]
        assert await store.append_feedback([said("r2")]) == [Appended.RECORDED]
    finally:
        await store.close()
        server.kill()
