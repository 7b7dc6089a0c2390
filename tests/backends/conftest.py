"""The stores that the suites of their promises run over: a real file and a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.backends.redis_store import RedisStore
from service.backends.sqlite_store import SqliteStore
from service.bank_records import WholeStore
from tests.backends.opening import Open


@pytest.fixture(params=["sqlite", "redis"])
async def another(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens one more store over the same data, as another process would."""
    opened: list[WholeStore] = []
    url = ""
    if request.param == "redis":
        url = request.getfixturevalue("redis_server").url
        cleaner = await RedisStore.open(url)
        await cleaner._client.flushall()
        await cleaner.close()

    async def make() -> WholeStore:
        store: WholeStore = await (RedisStore.open(url) if url else SqliteStore.open(tmp_path / "data" / "weir.db"))
        opened.append(store)
        return store

    yield make
    for store in opened:
        await store.close()
