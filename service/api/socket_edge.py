"""The outermost layer of a WebSocket: who may open one, its id, and the one line that is logged of it.

Owns what `edge` owns of a request, for a connection that is upgraded. Refuses to look into a message. A refusal comes
before the upgrade, as the HTTP answer that the same error has elsewhere; after it, as a close code.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from service.api.auth import authorize
from service.api.errors import error_response
from service.api.request_ids import RequestIds
from service.config import Settings
from service.errors import Draining, Forbidden, WeirError
from service.log import describe

if TYPE_CHECKING:
    from service.runtime import Runtime

KEY_PROTOCOL = "weir-key."  # a page's script can send no header with a WebSocket: its key comes as a subprotocol
UPGRADED = 101
CLIENT_GONE = 499  # nginx's number for a caller that left; only ever seen in logs and metrics

_log = logging.getLogger("weir.request")


class OriginForbidden(Forbidden):
    """A web page that may not open a socket here; browsers say which one it is, and let any page ask."""

    code = "origin_forbidden"


class Recorded(Protocol):
    """What is told of an exchange when it is over: when it began, how it was answered, and its names."""

    started: float
    status: int
    ids: RequestIds


class SocketEdge:
    """ASGI layer around the application, for connections that ask for an upgrade."""

    def __init__(self, app: ASGIApp, settings: Settings, record: Callable[[Scope, Recorded], None]) -> None:
        """`record` is told of every connection when it has ended."""
        self._app = app
        self._keys = settings.caller_keys
        self._origins = settings.cors_origins
        self._record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection to its end, whatever happens inside."""
        upgrade = _Upgrade(scope, send)
        try:
            self._admit(scope)
            await self._app(scope, receive, upgrade.send)
        except WeirError as error:
            await upgrade.fail(error)
        except WebSocketDisconnect:
            pass  # the client has left: nobody is there to be told
        except Exception as error:
            _log.error("unexpected error", extra={"id": upgrade.ids.inside, **describe(error)})
            await upgrade.fail(WeirError())
        finally:
            self._record(scope, upgrade)

    def _admit(self, scope: Scope) -> None:
        """Refuse a draining service, a foreign page and a bad key."""
        runtime: Runtime = scope["app"].state.runtime
        if runtime.draining:
            raise Draining("This replica is about to stop; ask again.")
        headers = scope["headers"]
        if not may_open(_header(headers, b"origin"), _header(headers, b"host"), self._origins):
            raise OriginForbidden("This page may not open a socket here: WEIR_CORS_ORIGINS does not name it.")
        offered = [name for name in scope["subprotocols"] if name.startswith(KEY_PROTOCOL)]
        in_protocol = [(b"x-weir-key", name.removeprefix(KEY_PROTOCOL).encode()) for name in offered[:1]]
        scope["state"]["caller"] = authorize([*headers, *in_protocol], self._keys)


def may_open(origin: str, host: str, origins: Sequence[str]) -> bool:
    """Whether a page of this origin may: one of its own host, one that is named, and whoever is no page ('')."""
    if not origin or "*" in origins or origin in origins:
        return True
    return origin.partition("://")[2] == host


def close_code(error: WeirError) -> int:
    """RFC 6455's code for an error: whose fault it is, and whether to come again."""
    if isinstance(error, Draining):
        return 1012
    if error.status == 413:
        return 1009
    if error.status in (429, 503):
        return 1013
    return 1008 if error.status < 500 else 1011


class _Upgrade:
    """One connection's way out, with what passed through it."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.started = time.perf_counter()
        self.ids = RequestIds(scope["headers"])
        self.status = CLIENT_GONE
        self._closed = False
        self._scope, self._send = scope, send
        scope.setdefault("state", {})["request_id"] = self.ids.outside

    async def send(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            self.status = UPGRADED
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.ids.outside.encode("ascii"))]
        elif message["type"] == "websocket.close":
            self._closed = True
            if self.status != UPGRADED:
                self.status = 403  # what a server answers when the application closes unopened
        await self._send(message)

    async def fail(self, error: WeirError) -> None:
        """Refuse the upgrade with the error's HTTP answer, or close what is open with its code."""
        self._scope["state"]["code"] = error.code
        if self._closed:
            return
        if self.status == UPGRADED:
            await self.send({"type": "websocket.close", "code": close_code(error), "reason": error.code})
            return
        self.status = error.status
        if "websocket.http.response" not in self._scope.get("extensions", {}):
            await self._send({"type": "websocket.close", "code": close_code(error), "reason": error.code})
            return
        response = error_response(self._scope["path"], error, self.ids.outside)
        headers = [*response.raw_headers, (b"x-request-id", self.ids.outside.encode("ascii"))]
        await self._send({"type": "websocket.http.response.start", "status": response.status_code, "headers": headers})
        await self._send({"type": "websocket.http.response.body", "body": bytes(response.body)})


def _header(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in headers if name == wanted), "")
