"""The real `weir serve` over the shipped artefact, as a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

ROOT = Path(__file__).resolve().parent.parent
ARTIFACT = ROOT / "models" / "artifacts" / "default"
START_S = 60


@dataclass(frozen=True)
class Served:
    """Where it listens, its process, and its log."""

    url: str
    process: subprocess.Popen[str]
    stream: IO[str]

    def log(self) -> str:
        """Everything logged so far."""
        self.stream.seek(0)
        return self.stream.read()


@contextmanager
def serving(**settings: str) -> Iterator[Served]:
    """Start it, wait until it is ready, and end it by its process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryFile("w+") as stream, tempfile.TemporaryDirectory() as data:
        own = {"WEIR_PORT": str(port), "WEIR_DRAIN_S": "1", "WEIR_DATA_DIR": data}
        environment = {**os.environ, **own, **settings}
        command = [sys.executable, "-m", "service.cli", "serve"]
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=stream, text=True)
        served = Served(f"http://127.0.0.1:{port}", process, stream)
        try:
            _wait(served)
            yield served
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(served: Served) -> None:
    for _ in range(START_S * 20):
        if served.process.poll() is not None:
            raise AssertionError(f"it did not start: {served.log()}")
        try:
            if httpx.get(f"{served.url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("it never became ready")
