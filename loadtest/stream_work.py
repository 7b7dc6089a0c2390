"""That judging a reply while it grows costs little more than judging it whole, and that its promises hold at length.

Owns these figures. Refuses to know how segments are cut. Costs are Weir's CPU, of the same machine in the same run.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Sequence

import httpx

from loadtest.stream_bench import Rig, check_whole, long_texts
from loadtest.stream_client import PROMPT
from loadtest.table import Table
from loadtest.upstream import Script
from service.segments import next_segment

CHARS = 10_000
PACK = 32  # tokens an event: what is to be measured is the judging, not the relaying
PROFILES = {False: ("thorough", 10_000), True: ("weir", 300)}  # of the tests, by whether the run is quick


async def linear_work(rig: Rig) -> None:
    """CPU of a 10,000-character reply as a stream, and of the same number of characters as one text."""
    scenario = "Work for a reply of 10,000 characters"
    count = 3 if rig.quick else 10
    texts = long_texts(count, CHARS, seed=41)
    streamed = await _cost_streamed(rig, texts)
    whole = await _cost_whole(rig, long_texts(count, CHARS, seed=42))
    judged = sum(map(_judged_chars, texts)) / sum(map(len, texts))
    rig.table.add(scenario, "characters judged for each one, by the cuts", judged)
    rig.table.add(scenario, "CPU as a stream", 1000 * streamed, "ms")
    rig.table.add(scenario, "CPU as one text", 1000 * whole, "ms")
    rig.table.add(scenario, "as a stream over as one text", streamed / whole, most=1.5)
    unbroken = [re.sub(r"[.] ", ", ", text) for text in long_texts(count, CHARS, seed=43)]
    wide = await _cost_streamed(rig, unbroken)
    rig.table.add(scenario, "the same, without ends of sentences", wide / whole)


def _judged_chars(text: str) -> int:
    """Of all segments with their overlaps."""
    start = judged = 0
    apart = True
    while (segment := next_segment(text, start, closed=True, apart=apart)) is not None:
        judged += segment.end - segment.judged_from
        start, apart = segment.end, segment.whole
    return judged


async def _cost_streamed(rig: Rig, texts: Sequence[str]) -> float:
    """CPU seconds of one stream, one after the other."""

    async def all_of_them() -> None:
        for text in texts:
            script = Script(text, pack=PACK)
            reply, _ = await rig.through(script)
            check_whole(script, reply)

    return await rig.cpu_of(all_of_them()) / len(texts)


async def _cost_whole(rig: Rig, texts: Sequence[str]) -> float:
    """CPU seconds of one text after the same prompt, one after the other."""

    async def all_of_them() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            for text in texts:
                before = [{"role": "user", "content": PROMPT}]
                body = {"input": text, "role": "assistant", "context": before}
                (await client.post(f"{rig.gateway.url}/v1/moderate", json=body)).raise_for_status()

    return await rig.cpu_of(all_of_them()) / len(texts)


def properties(table: Table, *, quick: bool) -> None:
    """The property tests of growing texts, with many more cases than in the test suite."""
    profile, cases = PROFILES[quick]
    begun = time.perf_counter()
    code, told = asyncio.run(_pytest(profile))
    took = f"{time.perf_counter() - begun:.0f} s; {told}"
    table.add("Properties of growing texts", f"properties held for {cases:,} cases each", code == 0, least=1, note=took)


async def _pytest(profile: str) -> tuple[int, str]:
    """Exit status and last line."""
    chosen = ["tests/test_streaming.py", "-k", "chunking or without_a_verdict", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *chosen, f"--hypothesis-profile={profile}"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().strip().splitlines()[-1].strip("= ")
