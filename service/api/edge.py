"""The outermost layer of every request: its id, its key, its size, its time, its one log line.

Owns what holds for all dialects, as plain ASGI. Refuses to look into a body, and to log anything but facts: no text,
no header, no query string, no exception message. What it answers itself, it answers in the caller's dialect.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.auth import authorize
from service.api.errors import error_response
from service.api.google import BATCH_PATH, is_google
from service.api.request_ids import RequestIds
from service.api.socket_edge import CLIENT_GONE, Recorded, SocketEdge
from service.config import Settings
from service.errors import BodyTooLarge, Draining, WeirError
from service.log import describe

if TYPE_CHECKING:
    from service.wiring import Runtime

OPEN_PATHS = frozenset({"/", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json"})
STREAM_PATH = "/v1/stream"
STREAM_BYTES = 32  # for each character at STREAM_PATH: a token of one letter in an event of its own takes that many
BATCH_BODIES = 8  # a multipart batch of Google's may hold as many bytes as this many bodies

_log = logging.getLogger("weir.request")


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: Settings, routes: frozenset[str]) -> None:
        """`routes` are the paths that may stand in a metric's label."""
        self._app = app
        self._keys = settings.caller_keys
        self._max_body_bytes = settings.max_body_bytes
        self._max_stream_bytes = settings.max_body_bytes + settings.max_stream_chars * STREAM_BYTES
        self._routes = routes
        self._sockets = SocketEdge(app, settings, self._record)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens inside."""
        if scope["type"] != "http":
            await (self._sockets if scope["type"] == "websocket" else self._app)(scope, receive, send)
            return
        most_bytes = self._most_bytes(scope["path"])
        exchange = _Exchange(scope, receive, send, most_bytes)
        try:
            self._admit(scope, most_bytes)
            await self._app(scope, exchange.receive, exchange.send)
        except WeirError as error:
            await exchange.fail(error)
        except ClientDisconnect:
            exchange.status = CLIENT_GONE
        except Exception as error:
            # Not re-raised: the server would log the message, and a message may quote the input.
            _log.error("unexpected error", extra={"id": exchange.ids.inside, **describe(error)})
            await exchange.fail(WeirError())
        finally:
            self._record(scope, exchange)

    def _most_bytes(self, path: str) -> int:
        if path == STREAM_PATH:
            return self._max_stream_bytes
        return self._max_body_bytes * (BATCH_BODIES if path == BATCH_PATH else 1)

    def _admit(self, scope: Scope, most_bytes: int) -> None:
        """Refuse what need not be read: a draining service, a bad key, an announced size over the limit."""
        path = scope["path"]
        if path in OPEN_PATHS:
            return
        runtime: Runtime = scope["app"].state.runtime
        if runtime.draining:
            raise Draining("This replica is about to stop; ask again.")
        if path != BATCH_PATH:  # each part of a batch brings its own key
            query = scope["query_string"] if is_google(path) else None
            scope["state"]["caller"] = authorize(scope["headers"], self._keys, query)
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if length.isdigit() and int(length[:20]) > most_bytes:
            raise body_too_large(most_bytes)

    def _record(self, scope: Scope, exchange: Recorded) -> None:
        route = getattr(scope.get("route"), "path", scope["path"])
        route = route if route in self._routes else "other"
        seconds = time.perf_counter() - exchange.started
        metrics = scope["app"].state.runtime.metrics
        metrics.count_request(route, exchange.status, seconds)
        state = scope["state"]
        if "code" in state:
            metrics.rejections.labels(state["code"]).inc()
        facts = {"route": route, "status": exchange.status, "ms": round(seconds * 1000, 2), "id": exchange.ids.inside}
        facts.update((key, state[key]) for key in ("action", "chars", "items", "code") if key in state)
        if "caller" in state and state["caller"].name:
            facts["key"] = state["caller"].name
        quiet = route in OPEN_PATHS and exchange.status < 400  # probes and scrapes would drown the rest
        _log.log(logging.DEBUG if quiet else logging.INFO, "request", extra=facts)


class _Exchange:
    """One request's channels, with what passed through them."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int) -> None:
        self.started = time.perf_counter()
        self.ids = RequestIds(scope["headers"])
        self.status = CLIENT_GONE
        self._answering = False
        self._scope, self._receive, self._send = scope, receive, send
        self._left = self._limit = max_body_bytes
        scope.setdefault("state", {})["request_id"] = self.ids.outside

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise body_too_large(self._limit)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._answering = True
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", self.ids.outside.encode("ascii")),
                (b"x-content-type-options", b"nosniff"),
            ]
        await self._send(message)

    async def fail(self, error: WeirError) -> None:
        """Answer with the error; a reply that has begun can only be broken off."""
        self._scope["state"]["code"] = error.code
        if self._answering:
            raise RuntimeError("the reply failed after it had begun") from None
        response = error_response(self._scope["path"], error, self.ids.outside)
        await response(self._scope, self._receive, self.send)


def body_too_large(limit: int) -> BodyTooLarge:
    """The error for a body over the limit."""
    return BodyTooLarge(f"The body is over {limit} bytes.")
