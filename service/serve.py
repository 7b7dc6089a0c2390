"""`weir serve`: one process that listens, drains and stops.

Owns the socket and the signals. Refuses to know requests. On SIGTERM it goes on accepting for WEIR_DRAIN_S and
answers 503, so that a load balancer which has not looked yet gets an answer instead of a closed door; then what is
in flight is answered, and the runtime closes.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from service.app import create_app
from service.config import Settings, not_in_use
from service.errors import StartRefused
from service.log import configure_logging

if TYPE_CHECKING:
    from service.wiring import Runtime

BACKLOG = 2048
CLOSING_MARGIN_S = 2  # beyond a request's own budget, for writing its answer
MOST_MESSAGE_BYTES = 1 << 17  # of a WebSocket message, also once it is inflated
PING_S = 20.0  # a socket whose peer does not answer within this is closed

_log = logging.getLogger("weir.serve")


class DrainingServer(uvicorn.Server):
    """uvicorn, with a SIGTERM that drains first. A second signal, or Ctrl-C, stops at once."""

    def __init__(self, config: uvicorn.Config, runtime: Runtime, settings: Settings) -> None:
        """`runtime` is told that it drains."""
        super().__init__(config)
        self._runtime = runtime
        self._settings = settings
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and only then say so."""
        await super().startup(sockets)
        for listening in sockets or ():
            _announce(self._settings, listening.getsockname(), self._runtime.model)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal. Unlike uvicorn, never raise it again afterwards: that would skip closing the runtime."""
        if sig == signal.SIGTERM and not self._runtime.draining:
            self._runtime.draining = True
            self._loop.call_soon_threadsafe(self._drain)
        elif self.should_exit:
            self.force_exit = True
        else:
            self.should_exit = True

    def _drain(self) -> None:
        _log.info("draining", extra={"seconds": self._settings.drain_s})
        self._loop.call_later(self._settings.drain_s, setattr, self, "should_exit", True)


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet, so that a port in use is known before a model is loaded."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError:
        raise StartRefused("WEIR_HOST is not an address of this machine.") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as exc:
        bound.close()
        raise StartRefused(f"Port {port} cannot be listened on: {exc.strerror}.") from None
    return bound


async def serve(settings: Settings) -> None:
    """Serve until a signal says otherwise."""
    # Here, so that the other commands load no inference library.
    from service.wiring import open_runtime

    with bind(settings.host, settings.port) as bound:
        async with open_runtime(settings) as runtime:
            gc.collect()
            gc.freeze()  # what was loaded stays: no collection need walk through the lexicon again
            config = uvicorn.Config(
                create_app(settings, runtime=runtime),
                log_config=None,
                access_log=False,  # it prints query strings, and people put keys there
                server_header=False,
                proxy_headers=False,
                ws="websockets-sansio",
                ws_max_size=MOST_MESSAGE_BYTES,
                ws_ping_interval=PING_S,
                ws_ping_timeout=PING_S,
                lifespan="on",
                backlog=BACKLOG,
                timeout_graceful_shutdown=int(settings.request_budget_s) + CLOSING_MARGIN_S,
            )
            await DrainingServer(config, runtime, settings).serve(sockets=[bound])
    _log.info("stopped")


def _announce(settings: Settings, address: tuple[str, int], model: str) -> None:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    url = f"http://{host}:{address[1]}"
    _log.info("listening", extra={"url": url, "model": model, "threads": settings.threads})
    for name in not_in_use(settings):
        _log.warning("accepted but not in use in this version", extra={"setting": name})
    if not settings.api_keys and not address[0].startswith("127.") and address[0] != "::1":
        _log.warning("open to others without keys: set WEIR_API_KEYS", extra={"host": address[0]})


def run(settings: Settings) -> None:
    """Serve on the fastest event loop there is."""
    configure_logging(settings.log_level, settings.log_format)
    try:
        import uvloop  # optional: it does not build everywhere
    except ImportError:
        asyncio.run(serve(settings))
    else:
        uvloop.run(serve(settings))
