"""Figures with their 95 % bootstrap intervals (Efron 1979), as text for a table.

Owns areas, shares and calibration. Refuses to know rows and categories. Shapes: (N,) truth, score and flag per text.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

RESAMPLES = 300
RIGHT_DRAWS = 40
LEAST = 20  # positives below which no area is given
LEAST_CALIBRATED = 200  # positives below which no calibration figure is given
BINS = 15
FROM = 0.05  # scores below say "no", and there are too many of them for a bin to tell anything

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def bootstrap(figure: Callable[[NDArray[np.int64]], float], size: int) -> tuple[float, float, float]:
    """The figure of all rows, and the 2.5 % and 97.5 % quantiles over resampled ones."""
    rng = np.random.default_rng(7)
    draws = [figure(rng.integers(0, size, size)) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return figure(np.arange(size)), float(low), float(high)


def interval(figure: Callable[[NDArray[np.int64]], float], size: int) -> str:
    """A figure with its interval."""
    return "{:.3f} ({:.3f}-{:.3f})".format(*bootstrap(figure, size))


def area(positive: Flags, score: Floats) -> tuple[float, float, float]:
    """Area under the precision-recall curve (average precision) and its interval."""

    def figure(chosen: NDArray[np.int64]) -> float:
        return float(average_precision_score(positive[chosen], score[chosen])) if positive[chosen].any() else np.nan

    return bootstrap(figure, len(positive))


def auprc(positive: Flags, score: Floats) -> str:
    """The area with its interval, or how many positives there are where too few."""
    if positive.sum() < LEAST or (~positive).sum() < LEAST:
        return f"not validated ({int(positive.sum())} positives)"

    return "{:.3f} ({:.3f}-{:.3f})".format(*area(positive, score))


def share(flags: Flags) -> str:
    """A share in percent with its interval and the number of rows."""
    if not len(flags):
        return "-"
    figure, low, high = bootstrap(lambda chosen: float(flags[chosen].mean()), len(flags))
    return f"{100 * figure:.1f} % ({100 * low:.1f}-{100 * high:.1f}), n={len(flags)}"


def calibration_error(positive: Flags, score: Floats) -> float:
    """Expected calibration error over BINS bins of equal mass, of scores above FROM (Naeini et al. 2015)."""
    told = score > FROM
    positive, score = positive[told], score[told]
    if len(score) < BINS:
        return float("nan")
    order = np.argsort(score, kind="stable")
    bins = np.array_split(order, BINS)
    return float(sum(len(b) * abs(positive[b].mean() - score[b].mean()) for b in bins) / len(score))


def calibration_slope(positive: Flags, score: Floats) -> float:
    """Slope of the logistic regression of truth on the score's log-odds: 1 is right, below 1 is too sure (Cox 1958)."""
    logits = np.log(np.clip(score, 1e-6, 1 - 1e-6) / np.clip(1 - score, 1e-6, 1 - 1e-6))
    if positive.all() or not positive.any():
        return float("nan")
    model = LogisticRegression(C=1e6).fit(logits[:, None], positive)
    return float(model.coef_[0, 0])


def calibration_noise(score: Floats) -> float:
    """The mean calibration error that these scores would show were they right: what so many rows cannot tell."""
    rng = np.random.default_rng(7)
    return float(np.mean([calibration_error(rng.random(len(score)) < score, score) for _ in range(RIGHT_DRAWS)]))


def reliability(positive: Flags, score: Floats) -> list[tuple[float, float]]:
    """(mean score, share of positives) of each bin that `calibration_error` uses."""
    told = score > FROM
    positive, score = positive[told], score[told]
    order = np.argsort(score, kind="stable")
    return [(float(score[b].mean()), float(positive[b].mean())) for b in np.array_split(order, BINS) if len(b)]
