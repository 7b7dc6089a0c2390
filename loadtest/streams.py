"""`make bench-streams`: replies of an LLM through the gateway: how late, at what cost, and what of a harm comes out.

Owns the order of the scenarios. Refuses to judge: it prints figures and the aims beside them. On loopback only, with
the shipped model.

    python -m loadtest.streams [--quick] [--only NAME ...] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from functools import partial
from pathlib import Path

from loadtest.stream_bench import Scenario, running_rig
from loadtest.stream_faults import faults
from loadtest.stream_harm import released_harm
from loadtest.stream_pace import first_text, many, pace
from loadtest.stream_work import linear_work, properties
from loadtest.table import Table

SCENARIOS: dict[str, Scenario] = {
    "first": first_text,
    "pace": pace,
    "many": many,
    "harm": released_harm,
    "work": linear_work,
    "faults": faults,
}
NAMES = (*SCENARIOS, "properties")


def main() -> None:
    """Command line of the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="short runs, whose figures say less")
    parser.add_argument("--only", nargs="*", default=[], help=", ".join(NAMES))
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    unknown = set(options.only) - set(NAMES)
    if unknown:
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}")
    table, begun = Table(), time.perf_counter()
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} before the start")
    for name, scenario in SCENARIOS.items():
        if not options.only or name in options.only:
            table.attempt(name, partial(_measure, table, scenario, options.quick))
    if not options.only or "properties" in options.only:
        table.attempt("properties", partial(properties, table, quick=options.quick))
    print(f"\n{time.perf_counter() - begun:.0f} s")
    table.write(options.json)


def _measure(table: Table, scenario: Scenario, quick: bool) -> None:
    """One scenario against a Weir of its own."""

    async def with_a_rig() -> None:
        async with running_rig(table, quick=quick) as rig:
            await scenario(rig)

    asyncio.run(with_a_rig())


if __name__ == "__main__":
    main()
