"""What goes on by itself, with two replicas over one store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from service.backends.redis_store import RedisStore
from service.feedback.loops import DRIFT_DAYS
from service.feedback.traffic import BINS
from service.records import Cell
from service.taxonomy import CATEGORIES
from tests.redis_server import RedisServer
from tests.state import Replica, fake_replica

Open = Callable[..., AbstractAsyncContextManager[Replica]]
HIGH = {"flag": 0.9990, "review": 0.9993, "block": 0.9996}


@pytest.fixture(params=["sqlite", "redis"])
async def start(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Starts replicas that share a store."""
    more: dict[str, Any] = {}
    if request.param == "redis":
        more = {
            "store_url": request.getfixturevalue("redis_server").url,
            "secret": "one for all of them",
            "replicas": 2,
        }
        cleaner = await RedisStore.open(more["store_url"])
        await cleaner._client.flushall()
        await cleaner.close()
    yield lambda **settings: fake_replica(tmp_path, **{**more, **settings})


async def until(met: Callable[[], Any]) -> float:
    """Seconds until this holds; sixty at most, for a busy machine is no failure."""
    begun = time.monotonic()
    async with asyncio.timeout(60):
        while not met():  # noqa: ASYNC110 - another task changes it, and tells nobody
            await asyncio.sleep(0.01)
    return time.monotonic() - begun


async def test_what_one_replica_sets_the_other_decides_by(start: Open) -> None:
    async with start() as one, start() as other:
        assert (await other.moderate("what an insult"))["action"] == "block"
        await one.put("*", harassment=HIGH)
        version = one.runtime.policies.get("default").version
        await until(lambda: other.runtime.policies.get("default").version == version)
        assert (await other.moderate("what an insult"))["action"] == "allow"
        assert await one.tag() == await other.tag()
        await other.client.put("/v1/policies/default/draft", json={"categories": {"harassment": {"flag": 0.1}}})
        await until(lambda: one.runtime.policies.draft("default") is not None)
        await one.client.post("/v1/policies/default/rollback")
        await until(lambda: other.runtime.versions.standing("default").number == 2)
        assert (await other.moderate("what an insult"))["action"] == "block"


async def test_receipts_of_one_are_taken_by_the_other(start: Open) -> None:
    async with start() as one, start() as other:
        token = (await one.moderate("tea"))["receipt"]
        body = {"receipt": token, "harmful": False, "reviewer": "anna"}
        assert (await other.client.post("/v1/feedback", json=body)).json()["status"] == "recorded"
        assert (await one.client.post("/v1/feedback", json=body)).json()["status"] == "unchanged"


