"""One process that looks at images, as seen from the service's event loop.

Owns its start, the line to it and its end. Refuses to know why it is ended, and what comes after it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping

from service.images import message
from service.images.reading import Reading
from service.images.worker import Options

END_S = 5.0  # that the system is given to end a process it was told to kill
# Threads' arenas and pools cost memory; what is looked at is one image at a time.
_OWN = {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")


class ChildFailed(Exception):
    """It answered that it could not look at the image; `name` is that of its exception."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Child:
    """Started when made; `ready`, then `look` any number of times, one after the other, then `end`.

    Whatever goes wrong with the process is an OSError or an EOFError; an answer that is none is a BadMessage.
    """

    def __init__(self, options: Options) -> None:
        """Start it. Without the environment but for what an interpreter needs: it has no business with secrets."""
        self._options = options
        ours, theirs = socket.socketpair()
        with theirs:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - this interpreter, and a module of ours
                [sys.executable, "-m", "service.images.worker", options.write()],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(os.environ),
            )
        self._ours = ours
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    async def ready(self) -> None:
        """Wait until it can look at images."""
        self._ours.setblocking(False)
        self._streams = await asyncio.open_connection(sock=self._ours, limit=1 << 20)
        kind, _ = await self._receive()
        if kind != message.READY:
            raise message.BadMessage("ready")

    async def look(self, data: bytes) -> Reading:
        """Have an image looked at. Raises Undecodable and ChildFailed; then it can look at the next."""
        assert self._streams is not None
        writer = self._streams[1]
        writer.write(message.HEAD.pack(message.LOOK, len(data)))
        writer.write(data)
        await writer.drain()
        kind, payload = await self._receive()
        if kind == message.REFUSED:
            raise message.refusal(payload)
        if kind == message.FAILED:
            name = payload[:64].decode("ascii", "replace")
            raise ChildFailed(name if name.isidentifier() else "other")
        if kind != message.FOUND:
            raise message.BadMessage("kind")
        return message.unpack(payload)

    async def _receive(self) -> tuple[bytes, bytes]:
        assert self._streams is not None
        reader = self._streams[0]
        kind, size = message.HEAD.unpack(await reader.readexactly(message.HEAD.size))
        if size > message.MOST_ANSWER:
            raise message.BadMessage("size")
        return kind, await reader.readexactly(size)

    async def end(self) -> None:
        """Kill it, whatever it does, and wait until it is gone."""
        self._process.kill()
        if self._streams is None:
            self._ours.close()
        else:
            self._streams[1].transport.abort()
        await asyncio.to_thread(self._process.wait, END_S)


def _environment(whole: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in whole.items() if name in _KEPT} | _OWN
