"""Closed loops by `wrk`: so many connections, each sending the next body as soon as it has its answer.

Owns the call of wrk and its own CPU time, which is told beside what it measured. Refuses to know servers.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.gateway import Gateway

SCRIPT = Path(__file__).with_name("closed.lua")


@dataclass(frozen=True, slots=True)
class Closed:
    """What a closed loop showed. CPU is in microseconds a request, of the server's processes and of wrk."""

    rate: float
    refused: int
    broken: int
    p50_ms: float
    p99_ms: float
    server_us: float
    client_us: float


def closed_loop(gateway: Gateway, path: str, bodies: Sequence[Any], seconds: float, connections: int = 32) -> Closed:
    """Send `bodies` as JSON for so many seconds.

    Raises RuntimeError where wrk is missing, an answer is no 200, or there is none at all.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("wrk is not installed (apt-get install wrk)")
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(body) + "\n" for body in bodies)
        file.flush()
        command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
        command += ["-s", str(SCRIPT), gateway.url + path, "--", file.name]
        before = gateway.cpu_s()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        server_s = gateway.cpu_s() - before
    line = next((line for line in output.splitlines() if line.startswith("JSON ")), None)
    if line is None:
        raise RuntimeError("wrk gave no figures")
    found = json.loads(line.removeprefix("JSON "))
    answered = found["requests"]
    if not answered:
        raise RuntimeError(f"{path}: no request was answered within {seconds:.0f} s")
    if found["refused"] or found["broken"]:
        raise RuntimeError(f"{path}: {found['refused']} answers were no 200, {found['broken']} were missing")
    return Closed(
        found["requests"] / found["seconds"],
        found["refused"],
        found["broken"],
        found["p50_ms"],
        found["p99_ms"],
        server_s / answered * 1e6,
        (usage.ru_utime + usage.ru_stime) / answered * 1e6,
    )
