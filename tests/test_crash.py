"""What was acknowledged is there, whatever was killed; what was not is there once at most."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.backends.redis_store import RedisStore
from service.backends.sqlite_store import SqliteStore
from service.records import Store
from service.taxonomy import CATEGORIES
from tests.redis_server import RedisServer
from tests.running import Running

WEIR = Path(__file__).resolve().parent / "stateful_weir.py"
WRITES = 500
KILL_AFTER = 150  # acknowledgements
AT_ONCE = 16
MODEL = "fake@00000000"
PATIENCE = httpx.Timeout(60)


async def write(url: str, kill: Callable[[], None]) -> tuple[list[str], set[str]]:
    """Give feedback on 500 receipts, kill something meanwhile; all receipts, and ids of what was acknowledged."""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        tokens: list[str] = []
        for _ in range(2):
            items = [{"input": f"tea {n}"} for n in range(WRITES // 2)]
            reply = await client.post("/v1/moderate/batch", json={"items": items})
            tokens += [result["receipt"] for result in reply.json()["results"]]
        left, acknowledged = iter(tokens), set[str]()

        async def writer() -> None:
            for token in left:
                body = {"receipt": token, "harmful": False, "reviewer": "anna"}
                try:
                    reply = await client.post("/v1/feedback", json=body)
                except httpx.TransportError:
                    continue
                if reply.status_code == 200:
                    acknowledged.add(reply.json()["id"])
                    if len(acknowledged) == KILL_AFTER:
                        kill()
                else:
                    assert reply.json()["error"]["code"] == "store_unavailable"

        await asyncio.gather(*(writer() for _ in range(AT_ONCE)))
    return tokens, acknowledged


async def check(store: Store, acknowledged: set[str]) -> None:
    """Every acknowledged one is there, whole, and nothing is there twice."""
    entries = await store.feedback("default", MODEL)
    await store.close()
    ids = [entry.receipt for entry in entries]
    assert KILL_AFTER <= len(acknowledged) <= len(ids) <= WRITES
    assert acknowledged <= set(ids) and len(ids) == len(set(ids))
    assert all(set(entry.answers) == set(CATEGORIES) for entry in entries)


async def send_all_again(url: str, tokens: list[str], acknowledged: set[str]) -> None:
    """What a client does that was left without an answer: nothing is counted twice."""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        items = [{"receipt": token, "harmful": False, "reviewer": "anna"} for token in tokens]
        results: list[dict[str, Any]] = (await client.post("/v1/feedback", json={"items": items})).json()["results"]
    assert {result["id"] for result in results if result["status"] == "unchanged"} >= acknowledged
    assert {result["status"] for result in results} <= {"unchanged", "recorded"}


async def test_a_killed_service_loses_nothing_in_sqlite(tmp_path: Path) -> None:
    env = {"WEIR_DATA_DIR": str(tmp_path / "data")}
    with Running(WEIR, **env) as weir:
        tokens, acknowledged = await write(weir.url, lambda: weir.process.send_signal(signal.SIGKILL))
        assert weir.process.wait() == -signal.SIGKILL
    assert len(acknowledged) < WRITES  # it was killed before it had done
    await check(await SqliteStore.open(tmp_path / "data" / "weir.db"), acknowledged)
    with Running(WEIR, **env) as weir:
        await send_all_again(weir.url, tokens, acknowledged)


@pytest.mark.parametrize("killed", ["redis", "weir"])
async def test_a_killed_redis_or_service_loses_nothing(tmp_path: Path, killed: str) -> None:
    server = RedisServer(tmp_path)
    env = {"WEIR_DATA_DIR": str(tmp_path / "data"), "WEIR_STORE_URL": server.url}
    try:
        with Running(WEIR, **env) as weir:
            stop = server.kill if killed == "redis" else lambda: weir.process.send_signal(signal.SIGKILL)
            tokens, acknowledged = await write(weir.url, stop)
            if killed == "redis":
                server.start()
        assert len(acknowledged) < WRITES
        await check(await RedisStore.open(server.url), acknowledged)
        with Running(WEIR, **env) as weir:
            await send_all_again(weir.url, tokens, acknowledged)
    finally:
        server.kill()


async def test_sixteen_writers_in_two_processes_lose_no_update(tmp_path: Path) -> None:
    env = {"WEIR_DATA_DIR": str(tmp_path)}
    with Running(WEIR, **env) as one, Running(WEIR, **env) as other:

        async def writer(place: int, client: httpx.AsyncClient) -> int:
            path = "/v1/policies/default"
            while True:
                read = await client.get(path)
                flag = round(read.json()["thresholds"]["hate"]["flag"] + 0.001, 3)  # a counter: a lost update shows
                reply = await client.put(
                    f"{path}/thresholds",
                    json={"categories": {"hate": {"flag": flag}}},
                    headers={"If-Match": read.headers["etag"]},
                )
                if reply.status_code == 200:
                    return int(reply.json()["number"])
                assert reply.status_code == 412
                await asyncio.sleep(0.01 * place)

        async with (
            httpx.AsyncClient(base_url=one.url, timeout=PATIENCE) as a,
            httpx.AsyncClient(base_url=other.url, timeout=PATIENCE) as b,
        ):
            numbers = await asyncio.gather(*(writer(place, (a, b)[place % 2]) for place in range(16)))
            history = (await a.get("/v1/policies/default/versions")).json()["versions"]
    assert sorted(numbers) == list(range(1, 17))
    flags = [version["thresholds"]["hate"]["flag"] for version in reversed(history)]
    assert flags == [round(0.4 + 0.001 * number, 3) for number in range(1, 17)]
