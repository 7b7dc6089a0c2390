"""Leave-one-group-out validation: what a recipe is worth on kinds of sources that it has not seen.

Owns the folds and their table. Refuses to know graphs, calibration and the shipped artefact. Six named groups of
sources stand in the recipe; for each a network is trained by the short recipe on all the others and scored on that
group's rows, among innocent rows that no fold trains on. A fold that is done is kept on disk, so a run that was stopped
goes on.

    python -m models.validate [--work FOLDER] [--before FOLDER]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.batches import augment, batches, collate, encode, load_tokenizer
from models.data import LABELS, Corpus, Row, data_folder, load_recipe, one_pass, read_pools
from models.encoder import Classifier
from models.release import ARTIFACT
from models.report import VALIDATION
from models.scoring import NAMES, SERVED, Floats, known_labels, sample
from models.statistics import area
from models.train import WORK, Trainer

LEAST_POSITIVES = 40  # of a category in a group; below that it is not in the table


def fold_rows(corpus: Corpus, recipe: dict[str, Any], group: Sequence[str]) -> list[Row]:
    """The rows that measure one group: a fixed sample of its sources, any split but `test`, and innocent rows."""
    options, seed = recipe["validation"], int(recipe["seed"])
    rows: list[Row] = []
    for slug in group:
        pool = [row for split, row in corpus.rows(slug) if split != "test"]
        rows.extend(sample(pool, int(options["rows_per_source"]), seed))
    for slug in options["innocent"]:
        pool = [row for split, row in corpus.rows(slug) if split == "dev"]
        rows.extend(sample(pool, int(options["innocent_per_source"]), seed))
    return rows


def train_fold(recipe: dict[str, Any], corpus: Corpus, group: Sequence[str]) -> Classifier:
    """The short recipe on everything but `group`; the averaged network in evaluation mode."""
    options, seed = recipe["validation"], int(recipe["seed"])
    tokenizer, rng = load_tokenizer(), random.Random(seed)
    pools = {slug: pool for slug, pool in read_pools(corpus, 1.0, seed).items() if slug not in group}
    rows = augment(one_pass(corpus, pools, seed), recipe["augment"], rng)
    examples = encode(rows[: int(options["most_rows"])], tokenizer, int(options["max_tokens"]), rng)
    lengths = np.cumsum([len(example.ids) for example in examples])
    examples = examples[: int(np.searchsorted(lengths, options["tokens"]))]
    order = batches(examples, int(options["batch_tokens"]), rng)
    short = {**recipe, "train": {**recipe["train"], **options["train"]}}
    trainer = Trainer(short, steps=len(order))
    trainer.network.train()
    begun, mean = time.monotonic(), 0.0
    for members in order:
        mean += 0.05 * (trainer.train_step(collate([examples[m] for m in members])) - mean)
        if trainer.step % 25 == 0:
            print(f"  step {trainer.step}/{len(order)} loss {mean:.3f} {time.monotonic() - begun:.0f} s", flush=True)
    trainer.network.load_state_dict(trainer.average.weights)
    return trainer.network.eval()


@torch.no_grad()
def network_scores(network: Classifier, rows: Sequence[Row], max_tokens: int) -> Floats:
    """Uncalibrated probabilities (N, C) of the first window of each row."""
    examples = encode(rows, load_tokenizer(), max_tokens, None)
    columns = [LABELS.index(name) for name in NAMES]
    scores = np.zeros((len(rows), len(NAMES)))
    for members in batches(examples, 6144, None):
        batch = collate([examples[m] for m in members])
        logits, _ = network(batch.ids, batch.mask, batch.segments)
        scores[members] = torch.sigmoid(logits).numpy()[:, columns]
    return scores


def cells(rows: Sequence[Row], scores: Floats) -> dict[str, tuple[NDArray[np.bool_], Floats]]:
    """What a group is measured on: any harm, and each category with enough positives; truth and score of known rows."""
    targets, known = known_labels(rows)
    judged = np.array([row.harmful is not None for row in rows])
    harmful = np.array([row.harmful is True for row in rows])
    found = {"any harm": (harmful[judged], scores[judged][:, SERVED].max(1))}
    for column, name in enumerate(NAMES):
        chosen = known[:, column]
        found[name] = (targets[chosen, column] >= 0.5, scores[chosen, column])
    return {name: pair for name, pair in found.items() if LEAST_POSITIVES <= pair[0].sum() < len(pair[0]) - 40}


def summarise(rows: Sequence[Row], scores: Floats) -> dict[str, list[float]]:
    """AUPRC with its 95 % bootstrap interval per cell."""
    return {
        name: [*area(positive, score), float(positive.sum())] for name, (positive, score) in cells(rows, scores).items()
    }


def validate(recipe: dict[str, Any], data: Path, work: Path) -> dict[str, dict[str, list[float]]]:
    """Every fold's table by group; folds found in `work` are not trained again."""
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(os.cpu_count() or 1)
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
    corpus = Corpus(recipe, data)
    table: dict[str, dict[str, list[float]]] = {}
    for name, group in recipe["validation"]["groups"].items():
        done = work / f"{name}.json"
        if not done.exists():
            print(f"fold {name}", flush=True)
            rows = fold_rows(corpus, recipe, group)
            network = train_fold(recipe, corpus, group)
            found = summarise(rows, network_scores(network, rows, int(recipe["validation"]["max_tokens"])))
            done.write_text(json.dumps(found, indent=1), encoding="utf-8")
        table[name] = json.loads(done.read_text(encoding="utf-8"))
        print(name, {cell: round(values[0], 3) for cell, values in table[name].items()}, flush=True)
    return table


def mean_auprc(table: dict[str, dict[str, list[float]]]) -> float:
    """The figure to tune on: the mean over groups of the mean over a group's cells."""
    return float(np.mean([np.mean([values[0] for values in group.values()]) for group in table.values()]))


def digest(recipe: dict[str, Any]) -> str:
    """Names a run's folder: another recipe is another run."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:8]


def main() -> None:
    """Command line of the validation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--before", type=Path, help="folder of the folds of the recipe to compare with")
    options = parser.parse_args()
    recipe = load_recipe()
    work = options.work or WORK / f"validation-{digest(recipe)}"
    table = validate(recipe, data_folder(recipe), work)
    before: dict[str, dict[str, list[float]]] = {}
    if options.before:
        names = recipe["validation"]["groups"]
        before = {name: json.loads((options.before / f"{name}.json").read_text(encoding="utf-8")) for name in names}
    run = {
        "tokens": recipe["validation"]["tokens"],
        "mean": mean_auprc(table),
        "before_mean": mean_auprc(before) if before else None,
        "table": table,
        "before": before,
    }
    (ARTIFACT / VALIDATION).write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    print(f"mean AUPRC {run['mean']}, before {run['before_mean']}")


if __name__ == "__main__":
    main()
