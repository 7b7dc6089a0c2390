"""A redis-server of the load test's own, which can be killed, stopped and started again on the same port.

Owns that process, by its id; nothing is saved to disk. Refuses to know what is kept in it.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from loadtest.gateway import free_port

START_LIMIT_S = 10.0


class RedisProcess:
    """Started when made."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it listens."""
        server = shutil.which("redis-server")
        if server is None:
            raise RuntimeError("redis-server is not installed")
        command = [server, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen([*command, "--daemonize", "no"], stdout=subprocess.DEVNULL)
        ends = time.monotonic() + START_LIMIT_S
        while time.monotonic() < ends:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError("redis-server does not listen")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP makes it as slow as can be."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def running_redis() -> Iterator[RedisProcess]:
    """One, ended afterwards."""
    redis = RedisProcess()
    try:
        yield redis
    finally:
        redis.kill()
