"""Weights of the second look (service/constitution/second_look.py), fitted on dev rows around the lines.

Owns the fit and its file. Refuses to know the service's code: the file is what the two share. Run after a new artefact
has been made: `python -m models.second_look`, about four minutes of one core.

The heads alone gain little that holds on sources that the fit has not seen; the inner states of blocks 1 to 3, which
say what a text is about and how it speaks, gain most of it. The ridge and the width were chosen on dev rows by leaving
out a quarter of the sources, many times. Shapes: N rows, C = 17 categories, H hidden units.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from tokenizers import Tokenizer

from models.data import Corpus, Row, data_folder, load_recipe
from service.taxonomy import CATEGORIES, OPENAI_CATEGORIES

ROOT = Path(__file__).resolve().parent.parent
ARTIFACT = ROOT / "models" / "artifacts" / "default"
TARGET = ROOT / "service" / "data" / "second_look.json"
STATES = ("block1.norm2", "block2.norm2", "block3.norm2")  # as in service/backends/inner_states.py
PROBED, MOST = 50, 300  # dev rows of a source: the first few, and all where LEAST_NEAR of those are near a line
LEAST_NEAR = 2
FITTED_WITHIN = 2.5  # log-odds around the line; wider than doubt, so that there are rows enough
DOUBT = 0.5  # as NEAR_LOGITS in service/constitution/doubt.py
MOST_LOG_ODDS = 8.0  # as in service/constitution/second_look.py
STRENGTH = 0.001  # of the ridge, on columns of unit variance
FOLDS = 5
DRAWINGS = 8  # of sources that are left out, for the figure that is printed

Numbers = NDArray[np.float64]
Truth = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the model makes of rows: calibrated log-odds (N, C) and the direction of the inner states (N, H)."""

    odds: Numbers
    inner: Numbers

    @property
    def columns(self) -> Numbers:
        """What the fit is given, (N, C + H)."""
        return np.concatenate([np.clip(self.odds, -MOST_LOG_ODDS, MOST_LOG_ODDS), self.inner], axis=1)


def dev_pools(seed: int) -> list[list[Row]]:
    """Per source the dev rows whose harm is known, at most MOST, in an order of chance."""
    recipe = load_recipe()
    corpus = Corpus(recipe, data_folder(recipe))
    pools: list[list[Row]] = []
    for slug in corpus.trainable():
        pool = [r for s, r in corpus.rows(slug) if s == "dev" and r.harmful is not None and not r.needs_context]
        random.Random(seed).shuffle(pool)
        pools.append(pool[:MOST])
    return pools


class Eye:
    """An artefact's graph with its inner states as outputs."""

    def __init__(self, manifest: dict[str, Any], folder: Path) -> None:
        graph = onnx.load(folder / "model.onnx")
        graph.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in STATES)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # threads that spin gain nothing on short texts
        self._session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._calibration = manifest["calibration"]
        self._columns = [manifest["labels"].index(name) for name in CATEGORIES]
        self._room = int(manifest["max_tokens"]) - 2

    def look(self, row: Row) -> tuple[Numbers, Numbers]:
        """Calibrated log-odds (C,) and direction (H,) of the first window of a row, without context."""
        text = row.text.encode("utf-8", "replace").decode()
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids[: self._room]
        feed = np.array([[101, *ids, 102]], dtype=np.int64)
        logits, *states = self._session.run(["logits", *STATES], {"ids": feed, "segments": np.zeros_like(feed)})
        heads = np.array([self._calibration[row.kind][name] for name in CATEGORIES])
        odds: Numbers = heads[:, 0] * logits[0][self._columns] + heads[:, 1]
        return odds, direction([state[0, 1:-1] if ids else state[0] for state in states])


def rows_near(eye: Eye, lines: Numbers, pools: list[list[Row]]) -> tuple[list[Row], Seen, Numbers]:
    """The rows near a line, what is seen of them, and by how much the foremost harm of each stands over its line."""
    served = [list(CATEGORIES).index(name) for name in OPENAI_CATEGORIES]
    rows: list[Row] = []
    seen: list[tuple[Numbers, Numbers]] = []
    foremost: list[float] = []
    for pool in pools:
        near = 0
        for n, row in enumerate(pool):
            if n == PROBED and near < LEAST_NEAR:
                break  # ordinary talk: hardly a row of it is in doubt, and reading all of it takes minutes
            odds, inner = eye.look(row)
            over = float((odds - lines)[served].max())
            if abs(over) < FITTED_WITHIN:
                near += 1
                rows.append(row)
                seen.append((odds, inner))
                foremost.append(over)
    odds, inner = (np.array(part, dtype=np.float64) for part in zip(*seen, strict=True))
    return rows, Seen(odds, inner), np.array(foremost)


