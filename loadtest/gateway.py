"""A Weir in a process of its own, on a free loopback port, with what the kernel says of its memory.

Owns the child's life; it is ended by its process id. Refuses to know what is measured.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

START_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running service: where it listens, its process, and how long it took to be ready."""

    url: str
    pid: int
    ready_s: float

    def resident_mb(self) -> float:
        """Resident memory of the process and its children, in MiB."""
        pids = [self.pid]
        for pid in pids:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
            pids.extend(int(child) for child in children)
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) for pid in pids)
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def running_gateway(**settings: str) -> Iterator[Gateway]:
    """Start `weir serve` with these WEIR_ settings, wait until it is ready, and end it afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "WEIR_PORT": str(port),
        "WEIR_LOG_LEVEL": "warning",
        "WEIR_DRAIN_S": "0",
        **{f"WEIR_{name.upper()}": value for name, value in settings.items()},
    }
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "service.cli", "serve"], env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        while not _ready(url):
            if process.poll() is not None or time.perf_counter() - begun > START_LIMIT_S:
                raise RuntimeError("the gateway did not become ready")
            time.sleep(0.01)
        yield Gateway(url, process.pid, time.perf_counter() - begun)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=1.0).status_code == 200
    except httpx.TransportError:
        return False
