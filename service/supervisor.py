"""`weir serve` with WEIR_WORKERS over 1: starts the processes that answer, watches over them, ends them.

Owns the listening socket's life, the workers' and the folder where their metrics add up. Refuses to know requests, and
loads neither the web framework nor the model. The first worker is started alone, so that a wrong setting is told once.
A worker that ends is started again, later each time while it keeps ending. SIGTERM drains all of them; a second
signal, or Ctrl-C, stops at once. If the supervisor itself is killed, the workers notice and drain.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.config import Settings
from service.listening import Handed, bind
from service.log import configure_logging
from service.metrics import count_restarts
from service.series import FOLDER, SeriesBook, join_processes, leave_processes

FIRST_PAUSE_S = 0.1
MOST_PAUSE_S = 30.0
STEADY_S = 60.0  # a worker that ran this long was well: its next pause is the first one again
CLOSING_S = 15.0  # beyond draining and a request's budget, for closing the runtime

_log = logging.getLogger("weir.supervisor")


@dataclass(frozen=True, slots=True)
class Child:
    """A worker process, and this side of its lifeline."""

    slot: int
    process: Process
    lifeline: socket.socket

    async def answers(self) -> bool:
        """Wait until it answers; False if it ended before."""
        return bool(await asyncio.get_running_loop().sock_recv(self.lifeline, 1))


class Supervisor:
    """Keeps `settings.workers` processes of `command` running. For one event loop, and one run."""

    def __init__(self, settings: Settings, command: Sequence[str], listening: socket.socket, folder: Path) -> None:
        """`command` is what serves with these settings; each worker gets `--worker` and its `Handed` behind it."""
        self._settings = settings
        self._command = command
        self._listening = listening
        self._folder = folder
        self._children: dict[int, Child] = {}
        self._stopping = asyncio.Event()
        self._restarts = count_restarts(SeriesBook(folder))

    async def run(self) -> int:
        """Serve until a signal says otherwise; the exit code."""
        loop = asyncio.get_running_loop()
        for number, act in ((signal.SIGTERM, self._drain), (signal.SIGINT, self._stop), (signal.SIGHUP, self._reload)):
            loop.add_signal_handler(number, act)
        first = await self._start(0)
        if not await first.answers():
            return await self._end_of(first)
        keeping = [asyncio.create_task(self._keep(0, first))]
        keeping += [asyncio.create_task(self._keep(slot, None)) for slot in range(1, self._settings.workers)]
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stopping, *keeping], return_when=asyncio.FIRST_COMPLETED)
        self._signal(signal.SIGTERM)
        grace_s = self._settings.drain_s + self._settings.request_budget_s + CLOSING_S
        _, late = await asyncio.wait(keeping, timeout=grace_s)
        if late:
            _log.error("workers did not end and are killed", extra={"workers": len(late)})
            self._signal(signal.SIGKILL)
        await asyncio.gather(*keeping)
        stopping.cancel()
        _log.info("stopped")
        return 0

    async def _start(self, slot: int) -> Child:
        here, there = socket.socketpair()
        here.setblocking(False)
        with there:
            handed = Handed(slot, self._listening.fileno(), there.fileno())
            try:
                process = await asyncio.create_subprocess_exec(
                    *(*self._command, "--worker", handed.write()),
                    env={**os.environ, FOLDER: str(self._folder)},
                    pass_fds=(handed.listening, handed.lifeline),
                    start_new_session=True,  # a terminal's Ctrl-C is for the supervisor to pass on
                )
            except BaseException:
                here.close()
                raise
        child = self._children[slot] = Child(slot, process, here)
        return child

    async def _end_of(self, child: Child) -> int:
        code = await child.process.wait()
        child.lifeline.close()
        self._children.pop(child.slot, None)
        leave_processes(str(child.slot), self._folder)
        return code

    async def _serve(self, slot: int, child: Child | None) -> int | None:
        """Have a worker until it ends; its exit code, or None where it could not be started: no memory, no file."""
        try:
            child = child or await self._start(slot)
        except OSError:
            return None
        if self._stopping.is_set():
            child.process.terminate()
        return await self._end_of(child)

    async def _keep(self, slot: int, child: Child | None) -> None:
        """Have a worker in this slot until everything stops."""
        pause_s = FIRST_PAUSE_S
        while True:
            begun = time.monotonic()
            code = await self._serve(slot, child)
            child = None
            if self._stopping.is_set():
                return
            self._restarts.inc()
            pause_s = FIRST_PAUSE_S if time.monotonic() - begun >= STEADY_S else pause_s
            _log.error("a worker ended; it is started again", extra={"worker": slot, "exit": code, "in_s": pause_s})
            try:
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
                return
            except TimeoutError:
                pause_s = min(MOST_PAUSE_S, 2 * pause_s)

    def _drain(self) -> None:
        if self._stopping.is_set():
            self._signal(signal.SIGINT)
        self._stopping.set()

    def _stop(self) -> None:
        self._signal(signal.SIGINT)
        self._stopping.set()

    def _reload(self) -> None:
        """One worker is enough: what it takes up reaches the others through the store."""
        for child in list(self._children.values())[:1]:
            child.process.send_signal(signal.SIGHUP)

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children.values():
            if child.process.returncode is None:
                child.process.send_signal(number)


def supervise(settings: Settings, command: Sequence[str]) -> int:
    """Serve with several processes; the exit code."""
    configure_logging(settings.log_level, settings.log_format)
    with (
        bind(settings.host, settings.port) as listening,
        tempfile.TemporaryDirectory(prefix="weir-metrics-", ignore_cleanup_errors=True) as folder,
    ):
        os.environ[FOLDER] = folder
        join_processes("supervisor")
        return asyncio.run(Supervisor(settings, command, listening, Path(folder)).run())
