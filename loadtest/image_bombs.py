"""`make bench-bombs`: images made to hurt whoever opens them: what each costs a service whose image process is warm.

Owns that run: for every file the growth of the process tree's memory, at its peak, and its processor time. Time is that
of the processor: the wall clock of a shared machine says little.

    python -m loadtest.image_bombs [--json FILE]
"""

from __future__ import annotations

import argparse
import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtest.gateway import Gateway, running_gateway
from loadtest.table import Table
from tests.images.pictures import bombs, card

WARM = 12  # images with writing, before, of the sizes that posts have
SIZES = ((512, 512), (1080, 1080), (1080, 1920))
LOOK_S = 0.005
MOST_GROWTH_MB, MOST_CPU_S = 100, 1.0


@dataclass(slots=True)
class Peak:
    """The most resident memory seen, in MiB."""

    mb: float = 0.0


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    table = Table()
    table.attempt("bombs", lambda: measure(table))
    table.write(options.json)


def measure(table: Table) -> None:
    """One file after the other."""
    with running_gateway(cache="off", request_budget_s="60", max_wait_s="30") as gateway:
        for n in range(WARM):
            post(gateway, card(f"good morning {n}\nhave a lovely day", SIZES[n % len(SIZES)]))
        base = gateway.resident_mb()
        table.add("warm", "resident memory, the image process included", base, "MiB")
        for name, data in bombs(full=True).items():
            before, used = gateway.resident_mb(), gateway.cpu_s()
            with watched(gateway) as peak:
                reply = post(gateway, data)
            came = reply.json()["error"]["code"] if reply.status_code >= 400 else reply.json()["action"]
            scenario = f"{name} ({len(data):,} bytes): {reply.status_code} {came}"
            table.add(scenario, "growth at the peak", peak.mb - before, "MiB", most=MOST_GROWTH_MB)
            table.add(scenario, "processor time", gateway.cpu_s() - used, "s", most=MOST_CPU_S)
        table.add("after", "growth over all", gateway.resident_mb() - base, "MiB", most=MOST_GROWTH_MB)
        table.add("after", "starts of the image process", gateway.metric("weir_image_starts_total"), most=1)
        table.add("after", "answers to a harmless image", post(gateway, card("hello")).status_code, least=200)


def post(gateway: Gateway, image: bytes) -> httpx.Response:
    """One image, judged."""
    body = {"images": [{"data": base64.b64encode(image).decode()}]}
    return httpx.post(f"{gateway.url}/v1/moderate", json=body, timeout=120)


@contextmanager
def watched(gateway: Gateway) -> Iterator[Peak]:
    """The peak of the tree's memory while something happens."""
    peak, done = Peak(gateway.resident_mb()), threading.Event()

    def look() -> None:
        while not done.wait(LOOK_S):
            peak.mb = max(peak.mb, gateway.resident_mb())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    main()
