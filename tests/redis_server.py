"""A redis-server of the test's own, on a free port and in a folder of its own; installed where that can be done."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

START_S = 10


def installed() -> str | None:
    """Where the program is; root installs it from Debian's packages first where it is missing."""
    if shutil.which("redis-server") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "-y", "--no-install-recommends", "redis-server"]):
            subprocess.run(["apt-get", "-qq", *command], check=False, capture_output=True, timeout=600)
    return shutil.which("redis-server")


class RedisServer:
    """One server. `options` are those of redis-server, without the dashes."""

    def __init__(self, folder: Path, **options: str) -> None:
        program = installed()
        if program is None:
            pytest.skip("redis-server is neither there nor to be installed by this user")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        given = {"appendonly": "yes", "appendfsync": "always", **options}
        for name, value in given.items():
            self._command += [f"--{name}", value]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start it, again after a kill too, and wait until it answers."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                    probe.sendall(b"PING\r\n")
                    if probe.recv(64).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()
