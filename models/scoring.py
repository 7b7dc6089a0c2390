"""Scores of rows, by an artefact on disk or by a running service, in one shape.

Owns how a row becomes numbers for measuring. Refuses to know which rows, and what the numbers mean.
Shapes: N rows, C categories of the taxonomy in its order.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.batches import encode, load_tokenizer
from models.data import LABELS, Row
from service.taxonomy import CATEGORIES, OPENAI_CATEGORIES

Floats = NDArray[np.float64]
NAMES: tuple[str, ...] = tuple(CATEGORIES)
SERVED = np.array([NAMES.index(name) for name in OPENAI_CATEGORIES])


class Scored(Protocol):
    """Something that scores rows and says which it would flag."""

    def score(self, rows: Sequence[Row]) -> tuple[Floats, NDArray[np.bool_]]:
        """Calibrated scores (N, C), and whether each category is flagged by the balanced preset (N, C)."""
        ...


def raw_logits(graph: Path | bytes, rows: Sequence[Row], max_tokens: int, threads: int = 2) -> Floats:
    """Raw logits (N, heads) of the first window of each row, one row at a time as the service computes them."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    source = graph if isinstance(graph, bytes) else str(graph)
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    examples = encode(rows, load_tokenizer(), max_tokens, None)

    def run(n: int) -> Any:
        ids = np.array([examples[n].ids], dtype=np.int64)
        segments = np.zeros_like(ids)
        segments[0, examples[n].text_length :] = 1
        return session.run(["logits"], {"ids": ids, "segments": segments})[0][0]

    with ThreadPoolExecutor(threads) as pool:
        return np.array(list(pool.map(run, range(len(rows)))), dtype=np.float64)


class ArtifactScorer:
    """An artefact folder, scored on the first window of a text without normalisation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))

    def score(self, rows: Sequence[Row]) -> tuple[Floats, NDArray[np.bool_]]:
        """Calibrated by kind, against the balanced preset."""
        logits = raw_logits(self.folder / "model.onnx", rows, int(self.manifest["max_tokens"]))
        scores = calibrate(logits, [row.kind for row in rows], self.manifest["calibration"])
        lines = np.array([self.manifest["presets"]["balanced"][name][0] for name in NAMES])
        return scores, scores >= lines


class ServiceScorer:
    """A running Weir, asked natively: normalisation, keywords, windows and context included."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=120.0)

    def score(self, rows: Sequence[Row]) -> tuple[Floats, NDArray[np.bool_]]:
        """As the service answers, in batches of 64."""
        scores, flagged, _ = self._ask(rows)
        return scores, flagged

    def score_languages(self, rows: Sequence[Row]) -> tuple[NDArray[np.bool_], list[str]]:
        """Which categories are flagged (N, C), and the language that the service names for each row."""
        _, flagged, languages = self._ask(rows)
        return flagged, languages

    def _ask(self, rows: Sequence[Row]) -> tuple[Floats, NDArray[np.bool_], list[str]]:
        languages: list[str] = []
        scores = np.zeros((len(rows), len(NAMES)))
        flagged = np.zeros((len(rows), len(NAMES)), dtype=bool)
        roles = {"prompt": "user", "response": "assistant"}
        for begin in range(0, len(rows), 64):
            items = []
            for row in rows[begin : begin + 64]:
                item: dict[str, Any] = {"input": row.text, "explain": False}
                if row.kind in roles:
                    item["role"] = roles[row.kind]
                if row.context.strip():
                    item["context"] = [
                        {"role": "user" if row.kind == "response" else "assistant", "content": row.context}
                    ]
                items.append(item)
            answer = self.client.post("/v1/moderate/batch", json={"items": items})
            answer.raise_for_status()
            for n, result in enumerate(answer.json()["results"], start=begin):
                if "error" in result:
                    raise ValueError(f"row {n} was refused: {result['error']['code']}")
                languages.append(result["language"])
                for column, name in enumerate(NAMES):
                    scores[n, column] = result["categories"][name]["score"]
                    flagged[n, column] = result["categories"][name]["flagged"]
        return scores, flagged, languages


def calibrate(logits: Floats, kinds: Sequence[str], calibration: dict[str, dict[str, list[float]]]) -> Floats:
    """Probabilities (N, C) from raw logits (N, heads); a child never exceeds its parent."""
    columns = [LABELS.index(name) for name in NAMES]
    parameters = np.array([[calibration[kind][name] for name in NAMES] for kind in kinds])  # N, C, 2
    scores = 1.0 / (1.0 + np.exp(-(logits[:, columns] * parameters[..., 0] + parameters[..., 1])))
    for column, category in enumerate(CATEGORIES.values()):
        if category.parent is not None:
            parent = NAMES.index(category.parent)
            scores[:, parent] = np.maximum(scores[:, parent], scores[:, column])
    return np.asarray(scores, dtype=np.float64)


def known_labels(rows: Sequence[Row]) -> tuple[Floats, NDArray[np.bool_]]:
    """Targets (N, C) and which of them are known."""
    targets = np.zeros((len(rows), len(NAMES)))
    known = np.zeros((len(rows), len(NAMES)), dtype=bool)
    for n, row in enumerate(rows):
        for column, name in enumerate(NAMES):
            if name in row.labels:
                targets[n, column], known[n, column] = row.labels[name], True
    return targets, known


def sample(rows: Sequence[Row], most: int, seed: int) -> list[Row]:
    """At most `most` rows, the same ones every time."""
    return random.Random(seed).sample(list(rows), min(most, len(rows)))
