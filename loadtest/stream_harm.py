"""What comes out of a reply that turns harmful at a random place, and how much of every reply is held meanwhile.

Owns these figures and their aims. Refuses to judge: a sentence is a harm where the gateway blocks it by itself.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from loadtest import harms
from loadtest.stream_bench import Rig, long_texts, quantile
from loadtest.stream_client import Reply
from loadtest.upstream import Script, Sent
from service.segments import MOST_CHARS

RATE = 100.0  # events a second
AT_ONCE = 3
HELD = (10, 20, 40, 80, 120, 160, 200, 240, 280, 320, 400)  # the metric's buckets


@dataclass(frozen=True, slots=True)
class Turned:
    """A reply that turned harmful at `start`, with what came of it."""

    script: Script
    start: int
    reply: Reply
    sent: Sent

    @property
    def released(self) -> int:
        """Characters that came out from where the harmful sentence begins."""
        return max(0, len(self.reply.text) - self.start)


async def released_harm(rig: Rig) -> None:
    """Phrases of the lexicon first, then sentences that only the classifier sees as harmful."""
    count = 12 if rig.quick else 60
    found = await _turn(rig, [*harms.from_lexicon(count, seed=21)], seed=22)
    scenario = "Released after a lexicon phrase's sentence begins"
    rig.table.add(scenario, "characters, most", max(turned.released for turned in found), most=0, note=_count(found))
    _add_late(rig, scenario, found)
    blocked = [text for text in harms.from_frames(6 * count, seed=23) if await rig.action(text) == "block"][:count]
    found = await _turn(rig, blocked, seed=24)
    released = [turned.released for turned in found]
    scenario = "Released after a sentence that the classifier blocks begins"
    rig.table.add(scenario, "characters, median", median(released), most=0, note=_count(found))
    rig.table.add(scenario, "characters, p90", quantile(released, 0.9))
    rig.table.add(scenario, "characters, most", max(released), most=MOST_CHARS)
    missed = sum(turned.reply.finish != "content_filter" for turned in found)
    rig.table.add(scenario, "replies that were not stopped at all", missed, most=0)
    _add_late(rig, scenario, found)
    _add_held(rig)


async def _turn(rig: Rig, sentences: Sequence[str], seed: int) -> list[Turned]:
    """A long reply for each sentence, which turns to it at a random place."""
    rng = random.Random(seed)
    room = asyncio.Semaphore(AT_ONCE)

    async def one(text: str, sentence: str) -> Turned:
        before = ". ".join((parts := text.split(". "))[: rng.randrange(1, len(parts))]) + ". "
        script = Script(f"{before}{sentence} {text[len(before) :]}", rate=RATE)
        async with room:
            reply, sent = await rig.through(script)
        if sent is None or reply.end != "done":
            raise RuntimeError(f"a reply ended with {reply.end}")
        return Turned(script, len(before), reply, sent)

    texts = long_texts(len(sentences), 1500, seed)
    return await asyncio.gather(*(one(*pair) for pair in zip(texts, sentences, strict=True)))


def _add_late(rig: Rig, scenario: str, found: Sequence[Turned]) -> None:
    late = [chars for turned in found for chars in _late(turned)]
    rig.table.add(scenario, "characters written and not out yet, p50", quantile(late, 0.5))
    rig.table.add(scenario, "characters written and not out yet, p99", quantile(late, 0.99))


def _add_held(rig: Rig) -> None:
    """What Weir itself says that its channels held when something was released; of both kinds of reply."""
    series = "weir_stream_held_characters"
    count = rig.gateway.metric(f"{series}_count")
    shares = {most: rig.gateway.metric(f"{series}_bucket", le=f"{most}.0") / count for most in HELD}
    for share in (0.5, 0.99):
        bound = next((most for most in HELD if shares[most] >= share), math.inf)
        rig.table.add("Held characters, by Weir's own metric", f"p{share * 100:.0f}, at most", bound)
    rig.table.add("Held characters, by Weir's own metric", "share of releases of 320 or fewer", shares[320], least=1)


def _late(turned: Turned) -> Iterator[int]:
    """Characters written and not yet come out, at each event of the upstream."""
    times = [at for at, _ in turned.reply.arrivals]
    out = [0, *(chars for _, chars in turned.reply.arrivals)]
    written = itertools.accumulate(map(len, turned.script.events()))
    for at, chars in zip(turned.sent.times, written, strict=False):
        yield chars - out[bisect_right(times, at)]


def _count(found: Sequence[Turned]) -> str:
    return f"{len(found)} replies"
