"""The socket that is listened on: bound once, by one process, and handed to those that answer on it.

Owns addresses and file descriptors. Refuses to know requests.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Self

from service.errors import StartRefused


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet, so that a port in use is known before a model is loaded."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError):  # the second for a name that no name can be
        raise StartRefused("WEIR_HOST is not an address of this machine.") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as exc:
        bound.close()
        raise StartRefused(f"Port {port} cannot be listened on: {exc.strerror}.") from None
    return bound


@dataclass(frozen=True, slots=True)
class Handed:
    """What a worker has from its supervisor: its slot (0 upwards), the shared socket, and a socket to the supervisor.

    The second one is a lifeline: the worker writes a byte there once it answers, and its end tells that the other
    side is gone.
    """

    slot: int
    listening: int
    lifeline: int

    def write(self) -> str:
        """As a command line's argument."""
        return f"{self.slot}:{self.listening}:{self.lifeline}"

    @classmethod
    def parse(cls, argument: str) -> Self:
        """Read it; ValueError where it is not one."""
        slot, listening, lifeline = map(int, argument.split(":"))
        return cls(slot, listening, lifeline)
