"""The traffic that a screen is for: ordinary talk, innocent rows in which something sounds grave, and harmful rows.

Owns the mixture, its rates with and without the screen, what the screen settles of each source, and what it costs in
average precision. Rows are read from a folder of labelled sets (JSON lines, gzipped) and never kept.
"""

from __future__ import annotations

import gzip
import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from loadtest.closed_loops import CONNECTIONS, PATH, Length, bodies_of
from loadtest.gateway import Gateway, running_gateway
from loadtest.table import Table
from loadtest.wrk import closed_loop

SOURCES = {  # kind -> (share of the traffic, sets, whether its rows are harmful)
    "ordinary": (0.7, ("benign-clinc150", "benign-goemotions", "benign-banking77", "reddit-empathy"), False),
    "alarming": (0.2, ("benign-oktest",), False),
    "harmful": (0.1, ("jigsaw-toxic-5k", "convabuse", "harmbench", "davidson-tweets"), True),
}
MOST_CHARS = 2_000
LOOKED_AT = 200  # rows of each source whose replies are read one by one


@dataclass(frozen=True, slots=True)
class Rows:
    """Texts of one kind."""

    kind: str
    share: float
    harmful: bool
    texts: list[str]


def read_rows(folder: Path, most: int) -> list[Rows]:
    """At most `most` different texts of each kind, test rows where a set has splits."""
    found = []
    for kind, (share, names, harmful) in SOURCES.items():
        texts: dict[str, None] = {}
        for name in names:
            path = folder / f"{name}.jsonl.gz"
            if path.exists():
                with gzip.open(path, "rt", encoding="utf-8") as lines:
                    rows = [json.loads(line) for line in lines]
                texts |= dict.fromkeys(row["text"] for row in rows if _fits(row, harmful=harmful))
        if not texts:
            raise RuntimeError(f"the folder holds none of {', '.join(names)}")
        found.append(Rows(kind, share, harmful, random.Random(2).sample(list(texts), min(most, len(texts)))))
    return found


def _fits(row: dict[str, Any], *, harmful: bool) -> bool:
    if row.get("split", "test") != "test" or not row["text"].strip() or len(row["text"]) > MOST_CHARS:
        return False
    return any(label >= 0.5 for label in row["labels"].values()) is harmful


def mixed(table: Table, length: Length, folder: Path | None) -> None:
    """Rates, shares settled and average precision, with the screen and without it."""
    scenario = "Traffic mix, cache off: 70 % ordinary, 20 % alarming but innocent, 10 % harmful"
    if folder is None:
        table.skip(scenario, "needs --data, a folder of labelled rows")
        return
    rows = read_rows(folder, length.texts)
    draw = random.Random(3)
    kinds = draw.choices(rows, [one.share for one in rows], k=length.texts)
    bodies = bodies_of([draw.choice(one.texts) for one in kinds])
    rates: dict[str, list[float]] = {"on": [], "off": []}
    seen: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with running_gateway(cache="off", screen="off") as off, running_gateway(cache="off", screen="on") as on:
        for gateway in (off, on):
            closed_loop(gateway, PATH, bodies[:300], 1.0, CONNECTIONS)
        for _ in range(length.turns):
            for name, gateway in (("off", off), ("on", on)):
                rates[name].append(closed_loop(gateway, PATH, bodies, length.turn_s, CONNECTIONS).rate)
        for name, gateway in (("off", off), ("on", on)):
            seen[name] = {one.kind: _replies(gateway, one.texts[:LOOKED_AT]) for one in rows}
    settled = {kind: sum("semantic" not in r["timings_ms"] for r in replies) for kind, replies in seen["on"].items()}
    if not any(settled.values()):
        table.skip(scenario, "no text was settled without the classifier: this build has no screen in use")
        return
    gain = statistics.median(on / off for on, off in zip(rates["on"], rates["off"], strict=True))
    table.add(scenario, "without the screen", statistics.median(rates["off"]), "texts/s")
    table.add(scenario, "with the screen", statistics.median(rates["on"]), "texts/s")
    table.add(scenario, "with / without", gain, least=2.5, note="aim 5")
    for one in rows:
        table.add(
            scenario, f"settled by the screen: {one.kind}", 100 * settled[one.kind] / len(seen["on"][one.kind]), "%"
        )
    precision = {name: _average_precision(rows, replies) for name, replies in seen.items()}
    lost = 100 * (precision["off"] - precision["on"])
    table.add(scenario, "any-harm average precision, full", precision["off"])
    table.add(scenario, "lost with the screen", lost, "points", most=0.5, note=f"{LOOKED_AT} rows of each kind")


def _replies(gateway: Gateway, texts: Sequence[str]) -> list[dict[str, Any]]:
    with httpx.Client(base_url=gateway.url, timeout=60.0) as client:
        return [client.post(PATH, json={"input": text}).raise_for_status().json() for text in texts]


def _average_precision(rows: Sequence[Rows], replies: dict[str, list[dict[str, Any]]]) -> float:
    """Of the highest score as a detector of any harm; ties are counted as one step."""
    pairs = [
        (max(entry["score"] for entry in reply["categories"].values()), one.harmful)
        for one in rows
        for reply in replies[one.kind]
    ]
    scores, truth = np.array([score for score, _ in pairs]), np.array([harmful for _, harmful in pairs], dtype=float)
    order = np.argsort(-scores, kind="stable")
    scores, truth = scores[order], truth[order]
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    found = np.cumsum(truth)[ends]
    precision, recall = found / (ends + 1), found / truth.sum()
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))
