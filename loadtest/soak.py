"""`make soak`: does anything grow? Half of what can be judged, for minutes; memory, files and threads before and after.

Owns that run. Growth counts from a quarter of the time on, when caches and pools have their size.

    python -m loadtest.soak [--minutes N] [--json FILE]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from loadtest.client import Running, Stream
from loadtest.closed_loops import CONNECTIONS, PATH, bodies_of
from loadtest.gateway import running_gateway
from loadtest.table import Table
from loadtest.texts import neutral_texts
from loadtest.wrk import closed_loop

TEXTS = 20_000
LOOK_S = 5.0


def main() -> None:
    """Command line of the soak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    table = Table()
    table.attempt("soak", lambda: soak(table, options.minutes * 60))
    table.write(options.json)


def soak(table: Table, seconds: float) -> None:
    """Unique texts and repeated ones, with the cache on, as in service."""
    bodies = bodies_of(neutral_texts(TEXTS, seed=11))
    scenario = f"Soak, {seconds / 60:.1f} minutes at half of capacity"
    with running_gateway() as gateway:
        rate = closed_loop(gateway, PATH, bodies[-2000:], 3.0, CONNECTIONS).rate / 2
        running = Running(gateway.url, [Stream("soak", bodies, rate=rate)], seconds)
        begun = time.perf_counter()
        looks: list[tuple[float, float, int, int]] = []
        while (at := time.perf_counter() - begun) < seconds:
            looks.append((at, gateway.resident_mb(), gateway.open_files(), gateway.threads()))
            time.sleep(min(LOOK_S, seconds / 20))
        (seen,) = running.result()
        left = gateway.open_files()
    warm = [look for look in looks if look[0] >= seconds / 4]
    # The mean of the first and of the last looks: an allocator breathes.
    few = max(1, len(warm) // 5)
    before, after = (sum(look[1] for look in part) / few for part in (warm[:few], warm[-few:]))
    table.add(scenario, "requests", seen.sent, note=f"{rate:.0f} a second")
    table.add(scenario, "answers that were no 200", seen.refused + seen.other + seen.lost, most=0)
    table.add(scenario, "p99", seen.p99_ms, "ms")
    table.add(scenario, "resident memory, warm", before, "MiB")
    table.add(scenario, "growth of resident memory", 100 * (after / before - 1), "%", most=3)
    table.add(scenario, "open files at the most", max(look[2] for look in looks))
    table.add(scenario, "open files left, less those at first", left - looks[0][2], most=4)
    table.add(scenario, "growth of threads", warm[-1][3] - warm[0][3], most=0)


if __name__ == "__main__":
    main()
