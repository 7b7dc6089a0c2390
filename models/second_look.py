"""Weights of the second look (service/constitution/second_look.py), fitted on rows in doubt that no training saw.

Owns the fit and its file. Refuses to know the service's code: the file is what the two share. Run after a new artefact
has been made: `python -m models.second_look`.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer

from models.data import Corpus, Row, data_folder, load_recipe
from service.taxonomy import CATEGORIES, OPENAI_CATEGORIES

ROOT = Path(__file__).resolve().parent.parent
ARTIFACT = ROOT / "models" / "artifacts" / "default"
TARGET = ROOT / "service" / "data" / "second_look.json"
MOST = 80  # dev rows of a source, so that the fit is minutes of one core
FITTED_WITHIN = 2.5  # log-odds around the line; wider than doubt, so that there are rows enough
DOUBT = 0.5  # as NEAR_LOGITS in service/constitution/doubt.py
MOST_LOG_ODDS = 8.0  # as in service/constitution/second_look.py
STRENGTH = 0.003  # of the ridge, by cross-validation over rows and over whole sources

Numbers = NDArray[np.float64]


def rows_of(split: str, seed: int) -> list[Row]:
    """Rows of one split whose harm is known, at most MOST of a source."""
    recipe = load_recipe()
    corpus = Corpus(recipe, data_folder(recipe))
    rows: list[Row] = []
    for slug in corpus.trainable():
        pool = [r for s, r in corpus.rows(slug) if s == split and r.harmful is not None and not r.needs_context]
        random.Random(seed).shuffle(pool)
        rows.extend(pool[:MOST])
    return rows


def log_odds(rows: list[Row], manifest: dict[str, object], folder: Path) -> Numbers:
    """Calibrated log-odds (N, 17) of each row's first window."""
    calibration, labels = manifest["calibration"], manifest["labels"]
    assert isinstance(calibration, dict) and isinstance(labels, list)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # threads that spin gain nothing on short texts
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found = []
    for row in rows:
        text = row.text.encode("utf-8", "replace").decode()
        ids = tokenizer.encode(text, add_special_tokens=False).ids[: int(str(manifest["max_tokens"])) - 2]
        feed = np.array([[101, *ids, 102]], dtype=np.int64)
        logits = session.run(["logits"], {"ids": feed, "segments": np.zeros_like(feed)})[0][0]
        heads = calibration[row.kind]
        found.append([heads[n][0] * logits[labels.index(n)] + heads[n][1] for n in CATEGORIES])
    return np.array(found, dtype=np.float64)


def fit(odds: Numbers, harmful: NDArray[np.int64], lines: Numbers) -> tuple[Numbers, float, str]:
    """Weights (17,), the intercept at which as many innocent rows are flagged as before, and what that gains."""
    names = list(CATEGORIES)
    columns = [names.index(name) for name in OPENAI_CATEGORIES]
    foremost = (odds - lines)[:, columns].max(axis=1)
    clipped = np.clip(odds, -MOST_LOG_ODDS, MOST_LOG_ODDS)
    near = np.abs(foremost) < FITTED_WITHIN
    spread = clipped[near].std(axis=0) + 1e-6
    model = LogisticRegression(C=STRENGTH, max_iter=3000).fit(clipped[near] / spread, harmful[near])
    weights: Numbers = model.coef_[0] / spread
    doubt = np.abs(foremost) < DOUBT
    innocent = doubt & (harmful == 0)
    flagged = float((foremost[innocent] > 0).mean())
    total = clipped @ weights
    intercept = -float(np.quantile(total[innocent], 1.0 - flagged))
    before, after = roc_auc_score(harmful[doubt], foremost[doubt]), roc_auc_score(harmful[doubt], total[doubt])
    return weights, intercept, f"{int(doubt.sum())} rows in doubt: AUROC {before:.3f}, with the second look {after:.3f}"


def main() -> None:
    """Fit on the dev rows and write the file."""
    manifest = json.loads((ARTIFACT / "manifest.json").read_bytes())
    rows = rows_of("dev", seed=5)
    lines = np.array([math.log(p / (1 - p)) for p in (manifest["presets"]["balanced"][n][0] for n in CATEGORIES)])
    harmful = np.array([int(bool(row.harmful)) for row in rows])
    weights, intercept, gain = fit(log_odds(rows, manifest, ARTIFACT), harmful, lines)
    names = dict(zip(CATEGORIES, (round(float(w), 4) for w in weights), strict=True))
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())  # as service/backends/artifact.py names it
    for _, file_digest in sorted(manifest["files"].items()):
        digest.update(file_digest.encode())
    TARGET.write_text(
        json.dumps({"artifact": digest.hexdigest(), "intercept": round(intercept, 4), "weights": names}, indent=1)
    )
    print(gain)


if __name__ == "__main__":
    main()
