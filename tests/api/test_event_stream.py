"""A stream of events whose reader does not do its part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from service.api.chat_events import ChatEditor
from service.api.event_stream import EventStream
from service.api.reply_steps import DONE, Event


async def test_a_reader_that_takes_nothing_is_let_go() -> None:
    closed: list[str] = []
    never = asyncio.Event()

    async def events() -> AsyncIterator[Event]:
        try:
            yield DONE
        finally:
            closed.append("events")

    async def receive() -> Message:
        await never.wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await never.wait()  # as a server does whose buffer is full

    stack = AsyncExitStack()
    stack.callback(closed.append, "upstream")
    answer = EventStream(stack, events(), ChatEditor({}), 0.05)
    with pytest.raises(ClientDisconnect):
        async with asyncio.timeout(5):
            await answer({"type": "http"}, receive, send)
    assert closed == ["events", "upstream"]
