"""The outermost layer of every request: its id, its key, its size, its time, its one log line.

Owns what holds for all dialects, as plain ASGI. Refuses to look into a body, and to log anything but facts: no text,
no header, no query string, no exception message. What it answers itself, it answers in the caller's dialect.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.admission import BODIES, IMAGE_BODIES, JUDGED_PATHS, Admission, deadline_of
from service.api.auth import authorize
from service.api.body import body_too_large
from service.api.errors import error_response
from service.api.google import BATCH_PATH, is_google
from service.api.image_bodies import takes_images
from service.api.quota import quota_headers, refuse_at_once
from service.api.request_ids import RequestIds
from service.api.socket_edge import CLIENT_GONE, Recorded, SocketEdge
from service.config import Settings
from service.errors import BadInput, DeadlineExceeded, Draining, Overloaded, RateLimited, WeirError
from service.log import describe

if TYPE_CHECKING:
    from service.runtime import Runtime

OPEN_PATHS = frozenset({"/", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json"})
STREAM_PATH = "/v1/stream"
STREAM_BYTES = 32  # for each character at STREAM_PATH: a token of one letter in an event of its own takes that many
BODY_S = 60.0  # for a body to come: a peer that died while it sent one would else hold its place for ever
BATCH_BODIES = 8  # a multipart batch of Google's may hold as many bytes as this many bodies

Endpoint = Callable[[Request], Awaitable[Response]]

_log = logging.getLogger("weir.request")


class BodyLate(BadInput):
    """The body did not come in time."""

    status = 408
    code = "body_timeout"


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(
        self, app: ASGIApp, settings: Settings, routes: frozenset[str], direct: Mapping[str, Endpoint]
    ) -> None:
        """`routes` are the paths that may stand in a metric's label.

        `direct`: POST on these paths goes to the endpoint at once. Whoever sends texts one by one would else pay as
        much for routing as for the verdict; these endpoints take nothing but the request, and raise WeirErrors only.
        """
        self._app = app
        self._direct = direct
        self._keys = settings.caller_keys
        self._max_body_bytes = settings.max_body_bytes
        self._budget_s = settings.request_budget_s
        self._image_body_bytes = max(settings.image_body_bytes, settings.max_body_bytes)
        self._admission = Admission(
            max_wait_s=settings.max_wait_s,
            most_bytes=BODIES * settings.max_body_bytes + IMAGE_BODIES * settings.image_body_bytes,
        )
        self._max_stream_bytes = settings.max_body_bytes + settings.max_stream_chars * STREAM_BYTES
        self._routes = routes
        self._sockets = SocketEdge(app, settings, self._record)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens inside."""
        if scope["type"] != "http":
            await (self._sockets if scope["type"] == "websocket" else self._app)(scope, receive, send)
            return
        size = _announced(scope["headers"])
        most_bytes = self._most_bytes(scope["path"], size)
        exchange = _Exchange(scope, receive, send, most_bytes)
        tracing = scope["app"].state.runtime.tracing
        if tracing is None or scope["path"] in OPEN_PATHS:
            await self._serve(scope, exchange, size, most_bytes)
            return
        with tracing.request(scope["method"], scope["headers"]) as tell:
            await self._serve(scope, exchange, size, most_bytes)
            tell(self._facts(scope, exchange))

    async def _serve(self, scope: Scope, exchange: _Exchange, size: int | None, most_bytes: int) -> None:
        try:
            with self._admit(scope, size, most_bytes):
                await self._answer(scope, exchange)
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

    async def _answer(self, scope: Scope, exchange: _Exchange) -> None:
        """Hand the request on, for as long as its caller gives it."""
        deadline_s: float | None = scope["state"].get("deadline_s")
        if deadline_s is None:
            await self._route(scope, exchange)
            return
        try:
            async with asyncio.timeout(deadline_s - (time.perf_counter() - exchange.started)):
                await self._route(scope, exchange)
        except TimeoutError:
            raise DeadlineExceeded("There was no verdict within X-Weir-Deadline-Ms.") from None

    async def _route(self, scope: Scope, exchange: _Exchange) -> None:
        endpoint = self._direct.get(scope["path"]) if scope["method"] == "POST" else None
        if endpoint is None:
            await self._app(scope, exchange.receive, exchange.send)
            return
        response = await endpoint(Request(scope, exchange.receive, exchange.send))
        await response(scope, exchange.receive, exchange.send)

    def _most_bytes(self, path: str, size: int | None) -> int:
        if path == STREAM_PATH:
            return self._max_stream_bytes
        # Only one that is announced, so that nobody's place is held for what may never come.
        if size is not None and takes_images(path):
            return self._image_body_bytes
        return self._max_body_bytes * (BATCH_BODIES if path == BATCH_PATH else 1)

    def _admit(self, scope: Scope, size: int | None, most_bytes: int) -> AbstractContextManager[None]:
        """Refuse what need not be read: a draining service, a bad key, an announced `size` over the limit, an overload.

        What is to be judged holds its place within the context that comes back.
        """
        path = scope["path"]
        if path in OPEN_PATHS:
            return nullcontext()
        runtime: Runtime = scope["app"].state.runtime
        if runtime.draining:
            raise Draining("This replica is about to stop; ask again.")
        if path != BATCH_PATH:  # each part of a batch brings its own key
            query = scope["query_string"] if is_google(path) else None
            caller = scope["state"]["caller"] = authorize(scope["headers"], self._keys, query)
            if path in JUDGED_PATHS:
                refuse_at_once(runtime.limits, caller, scope["state"])
        if size is not None and size > most_bytes:
            raise body_too_large(most_bytes)
        if path not in JUDGED_PATHS or scope["method"] != "POST":
            large = size is not None and size > self._max_body_bytes and takes_images(path)
            return self._admission.held(size or 0) if large else nullcontext()
        deadline_s = deadline_of(scope["headers"], self._budget_s)
        if deadline_s is not None:
            scope["state"]["deadline_s"] = deadline_s
        # A body that announces no length may be the largest.
        return self._admission.admitted(runtime.scorer, self._max_body_bytes if size is None else size, deadline_s)

    def _record(self, scope: Scope, exchange: Recorded) -> None:
        route = self._route_of(scope)
        seconds = time.perf_counter() - exchange.started
        metrics = scope["app"].state.runtime.metrics
        metrics.count_request(route, exchange.status, seconds)
        metrics.in_flight.set(self._admission.requests)
        state = scope["state"]
        if "code" in state:
            metrics.rejections.labels(state["code"]).inc()
        # Probes and scrapes would drown the rest, and a line for each refusal costs more than the refusal.
        refused = state.get("code") in (Overloaded.code, RateLimited.code)
        quiet = (route in OPEN_PATHS and exchange.status < 400) or refused
        level = logging.DEBUG if quiet else logging.INFO
        if not _log.isEnabledFor(level):
            return
        facts = {**self._facts(scope, exchange), "ms": round(seconds * 1000, 2)}
        if "caller" in state and state["caller"].name:
            facts["key"] = state["caller"].name
        _log.log(level, "request", extra=facts)

    def _route_of(self, scope: Scope) -> str:
        route = getattr(scope.get("route"), "path", scope["path"])
        return route if route in self._routes else "other"

    def _facts(self, scope: Scope, exchange: Recorded) -> dict[str, Any]:
        """What may be told of a request, to a log or in a trace."""
        state = scope["state"]
        facts = {"route": self._route_of(scope), "status": exchange.status, "id": exchange.ids.inside}
        facts.update((key, state[key]) for key in ("action", "chars", "items", "code") if key in state)
        return facts