async def test_counts_of_both_add_up_and_the_last_ones_are_not_lost(start: Open) -> None:
    day = int(time.time() // 86_400)
    async with start() as one:
        async with start() as other:
            for n in range(5):
                await (one, other)[n % 2].moderate("what an insult")
        async with start() as third:  # the other one handed over what it had when it closed
            store = third.runtime.feedback._store
            await one.runtime.versions.refresh()
            async with asyncio.timeout(60):
                while True:
                    cells = await store.counts("default", "fake@00000000", day - 1)
                    if sum(n for cell, n in cells.items() if cell.category == "harassment") == 5:
                        break
                    await asyncio.sleep(0.05)
    assert {cell.bin for cell in cells if cell.category == "harassment"} == {int(0.9 * BINS)}


async def feed(weir: Replica, scores: dict[str, bool], reviewers: int = 8, each: int = 40) -> None:
    """Audited feedback of honest reviewers on texts at these keywords, each text seen by two of them."""
    items = []
    for n in range(reviewers * each):
        text, harmful = list(scores.items())[n % len(scores)]
        token = (await weir.moderate(f"{text} {n}"))["receipt"]
        items += [
            {"receipt": token, "categories": {"harassment": harmful}, "reviewer": f"r{(n + k) % reviewers}"}
            for k in range(2)
        ]
    for begin in range(0, len(items), 1000):
        reply = await weir.client.post("/v1/feedback", json={"items": items[begin : begin + 1000]})
        assert all("status" in result for result in reply.json()["results"])


async def test_one_of_the_replicas_adapts_on_schedule_and_both_follow(start: Open) -> None:
    async with start(audit_share=1.0, adapt_every_s=0.2) as one, start(audit_share=1.0, adapt_every_s=0.2) as other:
        number = one.runtime.versions.standing("default").number
        assert number == 0
        await feed(one, {"what an insult": True, "tea": False})
        await until(lambda: one.runtime.versions.standing("default").number > 0)
        await until(lambda: other.runtime.versions.standing("default").number > 0)
        body = (await other.client.get("/v1/policies/default/versions")).json()
        assert {version["author"] for version in body["versions"]} == {"schedule"}
        moved = body["versions"][-1]["detail"]["moved"]["harassment"]
        # Nothing innocent scores over 0: the line may come down, by a step at most.
        assert moved[0] == 0.4 and 0.3 - 1e-9 <= moved[1] < 0.4
        counted = [r.runtime.metrics.adaptations.labels("default", "moved")._value.get() for r in (one, other)]
        assert sorted(counted)[0] == 0 and sorted(counted)[1] >= 1  # the lease has one owner


async def test_a_store_that_goes_away_is_told_and_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = RedisServer(tmp_path)
    settings = {"store_url": server.url, "secret": "one for all of them"}
    async with fake_replica(tmp_path, **settings) as weir:
        up = weir.runtime.metrics.store_up._value
        await weir.put("*", harassment=HIGH)
        server.kill()
        await until(lambda: up.get() == 0)
        token = (await weir.moderate("what an insult"))["receipt"]  # learnt thresholds stay in force
        assert (await weir.moderate("what an insult"))["action"] == "allow"
        body = {"receipt": token, "harmful": True}
        assert (await weir.client.post("/v1/feedback", json=body)).json()["error"]["code"] == "store_unavailable"
        server.start()
        await until(lambda: up.get() == 1)
        assert (await weir.client.post("/v1/feedback", json=body)).json()["status"] == "recorded"
        assert await weir.tag() and (await weir.client.get("/v1/policies/default")).json()["number"] == 1
    server.kill()
    told = [record.getMessage() for record in caplog.records if record.name == "weir.loops"]
    assert told.count("the store is away") == 1 and told.count("the store answers") == 1


async def test_drift_is_shown_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with fake_replica(tmp_path) as weir:
        loops, store = weir.runtime.loops, weir.runtime.feedback._store
        today = int(time.time() // 86_400)
        model = weir.runtime.model

        def cells(day: int, number: int) -> dict[Cell, int]:
            found = {Cell("default", model, day, name, 2, 0, False): 500 for name in CATEGORIES}
            del found[Cell("default", model, day, "hate", 2, 0, False)]
            return found | {
                Cell("default", model, day, "hate", number, 0, False): 500,
                Cell("default", model, day, "*", 0, 0, False): 400,
                Cell("default", model, day, "*", 0, 3, False): 100,
            }

        await store.add_counts("test", 1, cells(today - 1, 2))
        await store.add_counts("test", 2, cells(today, 150))
        assert DRIFT_DAYS > 1
        for _ in range(2):
            await loops.watch()
        metrics = (await weir.client.get("/metrics")).text
    assert 'weir_flag_rate{days="today",policy="default"} 0.2' in metrics
    drifted = {line.split()[0]: float(line.split()[1]) for line in metrics.splitlines() if "weir_score_drift{" in line}
    assert drifted['weir_score_drift{category="hate",policy="default"}'] > 0.25
    assert drifted['weir_score_drift{category="violence",policy="default"}'] == 0.0
    told = [record for record in caplog.records if record.getMessage() == "scores have drifted"]
    assert [record.__dict__["category"] for record in told] == ["hate"]
