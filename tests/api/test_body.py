"""Waiting for work while its caller is there: who is cancelled, by whom, and who is watched at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from service.api.body import each, while_connected


class Channel:
    """A caller who leaves when told to, and how often the server listened for that."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.listened = 0

    async def __call__(self) -> dict[str, Any]:
        self.listened += 1
        await self.left.wait()
        return {"type": "http.disconnect"}

    @property
    def request(self) -> Request:
        return Request({"type": "http", "method": "POST", "headers": []}, self)


async def test_work_that_is_at_hand_watches_nobody() -> None:
    channel = Channel()

    async def work() -> int:
        return 7

    assert await while_connected(channel.request, work()) == 7
    await asyncio.sleep(0)
    assert channel.listened == 0


async def test_a_caller_who_leaves_cancels_the_work_and_nothing_else() -> None:
    channel, ended = Channel(), asyncio.Event()

    async def work() -> None:
        try:
            channel.left.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(ClientDisconnect):
        await while_connected(channel.request, work())
    assert ended.is_set()
    task = asyncio.current_task()
    assert task is not None and not task.cancelling()
    await asyncio.sleep(0)  # would raise if a cancellation were left


async def test_a_deadline_around_it_stays_a_deadline() -> None:
    channel = Channel()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await while_connected(channel.request, asyncio.Event().wait())
    assert channel.listened == 1


async def test_an_error_of_the_work_is_its_own() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        await while_connected(Channel().request, work())


async def test_one_item_runs_where_it_stands_and_several_at_once() -> None:
    async def name() -> str:
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    here = asyncio.current_task()
    assert here is not None
    assert await each([name]) == [here.get_name()]
    assert len(set(await each([name, name, name]))) == 3
