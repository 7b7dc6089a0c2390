"""How fast streams are through Weir: the time to first text, tokens a second, many at once, and what they cost.

Owns these figures and their aims. Refuses to know harm and faults. An event of the upstream holds one token, or `pack`.
"""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_right
from collections.abc import Iterator
from statistics import median

from loadtest.stream_bench import Rig, check_whole, long_texts, quantile
from loadtest.stream_client import Reply
from loadtest.upstream import Script, Sent
from service.segments import next_segment

TOKENS_A_SECOND = 50.0
CHARS_A_TOKEN = 3.6  # of the upstream's tokens, in innocent texts


async def first_text(rig: Rig) -> None:
    """Time to first text, over the same upstream without Weir; each text is new to Weir."""
    scenario = "Time to first text (50 tokens a second)"
    added, writing, rest = [], [], []
    for text in long_texts(8 if rig.quick else 30, 320, seed=11):
        script = Script(text, rate=TOKENS_A_SECOND)
        direct = await rig.direct(script)
        reply, _ = await rig.through(script)
        assert direct.first_text_s is not None
        if reply.first_text_s is None:
            raise RuntimeError(f"an innocent reply was not released ({reply.end}, {reply.finish})")
        written = _events_of_first_segment(script) / TOKENS_A_SECOND
        added.append(reply.first_text_s - direct.first_text_s)
        writing.append(written)
        rest.append(added[-1] - written)
    rig.table.add(scenario, "added, median", 1000 * median(added), "ms")
    rig.table.add(scenario, "of it the first segment's writing, median", 1000 * median(writing), "ms")
    rig.table.add(scenario, "beyond one segment's writing time, median", 1000 * median(rest), "ms", most=30)
    rig.table.add(scenario, "beyond one segment's writing time, worst", 1000 * max(rest), "ms")


async def pace(rig: Rig) -> None:
    """Tokens a second of one stream, from the request to its end, over the same stream without Weir."""
    scenario = "Pace of one stream of 50 tokens a second"
    shares = []
    for text in long_texts(1 if rig.quick else 3, 1600, seed=12):
        script = Script(text, rate=TOKENS_A_SECOND)
        direct, (reply, _) = await rig.direct(script), await rig.through(script)
        check_whole(script, direct)
        check_whole(script, reply)
        shares.append((direct.ended - direct.begun) / (reply.ended - reply.begun))
        rig.table.add(scenario, "tokens a second direct", len(script.events()) / (direct.ended - direct.begun))
        rig.table.add(scenario, "tokens a second through Weir", len(script.events()) / (reply.ended - reply.begun))
    rig.table.add(scenario, "through Weir over direct, median", median(shares), least=0.98)


async def many(rig: Rig) -> None:
    """25 streams of one-token events at once, and 100 whose upstream packs 8 tokens an event."""
    await _at_once(rig, streams=25, pack=1)
    await _at_once(rig, streams=100, pack=8)


async def _at_once(rig: Rig, *, streams: int, pack: int) -> None:
    """Every stream goes at 50 tokens a second; falling behind shows as a pace that drops and a lag that grows."""
    scenario = f"{streams} streams of 50 tokens a second, {pack} an event"
    rate = TOKENS_A_SECOND / pack
    seconds = 5 if rig.quick else 20
    texts = long_texts(streams, round(seconds * TOKENS_A_SECOND * CHARS_A_TOKEN), seed=13 + pack)
    scripts = [Script(text, rate=rate, pack=pack) for text in texts]
    replies: list[tuple[Script, Reply, Sent]] = []

    async def one(n: int) -> None:
        await asyncio.sleep(n / streams)  # nobody starts all of them at the same instant
        reply, sent = await rig.through(scripts[n])
        check_whole(scripts[n], reply)
        assert sent is not None
        replies.append((scripts[n], reply, sent))

    cpu = await rig.cpu_of(asyncio.gather(*(one(n) for n in range(streams))))
    tokens = pack * sum(len(sent.times) for _, _, sent in replies)
    written = [(len(sent.times) - 1) / (sent.times[-1] - sent.times[0]) / rate for _, _, sent in replies]
    lags = [lag for _, lag in sorted(itertools.chain.from_iterable(_lags(*found) for found in replies))]
    growth = median(lags[-len(lags) // 3 :]) - median(lags[: len(lags) // 3])
    rig.table.add(scenario, "pace of the slowest, over what it should be", min(written), least=0.98)
    rig.table.add(scenario, "lag of released text, median", 1000 * median(lags), "ms")
    rig.table.add(scenario, "lag of released text, p99", 1000 * quantile(lags, 0.99), "ms")
    rig.table.add(scenario, "growth of that lag, last third over the first", 1000 * growth, "ms", most=100)
    ends = [reply.ended - sent.times[-1] for _, reply, sent in replies]
    rig.table.add(scenario, "end after the upstream's, p99", 1000 * quantile(ends, 0.99), "ms", most=500)
    rig.table.add(scenario, "Weir's CPU per 1,000 tokens", 1000 * cpu / tokens, "s")
    took = max(reply.ended for _, reply, _ in replies) - min(reply.begun for _, reply, _ in replies)
    rig.table.add(scenario, "Weir's CPU, of one core", cpu / took)


def _lags(script: Script, reply: Reply, sent: Sent) -> Iterator[tuple[float, float]]:
    """(time, lag) of every release: seconds since the event that made its end known."""
    reached = list(itertools.accumulate(map(len, script.events())))
    for at, chars in reply.arrivals:
        yield at, at - sent.times[min(bisect_right(reached, chars), len(sent.times) - 1)]


def _events_of_first_segment(script: Script) -> int:
    """Events after the first one until the first segment's end can be known."""
    lengths = itertools.accumulate(map(len, script.events()))
    for n, length in enumerate(lengths):
        if next_segment(script.text[:length], 0, closed=False) is not None:
            return n
    return len(script.events()) - 1
