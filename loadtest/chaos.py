"""`make chaos`: parts die, stop and come back while requests come. What does a caller notice?

Owns these runs, each bounded in time. Everything is on loopback and ended by its process id. A minute and a half.

    python -m loadtest.chaos [--quick] [--only NAME ...] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from loadtest.client import Running, Seen, Stream, quantile
from loadtest.closed_loops import PATH, bodies_of
from loadtest.gateway import Gateway, running_gateway
from loadtest.redis_process import RedisProcess, running_redis
from loadtest.table import Table
from loadtest.texts import neutral_texts

TOGETHER = 100
AROUND_S = 2.0  # after an event, in which latency may be what it will
CONNECTIONS = 8
DRAIN_S = 1
CLIENT_START_S = 0.5  # until its first request, about
Event = tuple[float, Callable[[], object]]  # seconds after the start, what happens


def under_load(gateway: Gateway, stream: Stream, seconds: float, events: Sequence[Event]) -> tuple[Seen, list[float]]:
    """What came of the stream, and when the events happened, in seconds since it began."""
    running = Running(gateway.url, [stream], seconds)
    begun = time.time() + CLIENT_START_S
    happened = []
    for at, happen in events:
        time.sleep(max(0.0, begun + at - time.time()))
        happened.append(time.time())
        happen()
    (seen,) = running.result()
    return seen, [moment - seen.begun for moment in happened]


def _failed(seen: Seen) -> int:
    return seen.refused + seen.other + seen.lost


def redis_dies(table: Table, unit_s: float) -> None:
    """Killed and restarted twice; then stopped, so that it takes connections and answers nothing."""
    texts = neutral_texts(400, seed=21)
    stream = Stream("mixed", bodies_of(texts), connections=CONNECTIONS)
    with running_redis() as redis, running_gateway(cache="redis", cache_url=redis.url, screen="off") as gateway:
        under_load(gateway, stream, unit_s, [])
        # Texts that are new all the time, so that what is measured is not the cache in this process.
        quiet_stream, loud_stream, slow_stream = (
            Stream("new", bodies_of(neutral_texts(20_000, seed=seed)), connections=CONNECTIONS) for seed in (22, 23, 24)
        )
        quiet, _ = under_load(gateway, quiet_stream, 3 * unit_s, [])
        times = [unit_s * at for at in (1, 2, 4, 5)]
        events = list(zip(times, (redis.kill, redis.start, redis.kill, redis.start), strict=True))
        loud, happened = under_load(gateway, loud_stream, 7 * unit_s, events)
        _report(table, "Redis killed and restarted twice under load", quiet, loud, happened)
        slow, happened = under_load(gateway, slow_stream, 5 * unit_s, _stopped(redis, unit_s))
        _report(table, "Redis stopped for a while under load (SIGSTOP)", quiet, slow, happened)
        found = sum(gateway.metric(f"weir_cache_{name}_total", tier="redis") for name in ("hits", "misses"))
        table.add("Redis in use", "lookups", found, least=1)


def _stopped(redis: RedisProcess, unit_s: float) -> list[Event]:
    return [
        (unit_s, lambda: redis.signal(signal.SIGSTOP)),
        (3 * unit_s, lambda: redis.signal(signal.SIGCONT)),
    ]


def _report(table: Table, scenario: str, quiet: Seen, loud: Seen, events: Sequence[float]) -> None:
    calm = [ms for at, ms, _ in loud.moments if not any(event <= at <= event + AROUND_S for event in events)]
    table.add(scenario, "requests", loud.sent)
    table.add(scenario, "answers that were no 200", _failed(loud), most=0)
    table.add(scenario, "p99, quiet", quiet.p99_ms, "ms")
    table.add(scenario, "p99 outside the 2 s after an event", quantile(calm, 0.99), "ms")
    if calm:
        table.add(scenario, "p99 / quiet", quantile(calm, 0.99) / quiet.p99_ms, most=2)
    table.add(scenario, "longest of all", max(ms for _, ms, _ in loud.moments), "ms")


def stopping(table: Table, unit_s: float) -> None:
    """SIGTERM under load: what was accepted is answered; what comes later is told so, or finds the door closed."""
    stream = Stream("flow", bodies_of(neutral_texts(4000, seed=25)), connections=CONNECTIONS)
    scenario = "SIGTERM under load"
    with running_gateway(cache="off", screen="off", drain_s=str(DRAIN_S)) as gateway:
        begun = time.perf_counter()
        seen, (asked,) = under_load(gateway, stream, 3 * unit_s, [(unit_s, gateway.terminate)])
        table.add(scenario, "answered before and while it stopped", seen.good)
        refused = sum(status == 503 for _, _, status in seen.moments)
        table.add(scenario, "told that it is about to stop (503)", refused)
        # While it drains it accepts; a request sent on a kept connection at the moment that the door closes may cross
        # the closing on its way, as with any server, and was not accepted.
        broken = [at - ms / 1e3 for at, ms, status in seen.moments if status == 0]
        accepted = sum(sent < asked + DRAIN_S for sent in broken)
        table.add(scenario, "accepted and not answered", accepted, most=0)
        table.add(scenario, "sent while the door closed, broken off", len(broken) - accepted)
        code = gateway.process.wait(timeout=30)
        table.add(scenario, "exit status", code, most=0, note=f"after {time.perf_counter() - begun:.1f} s")


def worker_killed(table: Table, unit_s: float) -> None:
    """kill -9 of one of two workers: the other goes on, and a new one comes."""
    stream = Stream("flow", bodies_of(neutral_texts(4000, seed=26)), connections=CONNECTIONS)
    scenario = "kill -9 of one of two workers under load"
    with running_gateway(cache="off", screen="off", workers="2") as gateway:
        workers = [pid for pid in gateway.pids if pid != gateway.pid]
        if len(workers) < 2:
            raise RuntimeError("there are no two workers")
        victim = workers[0]
        seconds = 6 * unit_s
        seen, _ = under_load(gateway, stream, seconds, [(unit_s, lambda: os.kill(victim, signal.SIGKILL))])
        table.add(scenario, "answered", seen.good)
        table.add(scenario, "broken off", seen.broken, most=CONNECTIONS, note="at most what the dead one held")
        late = sum(status == 200 and at > seconds / 2 for at, _, status in seen.moments)
        table.add(scenario, "answered in the second half", late, least=1)
        table.add(scenario, "workers afterwards", len([pid for pid in gateway.pids if pid != gateway.pid]), least=2)


def equal_requests(table: Table, unit_s: float) -> None:
    """A hundred equal requests at once."""
    scenario = f"{TOGETHER} equal requests at once"

    async def ask(url: str) -> list[int]:
        limits = httpx.Limits(max_connections=TOGETHER)
        async with httpx.AsyncClient(base_url=url, timeout=30.0, limits=limits) as client:
            body = {"input": neutral_texts(1, seed=27)[0]}
            replies = await asyncio.gather(*(client.post(PATH, json=body) for _ in range(TOGETHER)))
            return [reply.status_code for reply in replies]

    with running_gateway(cache="memory", screen="off") as gateway:
        before = gateway.metric("weir_batch_items_sum")
        statuses = asyncio.run(ask(gateway.url))
        table.add(scenario, "answers of 200", statuses.count(200), least=TOGETHER)
        table.add(scenario, "inferences", gateway.metric("weir_batch_items_sum") - before, most=1)


def main() -> None:
    """Command line of the fault run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="everything in half the time")
    parser.add_argument("--only", nargs="*", default=[], help="redis, stop, worker, equal")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    unit_s = 2.5 if options.quick else 5.0
    table = Table()
    runs = {"redis": redis_dies, "stop": stopping, "worker": worker_killed, "equal": equal_requests}
    for name, run in runs.items():
        if not options.only or name in options.only:
            table.attempt(name, lambda run=run: run(table, unit_s))  # type: ignore[misc]
    table.write(options.json)


if __name__ == "__main__":
    main()
