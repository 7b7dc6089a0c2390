"""WebSocket /v1/stream: the plain stream for whoever writes and listens over one connection, such as a browser.

Owns the messages of a socket and how it is closed. Refuses to know how text is judged. What is wrong with the request
is answered before the upgrade; what is wrong later is an error event, and then a close code.

Messages are JSON: {"text": "..."} and {"end": true}; the first may be {"policy", "role", "mode"} in any part. With
`?format=text` every message is text as it stands, and an empty one ends: a text may itself look like JSON.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from service.api.plain_session import POLICY_HEADER, Event, PlainSession, StreamIdle
from service.api.plain_stream import WISHES, as_line, wishes_of
from service.api.quota import charge_caller
from service.errors import BadInput, InvalidJson, WeirError

if TYPE_CHECKING:
    from service.runtime import Runtime

PROTOCOL = "weir.v1"  # a page that sends its key as a subprotocol offers this one too: browsers want one chosen
FORMATS = ("json", "text")
NORMAL = 1000

router = APIRouter()


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """Judge one text, which this socket carries; raises WeirError for what is wrong before and after the upgrade."""
    wishes = wishes_of(socket.query_params, socket.headers.get(POLICY_HEADER))
    form = socket.query_params.get("format", "json")
    if form not in FORMATS:
        raise BadInput(f"The format must be one of {', '.join(FORMATS)}.", param="format")
    session = _session(socket, wishes)
    runtime: Runtime = socket.app.state.runtime
    await charge_caller(runtime.limits, socket.state.caller, 1)
    await socket.accept(PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None)
    idle_s = runtime.settings.stream_idle_s
    pieces = _plain(socket)
    if form == "json":
        try:
            session, pieces = await _begun(socket, session, wishes, idle_s)
        except WeirError as error:
            await socket.send_text(_frame({"type": "error", "code": error.code, "message": error.message}))
            raise
    await _carry(socket, session, pieces, idle_s)


async def _begun(
    socket: WebSocket, session: PlainSession, wishes: dict[str, str], idle_s: float
) -> tuple[PlainSession, AsyncGenerator[str, None]]:
    """The session as the first message wants it, and the text of all messages after it."""
    messages = _messages(socket)
    first = await _first(messages, idle_s)
    if first and set(first) <= set(WISHES):
        return _session(socket, {**wishes, **_texts(first)}), _spoken(messages, {})
    return session, _spoken(messages, first)


def _frame(event: Event) -> str:
    return as_line(event).decode("ascii").rstrip("\n")


def _session(socket: WebSocket, wishes: dict[str, str]) -> PlainSession:
    state = socket.app.state
    return PlainSession(state.runtime, state.running_streams, socket.state.caller, wishes)


async def _carry(socket: WebSocket, session: PlainSession, pieces: AsyncGenerator[str, None], idle_s: float) -> None:
    """Send a session's events; a client that takes nothing for `idle_s` is let go."""
    last = ""
    try:
        async with aclosing(session.events(pieces)) as events:
            async for event in events:
                last = event["type"]
                async with asyncio.timeout(idle_s):
                    await socket.send_text(_frame(event))
    except TimeoutError:
        raise WebSocketDisconnect(NORMAL) from None
    finally:
        socket.scope["state"].update(chars=session.characters, action=session.action)
    if session.error is not None:
        raise session.error
    await socket.close(NORMAL, last)


async def _first(messages: AsyncGenerator[dict[str, Any], None], idle_s: float) -> dict[str, Any] | None:
    try:
        async with asyncio.timeout(idle_s):
            return await anext(messages, None)
    except TimeoutError:
        raise StreamIdle(f"No text came for {idle_s:g} seconds.") from None


async def _received(socket: WebSocket) -> AsyncGenerator[str, None]:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code") or NORMAL)
        text = message.get("text")
        if text is None:
            raise BadInput("A message must be a text message.")
        yield text


async def _plain(socket: WebSocket) -> AsyncGenerator[str, None]:
    """Messages as text; an empty one ends."""
    async with aclosing(_received(socket)) as received:
        async for text in received:
            if not text:
                return
            yield text


async def _messages(socket: WebSocket) -> AsyncGenerator[dict[str, Any], None]:
    async with aclosing(_received(socket)) as received:
        async for text in received:
            try:
                message = json.loads(text)
            except (ValueError, RecursionError):
                raise InvalidJson("A message is not JSON.") from None
            if not isinstance(message, dict):
                raise BadInput("A message must be a JSON object.")
            yield message


async def _spoken(
    messages: AsyncGenerator[dict[str, Any], None], first: dict[str, Any] | None
) -> AsyncGenerator[str, None]:
    """The text of every message to the one that ends. `first` was already read; {} is a first one that is done with."""
    async with aclosing(messages):
        message = first
        while message is not None:
            if message.get("end") is True and set(message) <= {"end", "text"}:
                if text := _texts({"text": message.get("text", "")})["text"]:
                    yield text
                return
            if message:
                if set(message) != {"text"}:
                    raise BadInput('A message must be {"text": "..."} or {"end": true}.')
                yield _texts(message)["text"]
            message = await anext(messages, None)


def _texts(message: dict[str, Any]) -> dict[str, str]:
    """The message, if each of its fields is a string."""
    for name, value in message.items():
        if not isinstance(value, str):
            raise BadInput("This must be a string.", param=name)
    return message
