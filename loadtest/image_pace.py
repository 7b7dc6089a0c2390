"""How long texts wait while three images are always being looked at.

Owns that comparison, on one running service: without images, with them, and without again. Refuses to judge texts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import httpx
import numpy as np

from loadtest.image_cards import captioned
from loadtest.image_judge import Judge
from loadtest.table import Table
from loadtest.texts import neutral_texts

TEXTS = 200  # of each part
AT_ONCE = 3
MOST_RATIO = 1.5


def beside(table: Table, url: str, photos: Sequence[bytes]) -> None:
    """The p99 of texts at a quarter of one caller's pace, alone and beside images."""
    pace = 4 * float(np.median(_times(url, 40, 0.0, seed=1)))
    alone = _times(url, TEXTS, pace, seed=2)
    done = threading.Event()
    callers = [threading.Thread(target=_look, args=(url, photos, n, done)) for n in range(AT_ONCE)]
    for caller in callers:
        caller.start()
    try:
        busy = _times(url, TEXTS, pace, seed=3)
    finally:
        done.set()
        for caller in callers:
            caller.join()
    alone += _times(url, TEXTS, pace, seed=4)
    p99, p99_busy = (float(np.quantile(times, 0.99)) for times in (alone, busy))
    table.add("texts beside images", "p99 alone", p99 * 1e3, "ms")
    table.add("texts beside images", "p99 with three images at once", p99_busy * 1e3, "ms")
    table.add("texts beside images", "ratio", p99_busy / p99, most=MOST_RATIO)


def _times(url: str, count: int, pace_s: float, seed: int) -> list[float]:
    """Seconds of each of `count` texts, one begun every `pace_s`."""
    took: list[float] = []
    with httpx.Client(timeout=60.0) as client:
        due = time.perf_counter()
        for text in neutral_texts(count, seed):
            time.sleep(max(0.0, due - time.perf_counter()))
            begun = time.perf_counter()
            client.post(f"{url}/v1/moderate", json={"input": text}).raise_for_status()
            took.append(time.perf_counter() - begun)
            due += pace_s
    return took


def _look(url: str, photos: Sequence[bytes], which: int, done: threading.Event) -> None:
    """Images one after the other, none twice, until told to stop."""
    judge, n = Judge(url), which
    while not done.is_set():
        judge.caught(image=captioned(photos[n % len(photos)], f"picture {n} of a long day in the garden"))
        n += AT_ONCE
