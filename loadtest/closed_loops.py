"""Closed loops of the bench: how much of the hardware becomes verdicts, beside the ceiling and a bare echo.

Owns these scenarios. What is compared is measured in turns, so that a machine that slows down slows down both; ratios
are the medians of the turns. Each also stands as a ratio of CPU times, which hangs less on who else uses the machine.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from loadtest.ceiling import SETTINGS, Ceiling, ceiling
from loadtest.gateway import Gateway, free_port, running_gateway, running_server
from loadtest.table import Table
from loadtest.texts import neutral_texts
from loadtest.wrk import Closed, closed_loop

CONNECTIONS = 32
CACHED_TEXTS = 50
PATH = "/v1/moderate"


@dataclass(frozen=True, slots=True)
class Length:
    """How long a run takes: `turn_s` for each measurement of a turn, so many turns, `open_s` for an open loop."""

    turn_s: float
    turns: int
    open_s: float
    texts: int


FULL = Length(6.0, 3, 30.0, 6000)
QUICK = Length(2.0, 2, 5.0, 1500)


def bodies_of(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Requests of the native dialect."""
    return [{"input": text} for text in texts]


def throughput(table: Table, length: Length) -> float:
    """Texts a second with neither cache nor screen, beside the ceiling; returns it."""
    texts = neutral_texts(length.texts, seed=3)
    bodies = bodies_of(texts)
    setting = _best_setting(texts, length)
    above: list[Ceiling] = []
    served: list[Closed] = []
    with running_gateway(cache="off", screen="off") as gateway:
        closed_loop(gateway, PATH, bodies[:500], 1.0, CONNECTIONS)
        for _ in range(length.turns):
            above.append(ceiling(texts, length.turn_s, [setting]))
            served.append(closed_loop(gateway, PATH, bodies, length.turn_s, CONNECTIONS))
    pairs = list(zip(above, served, strict=True))
    rate = statistics.median(one.rate for one in served)
    scenario = f"Unique texts, cache off, screen off, {CONNECTIONS} connections"
    table.add(
        scenario, "in-process ceiling", statistics.median(one.rate for one in above), "texts/s", note=above[0].setting
    )
    table.add(scenario, "Weir over HTTP", rate, "texts/s")
    table.add(scenario, "Weir / ceiling", statistics.median(b.rate / a.rate for a, b in pairs), least=0.75, note="0.85")
    table.add(
        scenario,
        "CPU of the ceiling / CPU of Weir and wrk",
        statistics.median(a.cpu_us / (b.server_us + b.client_us) for a, b in pairs),
        note="the same ratio, by CPU time",
    )
    table.add(scenario, "CPU of the ceiling", statistics.median(one.cpu_us for one in above), "us/text")
    table.add(scenario, "CPU of Weir", statistics.median(one.server_us for one in served), "us/text")
    table.add(scenario, "CPU of wrk", statistics.median(one.client_us for one in served), "us/text")
    table.add(scenario, "latency, median", statistics.median(one.p50_ms for one in served), "ms")
    table.add(scenario, "latency, p99", statistics.median(one.p99_ms for one in served), "ms")
    return rate


def _best_setting(texts: Sequence[str], length: Length) -> tuple[int, int, int]:
    """Workers, threads and batch size that are the quickest here."""
    found = {setting: ceiling(texts, length.turn_s / 2, [setting]).rate for setting in SETTINGS}
    return max(found, key=lambda setting: found[setting])


def cached(table: Table, length: Length) -> None:
    """Texts that were judged before, beside a bare FastAPI echo whose bodies are as large."""
    bodies = bodies_of(neutral_texts(CACHED_TEXTS, seed=4))
    scenario = f"Cached, {CONNECTIONS} connections"
    with running_gateway(cache="memory", screen="off") as gateway:
        sizes = [len(httpx.post(gateway.url + PATH, json=body, timeout=30.0).content) for body in bodies]
        port = free_port()
        command = [sys.executable, "-m", "loadtest.echo", str(port), str(round(statistics.mean(sizes)))]
        with running_server(command, f"http://127.0.0.1:{port}", "/readyz") as echo:
            pairs = _in_turns(gateway, echo, bodies, length)
    table.add(scenario, "bare FastAPI echo", statistics.median(echo.rate for _, echo in pairs), "req/s")
    table.add(scenario, "Weir", statistics.median(weir.rate for weir, _ in pairs), "req/s")
    table.add(scenario, "Weir / echo", statistics.median(weir.rate / echo.rate for weir, echo in pairs), least=0.5)
    table.add(
        scenario,
        "CPU of the echo / CPU of Weir",
        statistics.median(echo.server_us / weir.server_us for weir, echo in pairs),
        note="the same ratio, by CPU time",
    )
    table.add(scenario, "CPU of the echo", statistics.median(echo.server_us for _, echo in pairs), "us/req")
    table.add(scenario, "CPU of Weir", statistics.median(weir.server_us for weir, _ in pairs), "us/req")
    table.add(scenario, "latency of Weir, p99", statistics.median(weir.p99_ms for weir, _ in pairs), "ms")


def _in_turns(gateway: Gateway, echo: Gateway, bodies: Sequence[Any], length: Length) -> list[tuple[Closed, Closed]]:
    seconds = max(2.0, length.turn_s / 2)
    pairs = []
    for server, path in ((gateway, PATH), (echo, "/echo")):
        closed_loop(server, path, bodies, 1.0, CONNECTIONS)
    for _ in range(length.turns):
        weir = closed_loop(gateway, PATH, bodies, seconds, CONNECTIONS)
        pairs.append((weir, closed_loop(echo, "/echo", bodies, seconds, CONNECTIONS)))
    return pairs
