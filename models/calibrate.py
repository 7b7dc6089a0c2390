"""From raw logits on dev rows to probabilities and lines: Platt scaling by category and kind, presets by false alarms.

Owns calibration and the presets' numbers. Refuses to know graphs and files.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from models.data import LABELS, Row
from models.scoring import NAMES, Floats, calibrate, known_labels

LEAST_POSITIVES = 200  # of a kind; below that the category's shared fit stands for the kind
KINDS = ("post", "prompt", "response")

# Per preset, the share that one category may flag of innocent dev rows, most of them hard ones, and of those that are
# ordinary talk; and the lowest line.
PRESETS = {"strict": (0.016, 0.004, 0.25), "balanced": (0.008, 0.0015, 0.35), "permissive": (0.002, 0.0005, 0.50)}
HIGHEST = 0.95  # a flag line is never above this
FLOORS = {"misinformation": 0.80, "toxicity": 0.93}  # matters of style and tone: only a sure one is worth a flag
REVIEW_SHARE, BLOCK_SHARE = 0.45, 0.75  # of the way from the flag line to 1


def fit_calibration(rows: Sequence[Row], logits: Floats) -> dict[str, dict[str, list[float]]]:
    """[slope, intercept] per kind and category, by logistic regression on known dev labels; slopes stay positive.

    A post is whatever comes without a role, prompts of callers who name none included: it takes the fit over all kinds.
    """
    targets, known = known_labels(rows)
    kinds = np.array([row.kind for row in rows])
    fitted: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    for column, name in enumerate(NAMES):
        z = logits[:, LABELS.index(name)]
        shared = _platt(z[known[:, column]], targets[known[:, column], column])
        for kind in KINDS:
            chosen = known[:, column] & (kinds == kind)
            enough = kind != "post" and (targets[chosen, column] >= 0.5).sum() >= LEAST_POSITIVES
            fitted[kind][name] = _platt(z[chosen], targets[chosen, column]) if enough else shared
    return fitted


def _platt(z: Floats, target: Floats) -> list[float]:
    hard = target >= 0.5
    if hard.sum() < 20 or (~hard).sum() < 20:
        return [1.0, 0.0]
    model = LogisticRegression(C=1e3).fit(z[:, None], hard)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    return [slope, intercept] if slope > 0.05 else [1.0, 0.0]


def choose_presets(
    rows: Sequence[Row], logits: Floats, calibration: dict[str, Any], ordinary: Collection[str]
) -> dict[str, dict[str, list[float]]]:
    """[flag, review, block] per preset and category: the line that no more than the stated shares pass.

    `ordinary` names the sources of everyday talk.
    """
    innocent = [n for n, row in enumerate(rows) if row.harmful is False]
    scores = calibrate(logits[innocent], [rows[n].kind for n in innocent], calibration)
    targets, known = known_labels([rows[n] for n in innocent])
    everyday = np.array([rows[n].source in ordinary for n in innocent])
    presets: dict[str, dict[str, list[float]]] = {}
    for preset, (share, everyday_share, lowest) in PRESETS.items():
        presets[preset] = {}
        for column, name in enumerate(NAMES):
            clean = known[:, column] & (targets[:, column] < 0.3)
            line = float(np.quantile(scores[clean, column], 1.0 - share)) if clean.sum() > 500 else 0.5
            if everyday.sum() > 500:
                line = max(line, float(np.quantile(scores[everyday, column], 1.0 - everyday_share)))
            flag = round(min(max(line, lowest, FLOORS.get(name, 0.0)), HIGHEST), 3)
            presets[preset][name] = [
                flag,
                round(flag + REVIEW_SHARE * (1 - flag), 3),
                round(flag + BLOCK_SHARE * (1 - flag), 3),
            ]
    return presets
