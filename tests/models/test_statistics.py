"""Figures of the report: areas, shares and calibration on data whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from models.statistics import (
    auprc,
    bootstrap,
    calibration_error,
    calibration_noise,
    calibration_slope,
    reliability,
    share,
)


def drawn(size: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Truth and a score whose log-odds are `sharpness` times the right ones."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0.0, 2.0, size)
    return rng.random(size) < 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-sharpness * logits))


def test_a_right_score_has_no_calibration_error_and_slope_one() -> None:
    truth, score = drawn(40_000, 1.0)
    assert calibration_error(truth, score) < 0.01
    assert calibration_slope(truth, score) == pytest.approx(1.0, abs=0.03)


def test_a_score_that_is_too_sure_shows() -> None:
    truth, score = drawn(40_000, 2.5)
    assert calibration_error(truth, score) > 0.05
    assert calibration_slope(truth, score) == pytest.approx(0.4, abs=0.03)
    low, *_, high = reliability(truth, score)
    assert low[1] > low[0] and high[1] < high[0]


def test_of_few_rows_a_right_score_shows_its_noise_and_no_more() -> None:
    truth, score = drawn(600, 1.0)
    assert calibration_noise(score) > 0.02 > calibration_noise(drawn(40_000, 1.0)[1])
    assert calibration_error(truth, score) == pytest.approx(calibration_noise(score), abs=0.02)


def test_scores_that_say_no_are_left_out_of_the_error() -> None:
    truth, score = drawn(5_000, 1.0)
    padded = np.concatenate([score, np.full(50_000, 0.001)])
    assert calibration_error(np.concatenate([truth, np.zeros(50_000, bool)]), padded) == calibration_error(truth, score)


def test_the_interval_holds_the_figure_and_narrows_with_rows() -> None:
    values = np.arange(1000) % 2 == 0
    figure, low, high = bootstrap(lambda chosen: float(values[chosen].mean()), 1000)
    assert low < figure == 0.5 < high and high - low < 0.08


def test_too_few_positives_are_said_to_be_not_validated() -> None:
    assert auprc(np.array([True] * 3 + [False] * 90), np.linspace(1, 0, 93)) == "not validated (3 positives)"
    assert auprc(np.array([True] * 30 + [False] * 30), np.linspace(1, 0, 60)).startswith("1.000 (1.000")
    assert share(np.array([], dtype=bool)) == "-"
