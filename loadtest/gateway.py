"""A Weir, or another server, in a process of its own on a free loopback port, with what the kernel says of it.

Owns the child's life; it is ended by its process id. Refuses to know what is measured.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx

START_LIMIT_S = 240.0  # a peer imports torch and transformers, perhaps on a busy machine
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running service: where it listens, its process, and how long it took to be ready."""

    url: str
    pid: int
    ready_s: float
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def pids(self) -> list[int]:
        """The process and all below it."""
        pids = [self.pid]
        for pid in pids:
            for task in Path(f"/proc/{pid}/task").iterdir():
                pids.extend(int(child) for child in (task / "children").read_text(encoding="ascii").split())
        return pids

    def resident_mb(self) -> float:
        """Resident memory, in MiB."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) for pid in self.pids)
        return pages * _PAGE / 2**20

    def cpu_s(self) -> float:
        """CPU seconds used so far."""
        total = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / _TICKS

    def open_files(self) -> int:
        """File descriptors, sockets included."""
        return sum(1 for pid in self.pids for _ in Path(f"/proc/{pid}/fd").iterdir())

    def threads(self) -> int:
        """Threads of the kernel's."""
        return sum(1 for pid in self.pids for _ in Path(f"/proc/{pid}/task").iterdir())

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a series over the labels that are not given; 0 where there is none."""
        total = 0.0
        for line in httpx.get(f"{self.url}/metrics", timeout=10.0).text.splitlines():
            series, _, value = line.rpartition(" ")
            known, _, rest = series.partition("{")
            if known == name and all(f'{key}="{wanted}"' in rest for key, wanted in labels.items()):
                total += float(value)
        return total

    def terminate(self) -> None:
        """SIGTERM, and no waiting."""
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def running_gateway(**settings: str) -> Iterator[Gateway]:
    """Start `weir serve` with these WEIR_ settings, wait until it is ready, and end it afterwards."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WEIR_")},
            "WEIR_PORT": str(port),
            "WEIR_LOG_LEVEL": "warning",
            "WEIR_DRAIN_S": "0",
            "WEIR_DATA_DIR": folder,
            **{f"WEIR_{name.upper()}": value for name, value in settings.items()},
        }
        command = [sys.executable, "-m", "service.cli", "serve"]
        with running_server(command, f"http://127.0.0.1:{port}", "/readyz", environment) as gateway:
            yield gateway


@contextmanager
def running_server(
    command: Sequence[str],
    url: str,
    probe: str,
    environment: dict[str, str] | None = None,
    *,
    limit_s: float = START_LIMIT_S,
    errors: IO[bytes] | None = None,
) -> Iterator[Gateway]:
    """Start any server, wait until `probe` answers 200, and end it and all that it started afterwards.

    Its stderr goes to `errors`, or to the caller's. Raises RuntimeError if it is not ready within `limit_s` seconds.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
    )
    try:
        with httpx.Client(timeout=1.0) as client:  # one for all: making it costs the CPU that the server starts on
            while not _ready(client, url + probe):
                if process.poll() is not None:
                    raise RuntimeError(f"the server ended with status {process.returncode} before it was ready")
                if time.perf_counter() - begun > limit_s:
                    raise RuntimeError(f"the server was not ready within {limit_s:.0f} s")
                time.sleep(0.01)
        yield Gateway(url, process.pid, time.perf_counter() - begun, process)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM and thirty seconds; then SIGKILL for it and for what it left behind.

    Some servers leave their workers behind, which hold the port, the CPU and the stderr of whoever waits for its end.
    """
    if process.poll() is None:
        process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx.TransportError:
        return False
