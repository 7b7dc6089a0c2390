"""`weir serve` as a process of its own, over a fake runtime, with all that it logs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

FAKE_WEIR = Path(__file__).resolve().parent / "fake_weir.py"
START_S = 120  # a busy machine is no failure


class Running:
    """A server on a free port. Its log goes to a file: a pipe that nobody reads would stop it when full."""

    def __init__(self, script: Path = FAKE_WEIR, **env: str) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the server
        environ = {**os.environ, "WEIR_PORT": "0", "WEIR_LOG_FORMAT": "json", **env}
        self.process = subprocess.Popen([sys.executable, str(script), "serve"], stderr=self._log, env=environ)
        self.url = self._wait_for_url()

    def log(self) -> str:
        """Everything logged so far."""
        self._log.seek(0)
        return self._log.read()

    def stop(self, sig: int = signal.SIGINT) -> int:
        """Send a signal, and wait for the exit code."""
        self.process.send_signal(sig)
        return self.process.wait(timeout=START_S)

    def _wait_for_url(self) -> str:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(r"http://[0-9.]+:\d+", self.log()):
                return found.group()
            time.sleep(0.02)
        raise AssertionError(f"weir serve did not start: {self.log()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()