def direction(states: list[Numbers]) -> Numbers:
    """The mean over layers of each layer's mean over tokens (T, H), set to unit length."""
    means = [state.mean(axis=0) for state in states]
    middle: Numbers = np.mean([mean / max(float(np.linalg.norm(mean)), 1e-6) for mean in means], axis=0)
    return middle


def fit(columns: Numbers, harmful: Truth) -> tuple[Numbers, float]:
    """A weight per column and the intercept, of a ridge on columns of unit variance."""
    spread, middle = columns.std(axis=0) + 1e-6, columns.mean(axis=0)
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit((columns - middle) / spread, harmful)
    weights: Numbers = model.coef_[0] / spread
    return weights, float(model.intercept_[0] - middle @ weights)


def left_out(columns: Numbers, harmful: Truth) -> Numbers:
    """Log-odds of each row by a fit that has not seen it."""
    told = np.zeros(len(harmful))
    for seen, other in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(columns, harmful):
        weights, intercept = fit(columns[seen], harmful[seen])
        told[other] = columns[other] @ weights + intercept
    return told


def gain_on_unseen(columns: Numbers, harmful: Truth, foremost: Numbers, sources: list[str]) -> list[float]:
    """AUROC in doubt over the foremost category's, on rows of sources that were left out, for each drawing of them."""
    slugs, gains = sorted(set(sources)), []
    for seed in range(DRAWINGS):
        apart = set(random.Random(seed).sample(slugs, len(slugs) // 4))
        away = np.array([source in apart for source in sources])
        weights, _ = fit(columns[~away], harmful[~away])
        asked = away & (np.abs(foremost) < DOUBT)
        if 0 < harmful[asked].sum() < asked.sum():
            told = columns[asked] @ weights
            gains.append(roc_auc_score(harmful[asked], told) - roc_auc_score(harmful[asked], foremost[asked]))
    return gains


def main() -> None:
    """Fit on the dev rows and write the file."""
    manifest = json.loads((ARTIFACT / "manifest.json").read_bytes())
    lines = np.array([math.log(p / (1 - p)) for p in (manifest["presets"]["balanced"][n][0] for n in CATEGORIES)])
    rows, seen, foremost = rows_near(Eye(manifest, ARTIFACT), lines, dev_pools(seed=5))
    columns, sources = seen.columns, [row.source for row in rows]
    harmful = np.array([int(bool(row.harmful)) for row in rows])
    weights, intercept = fit(columns, harmful)
    told, doubt = left_out(columns, harmful), np.abs(foremost) < DOUBT
    innocent = doubt & (harmful == 0)
    # As many innocent rows are flagged as before; by fits that have not seen them, since one that has clears them.
    intercept -= float(np.quantile(told[innocent], 1.0 - float((foremost[innocent] > 0).mean())))
    write(manifest, weights, intercept)
    before, after = (roc_auc_score(harmful[doubt], score[doubt]) for score in (foremost, told))
    gains = gain_on_unseen(columns, harmful, foremost, sources)
    print(f"{len(rows)} rows near a line, {doubt.sum()} in doubt: AUROC {before:.3f}, of rows left out {after:.3f}")
    print(f"sources left out: gain {np.mean(gains):.3f}, least {min(gains):.3f} of {len(gains)} drawings")


def write(manifest: dict[str, dict[str, str]], weights: Numbers, intercept: float) -> None:
    """The file, tied to the artefact."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())  # as service/backends/artifact.py names it
    for _, file_digest in sorted(manifest["files"].items()):
        digest.update(file_digest.encode())
    heads = [round(float(weight), 4) for weight in weights[: len(CATEGORIES)]]
    document = {
        "artifact": digest.hexdigest(),
        "intercept": round(intercept, 4),
        "weights": dict(zip(CATEGORIES, heads, strict=True)),
        "inner": [round(float(weight), 3) for weight in weights[len(CATEGORIES) :]],
    }
    TARGET.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
