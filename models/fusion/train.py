"""Training of an image classifier: from rows to a folder of the visual slot, in one command.

Owns the loop and the fit of probabilities. Refuses to know how pictures are made and graphs are written.

    python -m models.fusion.train --out FOLDER [--data FOLDER] [--halves both|picture] [--steps N] [--rows N] [--side S]

Without --data it is trained on rendered cards, which prove the path and are of no other use.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer

from models.fusion.cards import LABELS
from models.fusion.export import write_folder
from models.fusion.network import Fusion, Halves, Shape
from models.fusion.rows import Row, card_rows, collate, folder_rows, make_tokenizer

LEAST_SURE = 10  # rows of each outcome on dev; with fewer the logits stand as they are


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast. The rate rises over `warm_up` of the steps and falls on a cosine."""

    steps: int = 800
    batch: int = 32
    rate: float = 2e-3
    warm_up: float = 0.1
    weight_decay: float = 0.01
    seed: int = 1
    report_every: int = 100  # steps; 0 for silence


@dataclass(frozen=True, slots=True)
class Trained:
    """A network and what it reads with."""

    network: Fusion
    tokenizer: Tokenizer
    labels: tuple[str, ...]

    @torch.no_grad()
    def logits(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        """Logits (B, C) of rows."""
        self.network.eval()
        batch = collate(rows, self.tokenizer, self.labels, self.network.shape.max_tokens)
        found: NDArray[np.float32] = self.network(batch.pixels, batch.ids, batch.mask).numpy()
        return found


def train(rows: Sequence[Row], labels: Sequence[str], shape: Shape, recipe: Recipe, halves: Halves = "both") -> Trained:
    """A network trained on rows; the same again for the same arguments. `shape` is given its words and categories."""
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    tokenizer = make_tokenizer([row.text for row in rows], shape.words)
    shape = replace(shape, words=tokenizer.get_vocab_size(), categories=len(labels))
    network = Fusion(shape, halves)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
    rise = max(1, int(recipe.steps * recipe.warm_up))
    mean = 0.0
    for step in range(recipe.steps):
        share = min((step + 1) / rise, 0.5 * (1 + math.cos(math.pi * max(0, step - rise) / (recipe.steps - rise))))
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * share
        chosen = [rows[n] for n in rng.integers(len(rows), size=recipe.batch)]
        batch = collate(chosen, tokenizer, labels, shape.max_tokens)
        loss = F.binary_cross_entropy_with_logits(network(batch.pixels, batch.ids, batch.mask), batch.targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        mean += 0.05 * (float(loss.detach()) - mean)
        if recipe.report_every and (step + 1) % recipe.report_every == 0:
            print(f"step {step + 1}/{recipe.steps} loss {mean:.4f}", flush=True)
    return Trained(network, tokenizer, tuple(labels))


def fit(trained: Trained, dev: Sequence[Row]) -> dict[str, list[float]]:
    """[slope, intercept] of each label by logistic regression on dev rows (Platt 1999); slopes stay positive."""
    logits = trained.logits(dev)
    found = {}
    for column, label in enumerate(trained.labels):
        hard = np.array([label in row.harms for row in dev])
        found[label] = [1.0, 0.0]
        if LEAST_SURE <= hard.sum() <= len(dev) - LEAST_SURE:
            model = LogisticRegression(C=1.0).fit(logits[:, [column]], hard)
            if model.coef_[0, 0] > 0.05:
                found[label] = [float(model.coef_[0, 0]), float(model.intercept_[0])]
    return found


def right(trained: Trained, rows: Sequence[Row]) -> dict[str, float]:
    """Per label the share of rows on the right side of 0; of rows of the label's topic alone, where there are some."""
    found = {}
    for column, label in enumerate(trained.labels):
        asked = [row for row in rows if row.topic == label] or list(rows)
        harmful = np.array([label in row.harms for row in asked])
        found[label] = float(((trained.logits(asked)[:, column] > 0.0) == harmful).mean())
    return found


def main() -> None:
    """Command line of the training run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="a folder with labels.jsonl; see models/fusion/rows.py")
    parser.add_argument("--halves", choices=["both", "picture"], default="both")
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    parser.add_argument("--rows", type=int, default=3000, help="cards that are rendered")
    parser.add_argument("--side", type=int, default=48)
    options = parser.parse_args()
    shape, recipe = Shape(side=options.side), Recipe(steps=options.steps)
    if options.data is None:
        rows, dev, test = (
            card_rows("train", options.rows, options.side),
            card_rows("dev", 400, options.side),
            card_rows("test", 400, options.side),
        )
        labels: tuple[str, ...] = LABELS
    else:
        rows, dev, test = (folder_rows(options.data, split, options.side) for split in ("train", "dev", "test"))
        labels = tuple(sorted({harm for row in rows for harm in row.harms}))
    trained = train(rows, labels, shape, recipe, options.halves)
    calibration = fit(trained, dev) if dev else {label: [1.0, 0.0] for label in labels}
    write_folder(options.out, trained.network, trained.tokenizer, labels, calibration)
    for label, share in (right(trained, test) if test else {}).items():
        print(f"{label}: {share:.3f} of test rows right")


if __name__ == "__main__":
    main()
