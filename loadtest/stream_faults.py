"""Streams whose upstream fails in each of its ways, some of them with a harm before or after the fault.

Owns that every stream must end explicitly, leak nothing and leave nothing behind. Refuses to know how Weir does it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass

from loadtest import harms
from loadtest.stream_bench import Rig, long_texts
from loadtest.stream_client import Reply
from loadtest.upstream import FAULTS, Script

SCENARIO = "Streams with faults"
TIMEOUT_S = 75.0  # for any of them; a silent upstream is given 60 s
AT_ONCE = 24
SETTLE_S = 20.0  # for connections that are kept to be used again
LEAVING = 10


@dataclass(frozen=True, slots=True)
class Case:
    """One stream: where its harm begins, if it has one."""

    script: Script
    harm_at: int | None


async def faults(rig: Rig) -> None:
    """Every fault equally often, at a random place, at full speed or at a pace; then readers that go away."""
    cases = _cases(3 * len(FAULTS) if rig.quick else 200, seed=31)
    await asyncio.gather(*(rig.through(Script(text, pack=4)) for text in long_texts(AT_ONCE, 300, seed=32)))
    await _settle(rig, None)
    before = rig.gateway.open_files()
    threads = rig.gateway.threads()
    room = asyncio.Semaphore(AT_ONCE)
    ended: Counter[str] = Counter()
    wrong: list[str] = []

    async def one(case: Case) -> None:
        # A stall takes a minute of waiting and no work, so that it takes no room.
        if case.script.fault == "stall":
            await _judge(rig, case, ended, wrong)
            return
        async with room:
            await _judge(rig, case, ended, wrong)

    await asyncio.gather(*(one(case) for case in cases))
    rig.table.add(SCENARIO, "streams", len(cases), note=", ".join(f"{n} {end}" for end, n in sorted(ended.items())))
    for name in ("silent", "late", "leaked", "claimed to be whole"):
        told = Counter(entry.partition(": ")[2] for entry in wrong if entry.startswith(name))
        note = ", ".join(f"{n} {fault}" for fault, n in sorted(told.items()))
        rig.table.add(SCENARIO, name, told.total(), most=0, note=note)
    await _leave(rig)
    await _settle(rig, before)
    rig.table.add(SCENARIO, "streams in flight afterwards", rig.gateway.metric("weir_streams_in_flight"), most=0)
    rig.table.add(SCENARIO, "file descriptors more than before", rig.gateway.open_files() - before, most=0)
    rig.table.add(SCENARIO, "threads more than before", rig.gateway.threads() - threads, most=0)


async def _judge(rig: Rig, case: Case, ended: Counter[str], wrong: list[str]) -> None:
    """One stream, and what is wrong with it."""
    fault = case.script.fault
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reply, _ = await rig.through(case.script)
    except TimeoutError:
        wrong.append(f"late: {fault}")
        return
    ended[f"{reply.end} {reply.finish}" if reply.end == "done" else reply.end] += 1
    if reply.end == "silent":
        wrong.append(f"silent: {fault}")
    if not case.script.text.startswith(reply.text) or len(reply.text) > _harmless(case):
        wrong.append(f"leaked: {fault}")
    if _is_whole(reply) and (fault != "gzip" or case.harm_at is not None):
        wrong.append(f"claimed to be whole: {fault}")


def _harmless(case: Case) -> int:
    return len(case.script.text) if case.harm_at is None else case.harm_at


def _is_whole(reply: Reply) -> bool:
    return reply.end == "done" and reply.finish == "stop"


async def _leave(rig: Rig) -> None:
    """Readers that go away in the middle: the upstream's connection must be closed at once."""
    scripts = [Script(text, rate=50) for text in long_texts(LEAVING, 2000, seed=33)]

    async def one(script: Script) -> float:
        name = rig.name(script)
        reply = await rig.asked(name, leave_after=1)
        for _ in range(500):
            if rig.upstream.sent[name][0].left_early:
                break
            await asyncio.sleep(0.01)
        return time.perf_counter() - reply.ended

    took = await asyncio.gather(*map(one, scripts))
    rig.table.add(SCENARIO, f"{LEAVING} readers left: upstream closed after, most", max(took), "s", most=1)


async def _settle(rig: Rig, most_files: int | None) -> None:
    """Wait until nothing is in flight and no more files than that are open, or the time is up."""
    until = time.perf_counter() + SETTLE_S
    while time.perf_counter() < until:
        await asyncio.sleep(0.5)
        idle = await asyncio.to_thread(rig.gateway.metric, "weir_streams_in_flight") == 0
        if idle and (most_files is None or rig.gateway.open_files() <= most_files):
            return


def _cases(count: int, seed: int) -> list[Case]:
    """Half of them with a phrase of the lexicon at a random place, so before or after the fault."""
    rng = random.Random(seed)
    phrases = harms.from_lexicon(20, seed)
    cases = []
    for n, text in enumerate(long_texts(count, 900, seed)):
        before = ". ".join((parts := text.split(". "))[: rng.randrange(1, len(parts))]) + ". "
        harm_at = len(before) if n // len(FAULTS) % 2 else None
        whole = text if harm_at is None else f"{before}{rng.choice(phrases)} {text[harm_at:]}"
        rate = rng.choice((0.0, 100.0))
        script = Script(whole, rate=rate, pack=rng.choice((1, 4)), fault=FAULTS[n % len(FAULTS)], at=rng.random())
        cases.append(Case(script, harm_at))
    return cases
