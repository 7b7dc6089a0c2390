"""Fine-tuning: from `../shared/data` to a checkpoint, in one command that resumes where it was stopped.

Owns the optimiser and the loop. Refuses to know ONNX and thresholds.

    python -m models.train [--work FOLDER] [--passes N] [--share S]
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.batches import Batch, augment, batches, collate, encode, load_tokenizer
from models.data import LABELS, Corpus, data_folder, load_recipe, one_pass, read_pools
from models.encoder import Classifier, Encoder, load_pretrained, mean_pool
from models.losses import embedding_distance, masked_bce, some_category
from models.mining import hardest_first
from models.previous import load_previous

WORK = Path(__file__).with_name("runs")
PREVIOUS = Path(__file__).with_name("artifacts") / "default" / "model.onnx"


def learning_rate(step: int, steps: int, warm_up: float) -> float:
    """Linear warm-up, then a cosine to zero; a factor of the peak."""
    rise = max(1, int(steps * warm_up))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))


class Average:
    """Exponential moving average of a network's weights, warmed up over the first steps."""

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: torch.nn.Module) -> None:
        """Move towards the network's present weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in network.state_dict().items():
            self.weights[name].lerp_(value, 1.0 - decay)


class Trainer:
    """One run: network, optimiser, average and the position in it, all of which a checkpoint holds."""

    def __init__(self, recipe: dict[str, Any], steps: int) -> None:
        self.options = recipe["train"]
        self.steps = steps
        self.step = 0
        # Without the instructions for it, bf16 is emulated: thirty times slower than fp32.
        self.half = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        torch.manual_seed(recipe["seed"])
        self.network = Classifier(len(LABELS), dropout=self.options["dropout"])
        load_pretrained(self.network.encoder)
        if self.options["start"] == "previous":
            load_previous(self.network, PREVIOUS)
        self.original = Encoder(dropout=0.0).eval()
        load_pretrained(self.original)
        freeze(self.network.encoder, int(self.options["frozen_blocks"]))
        encoder = [p for p in self.network.encoder.parameters() if p.requires_grad]
        new = [p for name, p in self.network.named_parameters() if not name.startswith("encoder.")]
        self.optimiser = torch.optim.AdamW(
            [{"params": encoder, "peak": self.options["rate"]}, {"params": new, "peak": self.options["head_rate"]}],
            weight_decay=self.options["weight_decay"],
            fused=True,
        )
        self.average = Average(self.network, self.options["average"])

    def loss(self, batch: Batch) -> Tensor:
        """The weighted sum of the three losses."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            logits, embedding = self.network(batch.ids, batch.mask, batch.segments)
        total: Tensor = masked_bce(logits, batch.targets, batch.known, batch.weights)
        total = total + self.options["any_weight"] * some_category(logits, batch.open, batch.share, batch.weights)
        if self.step % self.options["embedding_every"] == 0:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.half):
                states = self.original(batch.ids, batch.mask, batch.segments).float()
            target = torch.nn.functional.normalize(mean_pool(states, batch.mask), dim=1)
            total = total + self.options["embedding_weight"] * embedding_distance(embedding, target)
        return total

    def train_step(self, batch: Batch) -> float:
        """One update; returns the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * learning_rate(self.step, self.steps, self.options["warm_up"])
        loss = self.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.average.update(self.network)
        self.step += 1
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "steps": self.steps,
            "average": self.average.weights,
            "average_steps": self.average.steps,
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint of a run of the same length."""
        state = torch.load(path)
        if state["steps"] != self.steps:
            raise ValueError(f"{path.name} belongs to a run of {state['steps']} steps, not {self.steps}")
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.weights, self.average.steps = state["average"], state["average_steps"]
        self.step = state["step"]


def freeze(encoder: Encoder, blocks: int) -> None:
    """Keep the embedding tables and the first `blocks` blocks as they are; 0 trains everything."""
    if blocks:
        for part in (encoder.words, encoder.positions, encoder.segments, encoder.norm, *encoder.blocks[:blocks]):
            part.requires_grad_(False)


def train(recipe: dict[str, Any], data: Path, work: Path, passes: float, share: float) -> Path:
    """Run the recipe and return the path of the averaged weights. Of a last, partial pass only so many batches run."""
    work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")  # every shape's kernels, compiled once
    torch.set_num_threads(os.cpu_count() or 1)
    corpus, tokenizer, seed = Corpus(recipe, data), load_tokenizer(), int(recipe["seed"])
    pools = read_pools(corpus, share, seed)
    goes_on = recipe["train"]["start"] == "previous"
    hardest = hardest_first(pools, recipe["data"], PREVIOUS, recipe["max_tokens"]) if goes_on else {}
    checkpoint = work / "checkpoint.pt"
    trainer: Trainer | None = None
    done = 0
    for turn in range(math.ceil(passes)):
        rng = random.Random(seed + turn)
        rows = one_pass(corpus, pools, seed + turn, hardest)
        if share < 1:
            rows = [row for row in rows if row.source != "contrast" or rng.random() < share]
        examples = encode(augment(rows, recipe["augment"], rng), tokenizer, recipe["train"]["max_tokens"], rng)
        order = batches(examples, recipe["train"]["batch_tokens"], rng)
        if trainer is None:
            trainer = Trainer(recipe, steps=int(len(order) * passes))
            if checkpoint.exists():
                trainer.restore(checkpoint)
        begun, seen, mean = time.monotonic(), 0, 0.0
        trainer.network.train()
        for n, members in enumerate(order):
            if done + n < trainer.step or trainer.step >= trainer.steps:
                continue
            batch = collate([examples[m] for m in members])
            mean += 0.02 * (trainer.train_step(batch) - mean)
            seen += int(batch.mask.sum())
            if trainer.step % 50 == 0:
                rate = seen / (time.monotonic() - begun)
                print(
                    f"pass {turn + 1} step {trainer.step}/{trainer.steps} loss {mean:.4f} {rate:.0f} tokens/s",
                    flush=True,
                )
            if trainer.step % recipe["train"]["checkpoint_every"] == 0:
                trainer.save(checkpoint)
        done += len(order)
    if trainer is None:
        raise ValueError("a run needs at least one pass")
    torch.save(trainer.average.weights, work / "weights.pt")
    return work / "weights.pt"


def main() -> None:
    """Command line of the training run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--passes", type=float)
    parser.add_argument("--share", type=float, default=1.0, help="share of every source, for a short run")
    options = parser.parse_args()
    recipe = load_recipe()
    print(
        train(
            recipe, data_folder(recipe), options.work, options.passes or float(recipe["train"]["passes"]), options.share
        )
    )


if __name__ == "__main__":
    main()
