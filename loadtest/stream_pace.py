"""How fast streams are through Weir: the time to first text, tokens a second, many at once, and what they cost.

Owns these figures and their aims. Refuses to know harm and faults. An event of the upstream holds one token, or `pack`.
"""

from __future__ import annotations

import itertools
from statistics import median

from loadtest.stream_bench import Rig, long_texts
from loadtest.upstream import Script
from service.segments import next_end

TOKENS_A_SECOND = 50.0


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


def _events_of_first_segment(script: Script) -> int:
    """Events after the first one until the first segment's end can be known."""
    lengths = itertools.accumulate(map(len, script.events()))
    for n, length in enumerate(lengths):
        if next_end(script.text[:length], 0, closed=False) is not None:
            return n
    return len(script.events()) - 1
