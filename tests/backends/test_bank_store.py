"""What every store promises of banks: one suite over all of them, over a real file and a real server."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from service.backends.sqlite_store import SqliteStore
from service.bank_records import Bank, Change, HashKind, KnownHash, Put, WholeStore, trail_name
from service.errors import StoreUnavailable
from service.records import Event
from service.taxonomy import Action
from tests.backends.opening import Open

BANK = Bank("gore", "violence/graphic", Action.BLOCK, "token-1", "what was reported")
EVENT = Event(trail_name("gore"), "hashes_put", "root", 100.0, {"hashes": 2})


@pytest.fixture
async def store(another: Open) -> WholeStore:
    return await another()


def known(n: int, kind: HashKind = "pdq", note: str = "") -> KnownHash:
    return KnownHash(kind, hashlib.sha256(b"%d" % n).digest(), note)


async def test_banks_are_made_changed_and_listed_by_name(store: WholeStore, another: Open) -> None:
    assert await store.banks.banks() == []
    other = Bank("a bank", "hate", Action.FLAG, "token-2", "日本 \"'; --")
    assert await store.banks.set_bank(BANK, EVENT, 9) == BANK
    assert await store.banks.set_bank(other, replace(EVENT, policy=trail_name("a bank")), 9) == other
    assert await (await another()).banks.banks() == [other, BANK]
    milder = replace(BANK, action=Action.REVIEW, category="violence", token="another token")
    assert await store.banks.set_bank(milder, EVENT, 9) == replace(milder, token="token-1")
    assert [event.actor for event in await store.trail(trail_name("gore"))] == ["root", "root"]


async def test_there_are_so_many_banks_at_most(store: WholeStore) -> None:
    assert await store.banks.set_bank(BANK, EVENT, 1) == BANK
    assert await store.banks.set_bank(replace(BANK, name="b", token="token-2"), EVENT, 1) is None
    assert await store.banks.set_bank(replace(BANK, action=Action.FLAG), EVENT, 1) is not None
    assert len(await store.banks.banks()) == 1


async def test_hashes_are_kept_once_and_told_in_order(store: WholeStore, another: Open) -> None:
    await store.banks.set_bank(BANK, EVENT, 9)
    first = [known(1, note="from a report"), known(2), known(2, "sha256")]
    assert await store.banks.put_hashes("token-1", first, EVENT) == Put(3, 0)
    assert await store.banks.put_hashes("token-1", [known(2), known(3, note="x y")], EVENT) == Put(1, 1)
    elsewhere = (await another()).banks
    assert await elsewhere.banks() == [replace(BANK, revision=4, hashes=4)]
    everything = [Change(n, one) for n, one in enumerate([*first, known(3, note="x y")], 1)]
    assert await elsewhere.changes("token-1", 0, 100) == everything
    assert await elsewhere.changes("token-1", 1, 2) == everything[1:3]
    assert await elsewhere.changes("token-1", 4, 2) == []


async def test_a_note_is_replaced_and_changes_nothing_else(store: WholeStore) -> None:
    await store.banks.set_bank(BANK, EVENT, 9)
    await store.banks.put_hashes("token-1", [known(1, note="old")], EVENT)
    assert await store.banks.put_hashes("token-1", [known(1, note="new")], EVENT) == Put(0, 1)
    assert await store.banks.changes("token-1", 0, 9) == [Change(1, known(1, note="new"))]


async def test_what_is_removed_is_told_to_who_has_it(store: WholeStore) -> None:
    await store.banks.set_bank(BANK, EVENT, 9)
    await store.banks.put_hashes("token-1", [known(1, note="n"), known(2)], EVENT)
    assert await store.banks.remove_hashes("token-1", [known(1), known(1), known(7)], EVENT) == 1
    assert await store.banks.remove_hashes("token-1", [known(1)], EVENT) == 0
    assert await store.banks.changes("token-1", 2, 9) == [Change(3, known(1), removed=True)]
    assert await store.banks.put_hashes("token-1", [known(1)], EVENT) == Put(1, 0)
    assert await store.banks.changes("token-1", 3, 9) == [Change(4, known(1))]
    assert [(b.revision, b.hashes) for b in await store.banks.banks()] == [(4, 2)]


async def test_a_bank_that_is_gone_takes_its_hashes_along(store: WholeStore) -> None:
    await store.banks.set_bank(BANK, EVENT, 9)
    await store.banks.put_hashes("token-1", [known(n) for n in range(50)], EVENT)
    assert await store.banks.delete_bank("gore", replace(EVENT, kind="bank_deleted")) is True
    assert await store.banks.delete_bank("gore", EVENT) is False
    assert await store.banks.banks() == await store.banks.changes("token-1", 0, 9) == []
    assert await store.banks.put_hashes("token-1", [known(1)], EVENT) is None
    assert await store.banks.remove_hashes("token-1", [known(1)], EVENT) is None
    again = replace(BANK, token="token-2")
    assert await store.banks.set_bank(again, EVENT, 9) == again
    assert [event.kind for event in await store.trail(trail_name("gore"))][:2] == ["hashes_put", "bank_deleted"]


async def test_writers_at_once_lose_nothing(store: WholeStore, another: Open) -> None:
    await store.banks.set_bank(BANK, EVENT, 9)
    stores = [store, await another(), await another()]
    calls = [stores[n % 3].banks.put_hashes("token-1", [known(n), known(n + 1)], EVENT) for n in range(30)]
    done = [put for put in await asyncio.gather(*calls) if put is not None]
    assert sum(put.added for put in done) == 31 and sum(put.unchanged for put in done) == 29
    changes = await store.banks.changes("token-1", 0, 100)
    assert [change.revision for change in changes] == list(range(1, 32))
    assert {change.known.value for change in changes} == {known(n).value for n in range(31)}


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "weir.db")
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.banks.banks()


async def test_a_file_from_before_there_were_banks_is_taken_on(tmp_path: Path) -> None:
    path = tmp_path / "weir.db"
    store = await SqliteStore.open(path)
    undo = "DROP TABLE banks; DROP TABLE known_hashes; PRAGMA user_version = 1"
    await store._file.call(lambda: store._file.db.executescript(undo))
    await store.close()
    store = await SqliteStore.open(path)
    assert await store.banks.set_bank(BANK, EVENT, 9) == BANK
    await store.close()
