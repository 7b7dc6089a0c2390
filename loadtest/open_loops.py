"""Open loops of the bench, and traffic of two kinds: what a caller sees when others send more than can be judged.

Owns these scenarios. Requests come as a Poisson process whatever becomes of them; latency counts from when each was
due.
"""

from __future__ import annotations

from typing import Any

from loadtest.client import Seen, Stream, quantile, send
from loadtest.closed_loops import CONNECTIONS, PATH, Length, bodies_of
from loadtest.floor import floor
from loadtest.gateway import Gateway, running_gateway
from loadtest.table import Table
from loadtest.texts import neutral_texts
from loadtest.wrk import closed_loop

HALF = "Open loop at half of capacity"
LONG_CHARS = 100_000
SHORT, LONG = 6, 2  # connections: a quarter of them send long texts
LEAST_GOODPUT = {2: 0.85, 4: 0.70}


def overload(table: Table, length: Length) -> None:
    """Twice and four times what can be judged, and half of it."""
    texts = neutral_texts(length.texts, seed=6)
    bodies = bodies_of(texts)
    with running_gateway(cache="off", screen="off") as gateway:
        closed_loop(gateway, PATH, bodies[:500], 1.0, CONNECTIONS)
        alone = closed_loop(gateway, PATH, bodies, max(2.0, length.open_s / 6), 1)
        capacity = closed_loop(gateway, PATH, bodies, length.turn_s, CONNECTIONS).rate
        _half(table, gateway, bodies, capacity, alone.p50_ms, length)
        least = floor(texts, length.open_s / 2)
        table.add(HALF, "the same in process, without HTTP", least.half_p99_ms / least.alone_p50_ms, note="the floor")
        send(gateway.url, [Stream("warm", bodies, rate=4 * capacity)], 2.0)  # what a flood needs once is no growth
        for factor in (2, 4):
            _flood(table, gateway, bodies, capacity, factor, length)


def _half(table: Table, gateway: Gateway, bodies: list[Any], capacity: float, median_ms: float, length: Length) -> None:
    (seen,) = send(gateway.url, [Stream("half", bodies, rate=capacity / 2)], length.open_s / 2)
    table.add(HALF, "single request, median", median_ms, "ms")
    table.add(HALF, "p99", seen.p99_ms, "ms")
    table.add(HALF, "p99 / single-request median", seen.p99_ms / median_ms, most=3)
    table.add(HALF, "answers that were no 200", seen.refused + seen.other + seen.lost, most=0)


def _flood(table: Table, gateway: Gateway, bodies: list[Any], capacity: float, factor: int, length: Length) -> None:
    before = gateway.resident_mb()
    (seen,) = send(gateway.url, [Stream("flood", bodies, rate=factor * capacity)], length.open_s)
    after = gateway.resident_mb()
    scenario = f"Open loop at {factor} times capacity, {length.open_s:.0f} s"
    table.add(scenario, "offered", seen.sent / length.open_s, "req/s", note=f"capacity {capacity:.0f}")
    table.add(scenario, "goodput / closed loop", seen.goodput / capacity, least=LEAST_GOODPUT[factor])
    table.add(scenario, "refused with 429", 100 * seen.refused / max(1, seen.sent), "%")
    table.add(scenario, "time to a 429, median", seen.refused_p50_ms, "ms", most=50)
    table.add(scenario, "latency of answers, p99", seen.p99_ms, "ms")
    table.add(scenario, "neither 200 nor 429, or no answer", seen.other + seen.lost, most=0)
    table.add(scenario, "resident memory, change", after - before, "MiB", most=20)
    table.add(scenario, "CPU of the client", 100 * seen.client_cpu_s / length.open_s, "% core")


def long_texts(table: Table, length: Length) -> None:
    """Short texts while a quarter of the connections sends texts of LONG_CHARS."""
    short = Stream("short", bodies_of(neutral_texts(length.texts, seed=7)), connections=SHORT)
    pages = [" ".join(neutral_texts(450, seed=100 + n))[:LONG_CHARS] for n in range(8)]
    long = Stream("long", bodies_of(pages), connections=LONG)
    with running_gateway(cache="off", screen="off", request_budget_s="60") as gateway:
        send(gateway.url, [short], 1.0)
        (quiet,) = send(gateway.url, [short], length.open_s / 2)
        beside: list[Seen] = send(gateway.url, [short, long], length.open_s)
    scenario = f"{SHORT} connections with short texts, {LONG} with {LONG_CHARS:,} characters"
    table.add(scenario, "p99 of short texts, alone", quiet.p99_ms, "ms")
    table.add(scenario, "p99 of short texts, beside long ones", beside[0].p99_ms, "ms")
    table.add(scenario, "beside / alone", beside[0].p99_ms / quiet.p99_ms, most=3)
    table.add(scenario, "long texts answered", beside[1].good, least=1)
    table.add(
        scenario,
        "median of a long text",
        quantile([ms for _, ms, status in beside[1].moments if status == 200], 0.5),
        "ms",
    )
    failed = sum(seen.refused + seen.other + seen.lost for seen in beside)
    table.add(scenario, "answers that were no 200", failed, most=0)