def _announced(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """The size that a request says its body has."""
    length = next((value for name, value in headers if name == b"content-length"), b"")
    return int(length[:20]) if length.isdigit() else None


class _Exchange:
    """One request's channels, with what passed through them."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int) -> None:
        self.started = time.perf_counter()
        self.ids = RequestIds(scope["headers"])
        self.status = CLIENT_GONE
        self._answering = False
        self._scope, self._receive, self._send = scope, receive, send
        self._left = self._limit = max_body_bytes
        self._unread = scope["path"] != STREAM_PATH  # there a session says how long it waits
        scope.setdefault("state", {})["request_id"] = self.ids.outside

    async def receive(self) -> Message:
        message = await (self._in_time() if self._unread else self._receive())
        self._unread = self._unread and message.get("more_body", False)
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise body_too_large(self._limit)
        return message

    async def _in_time(self) -> Message:
        try:
            async with asyncio.timeout(self.started + BODY_S - time.perf_counter()):
                return await self._receive()
        except TimeoutError:
            raise BodyLate(f"The body took over {BODY_S:g} seconds to come.") from None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._answering = True
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", self.ids.outside.encode("ascii")),
                (b"x-content-type-options", b"nosniff"),
                *quota_headers(self._scope["state"]),
            ]
        await self._send(message)

    async def fail(self, error: WeirError) -> None:
        """Answer with the error; a reply that has begun can only be broken off."""
        self._scope["state"]["code"] = getattr(error, "label", error.code)
        if self._answering:
            raise RuntimeError("the reply failed after it had begun") from None
        response = error_response(self._scope["path"], error, self.ids.outside)
        await response(self._scope, self._receive, self.send)
