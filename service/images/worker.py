"""The process that looks at images: started by `eyes`, one image at a time, until its line is closed.

Owns its own limits: memory, processor time, priority, and how long it may outlive whoever started it. Refuses to know
whose image it is; it has no settings and no secrets, and logs nothing. `python -m service.images.worker`
with its options as JSON; its standard input is a socket, on which messages come and go.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import resource
import signal
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from service.images import message
from service.images.limits import Limits, Undecodable

NICE = 10  # texts come first: a tenth of their share where both want the processor
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl
_OPEN_FILES = 64


@dataclass(frozen=True, slots=True)
class Options:
    """What a worker is started with. `side`: of the squares for a classifier, in pixels; 0 for none.

    `memory_bytes`: resident, all of it; `cpu_s` and `wall_s`: for one image.
    """

    limits: Limits
    side: int = 0
    memory_bytes: int = 1 << 30
    cpu_s: float = 5.0
    wall_s: float = 10.0

    def write(self) -> str:
        """As it stands on the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, written: str) -> Options:
        """The same from there."""
        plain: dict[str, Any] = json.loads(written)
        return cls(**{**plain, "limits": Limits(**plain["limits"])})


def main() -> None:
    """Load, say so, and look at images until the other end closes."""
    options = Options.read(sys.argv[1])
    parent = os.getppid()
    line = socket.socket(fileno=os.dup(0))
    _become_lonely()
    if os.getppid() != parent:  # it ended before the tie to it was made
        return
    looker = _load(options)
    os.nice(NICE)  # not before: somebody waits for the start
    _bound_memory(options.memory_bytes)
    line.sendall(message.frame(message.READY))
    while (data := _next(line, options.limits.most_bytes)) is not None:
        _bound_time(options)
        line.sendall(_answer(looker, data))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _load(options: Options) -> Any:
    """What looks, with all that it needs in memory."""
    from service.images.hashing import hash_frame
    from service.images.looking import Looker
    from service.images.ocr import TextReader

    return Looker(options.limits, TextReader(), hash_frame, options.side)


def _answer(looker: Any, data: bytes) -> bytes:
    """The message that answers an image."""
    try:
        return message.frame(message.FOUND, message.pack(looker.look(data)))
    except Undecodable as refused:
        return message.frame(message.REFUSED, refused.why.encode())
    except Exception as error:  # a defect, or no memory: told by its name, for the text of an error may quote
        return message.frame(message.FAILED, type(error).__name__.encode())


def _next(line: socket.socket, most_bytes: int) -> bytes | None:
    """The next image; None when there will be none."""
    head = _read(line, message.HEAD.size)
    if head is None:
        return None
    kind, size = message.HEAD.unpack(head)
    if kind != message.LOOK or size > most_bytes:
        raise SystemExit(2)
    return _read(line, size)


def _read(line: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        piece = line.recv(min(size - len(data), 1 << 20))
        if not piece:
            return None
        data += piece
    return bytes(data)


def _become_lonely() -> None:
    """No terminal, no output, little room for files, and no life beyond the parent's."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all; the parent ends this one
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))


def _bound_memory(most_bytes: int) -> None:
    """Bound the address space, so that what is resident stays in bounds; what is reserved by now does not count."""
    try:
        pages = [int(number) for number in Path("/proc/self/statm").read_text(encoding="ascii").split()[:2]]
    except OSError:  # no Linux
        return
    size, resident = (count * resource.getpagesize() for count in pages)
    limit = size - resident + most_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _bound_time(options: Options) -> None:
    """From now on for one image; the system ends the process beyond it, in whatever library it is."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime + options.cpu_s), hard))
    signal.setitimer(signal.ITIMER_REAL, options.wall_s)  # where nobody is left to end it


if __name__ == "__main__":
    main()
