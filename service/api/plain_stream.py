"""POST /v1/stream: text in as it grows, judged text out while it still comes.

Owns how the request says what it wants, the wrapping of events, and both directions of one HTTP exchange. Refuses to
know how text is judged (a session does) and unwrapped (`stream_input` does).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from service.api.plain_session import POLICY_HEADER, Event, PlainSession
from service.api.quota import charge
from service.api.schema import ErrorReply
from service.api.stream_input import TextReader, reader_for
from service.errors import BadInput

if TYPE_CHECKING:
    from service.runtime import Runtime

LINES, EVENTS = "application/x-ndjson", "text/event-stream"
WISHES = ("policy", "role", "mode")
LINGER_S = 2.0  # what still comes after the last event is read this long: a reset would destroy that event


def wishes_of(query: Mapping[str, str], header_policy: str | None) -> dict[str, str]:
    """Policy, role and mode as the query and the header name them."""
    unknown = set(query) - {*WISHES, "format"}
    if unknown:
        raise BadInput(f"The query may hold {', '.join(WISHES)} and, for a socket, format; there is another name.")
    found = {name: query[name] for name in WISHES if name in query}
    if header_policy and not found.get("policy"):
        found["policy"] = header_policy
    return found


def wrapping(accept: str) -> str:
    """The type of the reply: whichever of the two is named first; lines where neither is."""
    for offer in accept.lower().split(","):
        kind, _, parameters = offer.partition(";")
        if kind.strip() in (LINES, EVENTS) and parameters.replace(" ", "") not in ("q=0", "q=0.0"):
            return kind.strip()
    return LINES


def as_line(event: Event) -> bytes:
    """An event as a line of JSON; half a surrogate pair stays an escape."""
    return json.dumps(event, separators=(",", ":")).encode("ascii") + b"\n"


def as_sse(event: Event) -> bytes:
    """An event as a server-sent one."""
    return f"event: {event['type']}\ndata: ".encode("ascii") + as_line(event) + b"\n"


class DuplexResponse(Response):
    """Writes a session's events while it reads the body: no other may receive its messages."""

    def __init__(self, session: PlainSession, reader: TextReader, media_type: str, idle_s: float) -> None:
        """`idle_s`: how long a caller may take to accept one event."""
        self.media_type = media_type
        # The body may not have been read to its end, so that the connection cannot be used again.
        super().__init__(None, 200, {"cache-control": "no-cache", "x-accel-buffering": "no", "connection": "close"})
        del self.headers["content-length"]
        self._session, self._reader, self._idle_s = session, reader, idle_s
        self._frame: Callable[[Event], bytes] = as_sse if media_type == EVENTS else as_line
        self._unread = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer to the terminal event; ClientDisconnect when the caller leaves, or takes nothing any more."""
        await self._send(send, {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async with aclosing(self._session.events(self._pieces(receive))) as events:
                async for event in events:
                    body = {"type": "http.response.body", "body": self._frame(event), "more_body": True}
                    await self._send(send, body)
        finally:
            scope["state"].update(chars=self._session.characters, action=self._session.action)
            if self._session.error is not None:
                scope["state"]["code"] = self._session.error.code
        if self._unread:
            await self._linger(receive)
        await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _pieces(self, receive: Receive) -> AsyncGenerator[str, None]:
        while self._unread:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self._unread = message.get("more_body", False)
            for piece in self._reader.feed(message.get("body", b"")):
                yield piece
        for piece in self._reader.close():
            yield piece

    async def _send(self, send: Send, message: Message) -> None:
        try:
            async with asyncio.timeout(self._idle_s):
                await send(message)
        except TimeoutError:
            raise ClientDisconnect from None

    async def _linger(self, receive: Receive) -> None:
        """Read what was on its way when the text was stopped, for a bounded time."""
        try:
            async with asyncio.timeout(LINGER_S):
                message: dict[str, Any] = {"type": "http.request", "more_body": True}
                while message["type"] == "http.request" and message.get("more_body", False):
                    message = dict(await receive())
        except (TimeoutError, BadInput):
            return  # a caller that sends on and on


router = APIRouter(tags=["streams"])
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply} for status in (400, 401, 403, 404, 413, 415, 429, 503)
}
_EXAMPLE = '{"type":"text","text":"Hello there. "}\n{"type":"end","action":"allow","categories":[]}\n'
_TEXT = {"schema": {"type": "string"}}


@router.post(
    "/v1/stream",
    summary="Judge a text while it grows",
    openapi_extra={
        "parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in WISHES],
        "requestBody": {"content": {"text/plain": _TEXT, LINES: _TEXT, EVENTS: _TEXT}},
    },
    responses={200: {"content": {LINES: {"example": _EXAMPLE}, EVENTS: _TEXT}}, **_ERRORS},
    response_class=Response,
)
async def stream(request: Request) -> Response:
    """Text as it grows, back as it is judged: events text, and last one of stop, end and error."""
    runtime: Runtime = request.app.state.runtime
    wishes = wishes_of(request.query_params, request.headers.get(POLICY_HEADER))
    reader = reader_for(request.headers.get("content-type", ""))
    session = PlainSession(runtime, request.app.state.running_streams, request.state.caller, wishes)
    media_type = wrapping(request.headers.get("accept", ""))
    await charge(request, 1)
    return DuplexResponse(session, reader, media_type, runtime.settings.stream_idle_s)
