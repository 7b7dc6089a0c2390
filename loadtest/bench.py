"""`make bench`: the gateway beside its own ceiling, a bare echo and its peers, in one run.

Owns the order of the scenarios. Refuses to judge: it prints figures and the aims beside them. On loopback only. A full
run takes under ten minutes, `--quick` about two.

    python -m loadtest.bench [--quick] [--only NAME ...] [--data FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from loadtest.alone import one_caller
from loadtest.closed_loops import FULL, QUICK, cached, throughput
from loadtest.mix import mixed
from loadtest.open_loops import long_texts, overload
from loadtest.peers import peers
from loadtest.table import Table


def main() -> None:
    """Command line of the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="short runs, whose figures say less")
    parser.add_argument("--only", nargs="*", default=[], help="alone, throughput, cached, peers, overload, long, mix")
    parser.add_argument("--data", type=Path, help="folder of labelled rows, for the traffic mix of the screen")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    length = QUICK if options.quick else FULL
    table, begun = Table(), time.perf_counter()
    scenarios: dict[str, Callable[[], object]] = {
        "alone": lambda: one_caller(table, 100 if options.quick else 300),
        "throughput": lambda: throughput(table, length),
        "cached": lambda: cached(table, length),
        "peers": lambda: peers(table, length),
        "overload": lambda: overload(table, length),
        "long": lambda: long_texts(table, length),
        "mix": lambda: mixed(table, length, options.data),
    }
    unknown = set(options.only) - set(scenarios)
    if unknown:
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}")
    for name, scenario in scenarios.items():
        if not options.only or name in options.only:
            table.attempt(name, scenario)
    table.skip("Keyword only", "no setting leaves the model out")
    print(f"\n{time.perf_counter() - begun:.0f} s")
    table.write(options.json)


if __name__ == "__main__":
    main()
