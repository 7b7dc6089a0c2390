"""`make bench-perspective`: how well each of Perspective's attributes tells apart what people labelled.

Owns the measurement: which set speaks of which attribute, and AUROC with its interval. Refuses to tune: compositions
stand in service/data/perspective.toml. Texts pass the whole pipeline of the service, in this process.

    python -m loadtest.perspective [--split dev|test] [--rows N]
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data import data_folder, load_recipe
from service.attributes import Attribute, gather, load_attributes
from service.config import Settings
from service.runtime import Runtime
from service.types import Content
from service.wiring import open_runtime

Row = Mapping[str, Any]
Truth = Callable[[Row], bool | None]  # None: this row says nothing of it
AT_ONCE = 4
ATTEMPTS = 5
RESAMPLES = 400
LEAST = 10  # positives and negatives of a set, below which an AUROC says nothing
AIMS = {"TOXICITY": 0.93, "IDENTITY_ATTACK": 0.85}
WIKIPEDIA = ("jigsaw-multilabel", "jigsaw-toxic-5k", "wiki-toxicity-testset")
UNSEEN = ("youtoxic", "toxigen-seeds", "fox-news", "unhealthy-comments", "ethos")  # no row of these was trained on


@dataclass(frozen=True)
class Measure:
    """An attribute, what is true of a row, and the sets that know. AUROC over the first `pooled` of them together."""

    attribute: str
    truth: Truth
    sets: tuple[str, ...]
    pooled: int = 0
    note: str = ""


def labelled(name: str, line: float = 0.5) -> Truth:
    """True from `line` of a label, unknown where the row has none."""
    return lambda row: None if name not in row["labels"] else bool(row["labels"][name] >= line)


def obscene(row: Row) -> bool:
    """In this set `sexual` is known, as 0, exactly where a comment was not labelled obscene."""
    return "sexual" not in row["labels"]


def several(row: Row) -> bool:
    """At least three of insult, obscenity, threat and identity hate; or a threat with another."""
    harms = [row["labels"].get(name, 0) >= 0.5 for name in ("harassment", "hate", "harassment/threatening")]
    count = sum(harms) + obscene(row)
    return bool(count >= 3 or (harms[2] and count >= 2))


def advert(row: Row) -> bool:
    """Unasked advertising (which leaves `illicit` open) or fraud, against ordinary messages."""
    return bool(row["labels"].get("illicit", 1.0) >= 0.5)


MEASURES = (
    Measure(
        "TOXICITY",
        labelled("toxic"),
        (*WIKIPEDIA, "wiki-context", "ruddit", "convabuse", "davidson-tweets", "olid", "gab-hate", "youtoxic"),
        pooled=3,
    ),
    Measure("SEVERE_TOXICITY", several, ("jigsaw-multilabel",), note="proxy: several of the other labels"),
    Measure("SEVERE_TOXICITY", labelled("toxic", 0.9), ("ruddit",), note="proxy: most offensive by comparison"),
    Measure(
        "IDENTITY_ATTACK",
        labelled("hate"),
        ("jigsaw-multilabel", "convabuse", "social-bias-frames", "gab-hate", "dynahate", "youtoxic", "ethos"),
        pooled=3,
    ),
    Measure("INSULT", labelled("harassment"), ("jigsaw-multilabel", "insults", "convabuse", "unhealthy-comments"), 3),
    Measure("PROFANITY", obscene, ("jigsaw-multilabel",)),
    Measure("THREAT", labelled("harassment/threatening"), ("jigsaw-multilabel", "youtoxic")),
    Measure("SEXUALLY_EXPLICIT", labelled("sexual"), ("convabuse", "social-bias-frames"), note="lewd reference"),
    Measure("SPAM", advert, ("smishing-sms",), note="text messages"),
)


def auroc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """The probability that a positive has the higher score; a tie counts half."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    positives = int(truth.sum())
    negatives = len(truth) - positives
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def interval(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[float, float]:
    """95 %, by resampling rows."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, len(truth), len(truth))
        if 0 < truth[drawn].sum() < len(truth):
            found.append(auroc(truth[drawn], scores[drawn]))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def rows_of(folder: Path, name: str, split: str, most: int) -> list[Row]:
    """At most `most` rows, the same ones every time; of a set that nothing was trained on, from all its splits."""
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    unseen = name in UNSEEN and split == "test"
    kept = [row for row in rows if (unseen and row["split"] != "dev") or row["split"] == split]
    return random.Random(1).sample(kept, min(most, len(kept)))


async def evidence_of(runtime: Runtime, rows: list[Row]) -> list[dict[str, float]]:
    """What the service sees in each row."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(row: Row) -> dict[str, float]:
        async with gate:
            for _ in range(ATTEMPTS):
                verdict = await runtime.judge(Content(row["text"], explain=False))
                if verdict.whole:  # on a busy machine a stage may run out of its time
                    return gather(verdict, row["text"])
        raise TimeoutError("the machine is too busy to measure on")

    return list(await asyncio.gather(*(one(row) for row in rows)))


def line_of(attribute: Attribute, name: str, rows: list[tuple[Row, dict[str, float]]], truth: Truth) -> str | None:
    """One row of the table; None where a set has too few of either kind."""
    known = [(truth(row), attribute.score(evidence)) for row, evidence in rows]
    labels = np.array([label for label, _ in known if label is not None], dtype=bool)
    scores = np.array([score for label, score in known if label is not None])
    if min(labels.sum(), (~labels).sum()) < LEAST:
        return None
    low, high = interval(labels, scores)
    return (
        f"| {attribute.name} | {name} | {len(labels)} | {labels.sum()} | **{auroc(labels, scores):.3f}** "
        f"({low:.3f}-{high:.3f}) | {scores.mean():.2f} / {labels.mean():.2f} |"
    )


async def measure(folder: Path, split: str, most: int) -> None:
    """Score every set once, then print the table."""
    attributes = load_attributes()
    seen: dict[str, list[tuple[Row, dict[str, float]]]] = {}
    async with open_runtime(Settings(), stateful=False) as runtime:
        print(f"{runtime.model}, {split} rows, at most {most} of a set")
        for name in dict.fromkeys(name for one in MEASURES for name in one.sets):
            rows = rows_of(folder, name, split, most)
            seen[name] = list(zip(rows, await evidence_of(runtime, rows), strict=True))
    print(
        "| attribute | set | rows | positive | AUROC (95 %) | mean score / share positive |\n|---|---|---|---|---|---|"
    )
    for one in MEASURES:
        attribute = attributes.scored[one.attribute]
        if one.pooled:
            together = [row for name in one.sets[: one.pooled] for row in seen[name]]
            aim = f", aim {AIMS[one.attribute]}" if one.attribute in AIMS else ""
            print(line_of(attribute, f"first {one.pooled} together{aim}", together, one.truth))
        for name in one.sets:
            told = name + (" (unseen)" if name in UNSEEN else "") + (f": {one.note}" if one.note else "")
            if line := line_of(attribute, told, seen[name], one.truth):
                print(line)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--split", choices=["dev", "test"], default="test")
    parser.add_argument("--rows", type=int, default=1_500)
    options = parser.parse_args()
    asyncio.run(measure(data_folder(load_recipe()), options.split, options.rows))


if __name__ == "__main__":
    main()
