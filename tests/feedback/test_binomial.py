"""The exact bounds, held against scipy's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.feedback.binomial import at_least, at_most, beta_inc, interval

COUNTS = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
RATES = st.floats(0.001, 0.999)


@given(COUNTS, RATES)
def test_tails_are_those_of_scipy(counts: tuple[int, int], rate: float) -> None:
    binom = pytest.importorskip("scipy.stats").binom
    events, trials = counts
    assert at_most(events, trials, rate) == pytest.approx(binom.cdf(events, trials, rate), rel=1e-8, abs=1e-12)
    assert at_least(events, trials, rate) == pytest.approx(binom.sf(events - 1, trials, rate), rel=1e-8, abs=1e-12)


@given(COUNTS, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_intervals_are_those_of_scipy(counts: tuple[int, int], confidence: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    low, high = interval(*counts, confidence)
    expected = stats.binomtest(*counts).proportion_ci(confidence, method="exact")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.floats(0.05, 300.0), st.floats(0.05, 300.0), st.floats(0.0, 1.0))
def test_the_incomplete_beta_function_is_that_of_scipy(a: float, b: float, x: float) -> None:
    special = pytest.importorskip("scipy.special")
    assert beta_inc(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-8, abs=1e-12)


@pytest.mark.parametrize(("events", "trials"), [(0, 1), (0, 7), (3, 7), (7, 7)])
def test_tails_of_small_samples_by_counting(events: int, trials: int) -> None:
    from math import comb

    rate = 0.3
    mass = [comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(trials + 1)]
    assert at_most(events, trials, rate) == pytest.approx(sum(mass[: events + 1]))
    assert at_least(events, trials, rate) == pytest.approx(sum(mass[events:]))


def test_nothing_seen_says_nothing() -> None:
    assert interval(0, 0, 0.95) == (0.0, 1.0)
    assert at_most(0, 0, 0.05) == 1.0


@given(COUNTS, RATES, RATES)
def test_a_higher_rate_makes_few_events_less_likely(counts: tuple[int, int], one: float, two: float) -> None:
    low, high = sorted((one, two))
    assert at_most(*counts, low) >= at_most(*counts, high) - 1e-12
