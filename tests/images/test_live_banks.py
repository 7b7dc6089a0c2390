"""Banks as processes hold them: they follow the store, and a known image is found by the whole service."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from service.backends.redis_store import RedisStore
from service.backends.sqlite_store import SqliteStore
from service.bank_records import Bank, KnownHash, WholeStore, trail_name
from service.images.bank_desk import BankDesk
from service.images.live_banks import LiveBanks
from service.images.reading import Frame, Reading
from service.metrics import Metrics
from service.records import Event
from service.taxonomy import Action
from service.types import Content
from tests.redis_server import RedisServer
from tests.state import Replica, replica

LONG_S = 60  # a busy machine is no failure


def value(n: int) -> bytes:
    return hashlib.sha256(b"%d" % n).digest()


def known(*numbers: int) -> list[KnownHash]:
    return [KnownHash("pdq", value(n)) for n in numbers]


def showing(n: int) -> Reading:
    return Reading(b"\0" * 32, 9, 9, "PNG", (Frame(hashes=(value(n),), quality=100),))


@pytest.fixture(params=["sqlite", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[WholeStore]:
    opened: WholeStore
    if request.param == "redis":
        redis = await RedisStore.open(request.getfixturevalue("redis_server").url)
        await redis._client.flushall()
        opened = redis
    else:
        opened = await SqliteStore.open(tmp_path / "weir.db")
    yield opened
    await opened.close()


async def test_what_the_store_has_is_taken_up(store: WholeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.images.live_banks.PAGE", 3)
    monkeypatch.setattr("service.images.live_banks.MOST_PENDING", 4)
    desk, metrics = BankDesk(store), Metrics()
    live = LiveBanks(store.banks, metrics)
    await desk.set_bank("a", "hate", Action.BLOCK, "", author="root")
    await desk.set_bank("b", "violence", Action.FLAG, "", author="root")
    await desk.put_hashes("a", known(*range(20)), author="root")
    await desk.put_hashes("b", known(7), author="root")
    await live.refresh()
    seen = live.version
    assert [(m.bank, m.action) for m in await live.match(showing(7))] == [("a", Action.BLOCK), ("b", Action.FLAG)]
    await live.refresh()
    assert live.version == seen
    await desk.remove_hashes("a", known(7), author="root")
    await desk.set_bank("b", "violence", Action.REVIEW, "", author="root")
    await live.refresh()
    assert [(m.bank, m.action) for m in await live.match(showing(7))] == [("b", Action.REVIEW)]
    assert live.version != seen and live.current.hashes == 20
    await desk.delete_bank("a", author="root")
    await desk.set_bank("a", "hate", Action.BLOCK, "", author="root")  # another one of the same name
    await live.refresh()
    assert await live.match(showing(3)) == []
    text = metrics.render().decode()
    assert 'weir_bank_matches_total{bank="b",kind="pdq"} 2.0' in text and 'weir_bank_hashes{bank="b"} 1.0' in text
    await desk.delete_bank("b", author="root")
    await live.refresh()
    assert 'weir_bank_hashes{bank="b"}' not in metrics.render().decode()


async def test_a_store_put_back_from_a_copy_is_read_anew(tmp_path: Path) -> None:
    first, second = await SqliteStore.open(tmp_path / "weir.db"), await SqliteStore.open(tmp_path / "copy.db")
    bank = Bank("a", "hate", Action.BLOCK, "token")
    event = Event(trail_name("a"), "bank_set", "root", 0.0)
    for each, numbers in ((first, (1, 2, 3)), (second, (1, 2))):
        await each.banks.set_bank(bank, event, 9)
        await each.banks.put_hashes("token", known(*numbers), event)
    live = LiveBanks(first.banks, Metrics())
    await live.refresh()
    live._store = second.banks
    await live.refresh()
    assert await live.match(showing(3)) == []
    await second.banks.put_hashes("token", known(4), event)  # the third change once more
    await live.refresh()
    assert len(await live.match(showing(4))) == 1
    await first.close()
    await second.close()


async def test_a_long_list_is_compared_beside_the_event_loop(store: WholeStore) -> None:
    live, desk = LiveBanks(store.banks, Metrics()), BankDesk(store)
    await desk.set_bank("a", "hate", Action.BLOCK, "", author="root")
    await desk.put_hashes("a", known(*range(4_500)), author="root")
    await live.refresh()
    assert len(await live.match(showing(4_499))) == 1 and await live.match(showing(4_500)) == []


async def test_a_store_that_is_away_leaves_the_lists_in_force(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    store = await RedisStore.open(server.url)
    live, desk = LiveBanks(store.banks, Metrics()), BankDesk(store)
    await desk.set_bank("a", "hate", Action.BLOCK, "", author="root")
    await desk.put_hashes("a", known(1), author="root")
    await live.refresh()
    live.start()
    try:
        server.kill()
        await asyncio.sleep(0.6)  # at least one turn meets nobody
        assert len(await live.match(showing(1))) == 1
        server.start()
        await desk.put_hashes("a", known(2), author="root")
        async with asyncio.timeout(LONG_S):
            while not await live.match(showing(2)):  # noqa: ASYNC110 - nothing tells when a store is back
                await asyncio.sleep(0.05)
    finally:
        await live.close()
        await store.close()
        server.kill()


async def test_a_bank_that_changed_says_so_to_who_keeps_evidence(store: WholeStore) -> None:
    live = LiveBanks(store.banks, Metrics())
    versions = set()
    bank = Bank("a", "hate", Action.FLAG, "t")
    for one in (bank, replace(bank, action=Action.BLOCK), replace(bank, category="violence")):
        await store.banks.set_bank(one, Event(trail_name("a"), "bank_set", "root", 1.0), 9)
        await live.refresh()
        versions.add(live.version)
    assert len(versions) == 3


async def test_a_known_image_is_found_in_every_process_whatever_was_said_of_it_before(
    tiny_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("rapidocr")
    from tests.images.pictures import card

    image = card("good morning")
    async with replica(tiny_folder, tmp_path / "data") as one, replica(tiny_folder, tmp_path / "data") as two:

        async def judged(process: Replica) -> tuple[str, list[str]]:
            verdict = await process.runtime.moderate(Content("look", images=(image,)))
            return verdict.action.wire, [f.reason for f in verdict.findings if f.reason.startswith("bank:")]

        before = await judged(two)
        assert before[1] == [] and await judged(two) == before
        path = "/v1/images/banks/cards"
        made = await one.client.put(path, json={"category": "hate", "action": "block"})
        assert made.status_code == 200, made.text
        listed = {"hashes": [{"hash": "sha256:" + hashlib.sha256(image).hexdigest()}]}
        assert (await one.client.put(f"{path}/hashes", json=listed)).json() == {"added": 1, "unchanged": 0}
        assert await judged(one) == ("block", ["bank:cards"])
        async with asyncio.timeout(LONG_S):
            while await judged(two) != ("block", ["bank:cards"]):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
        verdict = await two.runtime.moderate(Content("look", images=(image,)))
        (finding,) = [f for f in verdict.findings if f.reason == "bank:cards"]
        assert (finding.category, finding.image, finding.calls_for) == ("hate", 0, Action.BLOCK)
        await one.client.delete(path)
        assert await judged(one) == before
