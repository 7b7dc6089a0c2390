"""From trained weights to an artefact folder: int8 graph, calibration, presets, manifest, and the gate.

Owns what goes into `models/artifacts/<name>/`. Refuses to know training, and the test splits: it fits on dev alone.

    python -m models.release [--weights FILE] [--artifact FOLDER] [--no-gate]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from models.batches import CONTEXT_TOKENS
from models.calibrate import LEAST_POSITIVES, choose_presets, fit_calibration
from models.contrast import load_frames
from models.data import LABELS, Corpus, Row, contrast_rows, data_folder, load_recipe
from models.encoder import Classifier, pretrained_folder
from models.export import build_graph, quantize
from models.report import VALIDATION
from models.scoring import NAMES, Floats, known_labels, raw_logits, sample
from models.smoothing import fit_factors
from models.train import WORK

ARTIFACT = Path(__file__).with_name("artifacts") / "default"
ROWS_PER_SOURCE = 400
SMOOTHING_ROWS = 512  # that show how large the units of each layer's input get
MOST_BYTES = 25_000_000
GATE_POINTS = 0.005  # AUPRC that int8 may lose in a category that has enough positives
WINDOW_SHIFT = 0.35  # log-odds per e-fold of windows


class GateRefused(Exception):
    """The int8 artefact is worse than the weights that it was made from, or too large."""


def load_network(weights: Path, max_tokens: int) -> Classifier:
    """The averaged network in evaluation mode, with as many positions as the window has."""
    state = torch.load(weights)
    network = Classifier(len(LABELS), dropout=0.0)
    network.load_state_dict(state.get("average", state))
    network.encoder.positions.weight = torch.nn.Parameter(network.encoder.positions.weight[:max_tokens].clone())
    return network.eval()


def dev_rows(corpus: Corpus, recipe: dict[str, Any], per_source: int) -> list[Row]:
    """A fixed sample of every trainable source's dev rows and of trained-on contrast frames' unseen sentences."""
    rows: list[Row] = []
    for slug in corpus.trainable():
        rows.extend(
            sample([row for split, row in corpus.rows(slug) if split == "dev"], per_source, int(recipe["seed"]))
        )
    rows.extend(
        sample(contrast_rows(recipe, held_out=False, per_side=12, seed=977), 4 * per_source, int(recipe["seed"]))
    )
    return rows


def gate(rows: Sequence[Row], fp32: Floats, int8: Floats) -> dict[str, list[float]]:
    """AUPRC of both per category with enough dev positives; raises GateRefused where int8 lost too much."""
    targets, known = known_labels(rows)
    table: dict[str, list[float]] = {}
    for column, name in enumerate(NAMES):
        chosen = known[:, column]
        positive = targets[chosen, column] >= 0.5
        if positive.sum() < LEAST_POSITIVES:
            continue
        head = LABELS.index(name)
        table[name] = [float(average_precision_score(positive, z[chosen, head])) for z in (fp32, int8)]
        if table[name][0] - table[name][1] > GATE_POINTS:
            raise GateRefused(f"int8 loses {table[name][0] - table[name][1]:.4f} AUPRC in {name}")
    return table


def write_manifest(folder: Path, name: str, recipe: dict[str, Any], fitted: dict[str, Any]) -> None:
    """The manifest, with the digest of every file that the service loads."""
    files = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.onnx", "tokenizer.json")
    }
    manifest = {
        "format": 1,
        "name": f"weir-{name}",
        "created": datetime.now(UTC).strftime("%Y-%m-%d"),
        "files": files,
        "labels": list(LABELS),
        "max_tokens": recipe["max_tokens"],
        "overlap_tokens": recipe["overlap_tokens"],
        "context_tokens": CONTEXT_TOKENS,
        "window_shift": WINDOW_SHIFT,
        "contrast_frames": sum(not frame.held_out for frame in load_frames()),
        "languages": ["en"],
        "quantization": "dynamic int8 of smoothed inputs, weights per channel in 7 bits (safe on AVX2), words by row",
        **fitted,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def release(recipe: dict[str, Any], data: Path, weights: Path, folder: Path, *, gated: bool) -> None:
    """Make the artefact folder, whole or not at all."""
    draft = folder.with_name(folder.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    max_tokens = int(recipe["max_tokens"])
    network = load_network(weights, max_tokens)
    rows = dev_rows(Corpus(recipe, data), recipe, ROWS_PER_SOURCE)
    factors = fit_factors(network, sample(rows, SMOOTHING_ROWS, int(recipe["seed"])), max_tokens)
    quantize(build_graph(network, len(LABELS), int8=True, factors=factors), draft / "model.onnx")
    shutil.copy(pretrained_folder() / "tokenizer.json", draft / "tokenizer.json")
    print(f"scoring {len(rows)} dev rows", flush=True)
    logits = raw_logits(draft / "model.onnx", rows, max_tokens)
    np.savez_compressed(weights.with_name("dev-logits.npz"), logits=logits)
    calibration = fit_calibration(rows, logits)
    presets = choose_presets(rows, logits, calibration, recipe["ordinary"])
    fitted: dict[str, Any] = {"calibration": calibration, "presets": presets}
    if gated:
        graph = build_graph(network, len(LABELS), int8=False).SerializeToString()
        fitted["gate"] = gate(rows, raw_logits(graph, rows, max_tokens), logits)
    write_manifest(draft, folder.name, recipe, fitted)
    size = sum(path.stat().st_size for path in draft.iterdir())
    if size > MOST_BYTES:
        raise GateRefused(f"the artefact has {size} bytes, more than {MOST_BYTES}")
    if (folder / VALIDATION).exists():
        shutil.copy(folder / VALIDATION, draft / VALIDATION)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    print(f"{folder}: {size / 1e6:.1f} MB")


def main() -> None:
    """Command line of the release."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WORK / "weights.pt")
    parser.add_argument("--artifact", type=Path, default=ARTIFACT)
    parser.add_argument("--no-gate", action="store_true", help="skip the comparison with fp32, for a first try")
    options = parser.parse_args()
    recipe = load_recipe()
    release(recipe, data_folder(recipe), options.weights, options.artifact, gated=not options.no_gate)


if __name__ == "__main__":
    main()
