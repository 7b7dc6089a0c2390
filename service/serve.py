"""`weir serve`: a process that listens, drains and stops; alone, or one of a supervisor's workers.

Owns the signals. Refuses to know requests. On SIGTERM it goes on accepting for WEIR_DRAIN_S and
answers 503, so that a load balancer which has not looked yet gets an answer instead of a closed door; then what is
in flight is answered, and the runtime closes.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from service.app import create_app
from service.config import Settings
from service.errors import WeirError
from service.listening import Handed, bind
from service.log import configure_logging, describe
from service.metrics import Metrics
from service.planned import not_in_use
from service.series import FOLDER, join_processes

if TYPE_CHECKING:
    from service.runtime import Runtime

BACKLOG = 2048
CLOSING_MARGIN_S = 2  # beyond a request's own budget, for writing its answer
MOST_MESSAGE_BYTES = 1 << 17  # of a WebSocket message, also once it is inflated
PING_S = 20.0  # a socket whose peer does not answer within this is closed

_log = logging.getLogger("weir.serve")


class DrainingServer(uvicorn.Server):
    """uvicorn, with a SIGTERM that drains first. A second signal, or Ctrl-C, stops at once."""

    def __init__(
        self, config: uvicorn.Config, runtime: Runtime, settings: Settings, handed: Handed | None = None
    ) -> None:
        """`runtime` is told that it drains."""
        super().__init__(config)
        self._runtime = runtime
        self._settings = settings
        self._handed = handed
        self._lifeline = None if handed is None else socket.socket(fileno=handed.lifeline)
        self._reloading: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and only then say so."""
        await super().startup(sockets)
        self._runtime.metrics.workers.set(1)
        for listening in sockets or ():
            _announce(self._settings, listening.getsockname(), self._runtime.model, self._handed)
        if self._lifeline is not None:
            self._lifeline.send(b"1")
            self._loop.add_reader(self._lifeline, self._lose_supervisor)

        self._loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._try_reload())

    async def _try_reload(self) -> None:
        try:
            await self._runtime.reload("SIGHUP")
        except WeirError as error:
            _log.error("the reload did not happen", extra={"code": error.code})
        except Exception as error:  # nobody waits for this task who could be told
            _log.error("the reload failed", extra=describe(error))

    def _lose_supervisor(self) -> None:
        """Nothing is ever sent to a worker: what can be read is the end."""
        assert self._lifeline is not None
        self._loop.remove_reader(self._lifeline)
        _log.error("the supervisor is gone")
        self.handle_exit(signal.SIGTERM, None)

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


async def serve(settings: Settings, handed: Handed | None = None) -> None:
    """Serve until a signal says otherwise."""
    # Here, so that the other commands load no inference library.
    from service.wiring import open_runtime

    listening = bind(settings.host, settings.port) if handed is None else socket.socket(fileno=handed.listening)
    metrics = Metrics(None if handed is None else Path(os.environ[FOLDER]))
    with listening as bound:
        async with open_runtime(settings, metrics) as runtime:
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
            await DrainingServer(config, runtime, settings, handed).serve(sockets=[bound])
    _log.info("stopped")


def _announce(settings: Settings, address: tuple[str, int], model: str, handed: Handed | None) -> None:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    facts = {"url": f"http://{host}:{address[1]}", "model": model, "threads": settings.threads}
    _log.info("listening", extra=facts if handed is None else facts | {"worker": handed.slot})
    if handed is not None and handed.slot > 0:
        return
    for name in not_in_use(settings):
        _log.warning("accepted but not in use in this version", extra={"setting": name})
    if not settings.api_keys and not address[0].startswith("127.") and address[0] != "::1":
        _log.warning("open to others without keys: set WEIR_API_KEYS", extra={"host": address[0]})


def run(settings: Settings, handed: Handed | None = None) -> None:
    """Serve on the fastest event loop there is; `handed` is a worker's."""
    configure_logging(settings.log_level, settings.log_format)
    if handed is not None:
        join_processes(str(handed.slot))
    try:
        import uvloop  # optional: it does not build everywhere
    except ImportError:
        asyncio.run(serve(settings, handed))
    else:
        uvloop.run(serve(settings, handed))
