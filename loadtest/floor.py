"""The floor of an open loop: what waiting alone makes of a latency on this machine, without the service.

Owns that measurement: the ceiling's session behind a queue and two threads, texts that come as a Poisson process at
half of what they can do. Two servers of one fixed time each give a p99 of 2.57 service times there (M/D/2); texts of
unlike lengths and a shared machine add to it. Started as a process of its own; prints JSON.

    python -m loadtest.floor FILE SECONDS   (FILE: a JSON list of texts)
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.ceiling import Alone
from loadtest.client import quantile

WORKERS = 2


@dataclass(frozen=True, slots=True)
class Floor:
    """Median of one text at a time, and p99 of the open loop; milliseconds."""

    alone_p50_ms: float
    half_p99_ms: float


def floor(texts: Sequence[str], seconds: float) -> Floor:
    """Both figures, in a process of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(list(texts), file)
        file.flush()
        command = [sys.executable, "-m", "loadtest.floor", file.name, str(seconds)]
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
        output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return Floor(*json.loads(output))


def one_at_a_time(alone: Alone, texts: Sequence[str], seconds: float) -> list[float]:
    """Milliseconds of each text."""
    taken: list[float] = []
    ends = time.perf_counter() + seconds
    for text in itertools.cycle(texts):
        begun = time.perf_counter()
        if begun > ends:
            break
        alone.score([text])
        taken.append((time.perf_counter() - begun) * 1e3)
    return taken


def arriving(alone: Alone, texts: Sequence[str], seconds: float, rate: float) -> list[float]:
    """Milliseconds from when each text was due."""
    line: queue.SimpleQueue[tuple[str, float] | None] = queue.SimpleQueue()
    taken: list[float] = []

    def serve() -> None:
        while (arrived := line.get()) is not None:
            alone.score([arrived[0]])
            taken.append((time.perf_counter() - arrived[1]) * 1e3)

    threads = [threading.Thread(target=serve) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    gaps = random.Random(1)
    due = time.perf_counter()
    ends = due + seconds
    for text in itertools.cycle(texts):
        due += gaps.expovariate(rate)
        if due > ends:
            break
        time.sleep(max(0.0, due - time.perf_counter()))
        line.put((text, due))
    for _ in threads:
        line.put(None)
    for thread in threads:
        thread.join()
    return taken


def main() -> None:
    """Measure and print."""
    texts, seconds = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), float(sys.argv[2])
    alone = Alone()
    one_at_a_time(alone, texts, 0.5)
    single = one_at_a_time(alone, texts, seconds / 4)
    rate = WORKERS / 2 / (sum(single) / len(single) / 1e3)
    print(json.dumps([quantile(single, 0.5), quantile(arriving(alone, texts, seconds * 3 / 4, rate), 0.99)]))


if __name__ == "__main__":
    main()
