"""Calibration gives probabilities, and presets keep to their false alarms."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from models.calibrate import HIGHEST, PRESETS, choose_presets, fit_calibration
from models.data import LABELS, Row
from models.scoring import NAMES, calibrate
from service.taxonomy import OPENAI_CATEGORIES


def rows_and_logits(count: int) -> tuple[list[Row], np.ndarray]:
    """Logits whose true probability is sigmoid(2 z - 1)."""
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(count, len(LABELS)))
    harm = rng.random(count) < 1 / (1 + np.exp(-(2 * logits[:, LABELS.index("hate")] - 1)))
    rows = []
    for n in range(count):
        labels = dict.fromkeys(OPENAI_CATEGORIES, 0.0) | {"unsafe": float(harm[n]), "hate": float(harm[n])}
        rows.append(Row("t", "", "post", labels, "s"))
    return rows, logits


def test_platt_scaling_recovers_slope_and_intercept() -> None:
    rows, logits = rows_and_logits(20_000)
    slope, intercept = fit_calibration(rows, logits)["post"]["hate"]
    assert slope == pytest.approx(2.0, abs=0.15)
    assert intercept == pytest.approx(-1.0, abs=0.1)


def test_a_category_without_positives_keeps_its_logits() -> None:
    rows, logits = rows_and_logits(500)
    assert fit_calibration(rows, logits)["post"]["sexual"] == [1.0, 0.0]


def test_presets_are_ordered_and_keep_to_their_share() -> None:
    rows, logits = rows_and_logits(20_000)
    calibration = fit_calibration(rows, logits)
    presets = choose_presets(rows, logits, calibration, ())
    innocent = [n for n, row in enumerate(rows) if row.harmful is False]
    scores = calibrate(logits[innocent], ["post"] * len(innocent), calibration)[:, NAMES.index("hate")]
    for name in NAMES:
        assert presets["strict"][name][0] <= presets["balanced"][name][0] <= presets["permissive"][name][0]
        for lines in (presets[preset][name] for preset in presets):
            assert lines[0] <= lines[1] <= lines[2] <= 1.0
    line = presets["balanced"]["hate"][0]
    assert line == HIGHEST or (scores >= line).mean() <= 2 * PRESETS["balanced"][0]


def test_everyday_talk_raises_a_line() -> None:
    rows, logits = rows_and_logits(20_000)
    calibration = fit_calibration(rows, logits)
    everyday = [n for n, row in enumerate(rows) if row.harmful is False]
    scores = calibrate(logits[everyday], ["post"] * len(everyday), calibration)[:, NAMES.index("hate")]
    line = choose_presets(rows, logits, calibration, {"s"})["strict"]["hate"][0]
    assert line == pytest.approx(min(HIGHEST, np.quantile(scores, 1.0 - PRESETS["strict"][1])), abs=0.001)
    assert line > choose_presets(rows, logits, calibration, ())["strict"]["hate"][0]
