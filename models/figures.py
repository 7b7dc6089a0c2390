"""The report's pictures, drawn from scores into SVG files.

Owns how they look. Refuses to know how a score was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from models.data import Row
from models.scoring import NAMES, known_labels
from models.statistics import LEAST_CALIBRATED, Flags, Floats, reliability

STYLE: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "weir"}
Folds = Mapping[str, Mapping[str, Sequence[float]]]


def _save(figure: Figure, path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    return f"{path.parent.name}/{path.name}"


def draw_reliability(rows: Sequence[Row], scores: Floats, path: Path) -> str:
    """What a score says against how often it is right, per category with enough positives."""
    targets, known = known_labels(rows)
    enough = [
        (column, name)
        for column, name in enumerate(NAMES)
        if (targets[known[:, column], column] >= 0.5).sum() >= LEAST_CALIBRATED
    ]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.2 * max(1, len(enough)), 2.4))
        for n, (column, name) in enumerate(enough):
            chosen = known[:, column]
            points = reliability(targets[chosen, column] >= 0.5, scores[chosen, column])
            axes = figure.add_subplot(1, len(enough), n + 1)
            axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
            axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, color="#1f6f8b")
            axes.set(title=name, xlabel="score", xlim=(0, 1), ylim=(0, 1))
            if n == 0:
                axes.set_ylabel("share that is harmful")
        figure.tight_layout()
        return _save(figure, path)


def draw_folds(now: Folds, before: Folds | None, path: Path) -> str:
    """Mean area of each group that was left out, for this recipe and the one before."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 2.8))
        axes = figure.add_subplot()
        places = np.arange(len(now))
        for shift, label, table, colour in ((-0.2, "before", before, "0.7"), (0.2, "now", now, "#1f6f8b")):
            if table:
                heights = [float(np.mean([cell[0] for cell in table[name].values()])) for name in now]
                axes.bar(places + shift, heights, 0.38, label=label, color=colour)
        axes.set(ylabel="mean AUPRC", xticks=places)
        axes.set_xticklabels(list(now))
        axes.legend(frameon=False)
        return _save(figure, path)


def draw_precision_recall(curves: Mapping[str, tuple[Flags, Floats]], path: Path) -> str:
    """Precision over recall of any harm, one line per set."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 3.2))
        axes = figure.add_subplot()
        for name, (positive, score) in curves.items():
            precision, recall, _ = precision_recall_curve(positive, score)
            axes.plot(recall, precision, label=name, linewidth=1.3)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(frameon=False)
        return _save(figure, path)
