"""Exact binomial tails and intervals. Pure arithmetic: no labels, no thresholds, nothing but `math`.

Owns the incomplete beta function that both rest on (Abramowitz and Stegun 26.5.8, evaluated by Lentz's method). The
service has no need of scipy at run time for two functions; the tests compare with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_TINY = 1e-300  # stands for zero in Lentz's method, where a zero would be divided by
_ENOUGH = 1e-15  # relative change at which the fraction has settled
_MOST_TERMS = 10_000  # it settles within some sqrt(max(a, b)) terms


def beta_inc(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for a, b > 0 and x in 0..1: P(Beta(a, b) <= x)."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):  # where the fraction settles slowly, its mirror image settles fast
        return 1.0 - beta_inc(b, a, 1.0 - x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return min(1.0, math.exp(front) * _fraction(a, b, x) / a)


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1.0 / _nonzero(1.0 - (a + b) * x / (a + 1.0))
    result = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d = 1.0 / _nonzero(1.0 + term * d)
            c = _nonzero(1.0 + term / c)
            result *= c * d
        if abs(c * d - 1.0) < _ENOUGH:
            break
    return result


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def at_most(events: int, trials: int, rate: float) -> float:
    """P(X <= events) for X ~ Binomial(trials, rate): the p-value of 'the true rate is at least `rate`'."""
    if events < 0:
        return 0.0
    if events >= trials:
        return 1.0
    return beta_inc(trials - events, events + 1.0, 1.0 - rate)


def at_least(events: int, trials: int, rate: float) -> float:
    """P(X >= events) for X ~ Binomial(trials, rate): the p-value of 'the true rate is at most `rate`'."""
    if events <= 0:
        return 1.0
    if events > trials:
        return 0.0
    return beta_inc(events, trials - events + 1.0, rate)


def interval(events: int, trials: int, confidence: float) -> tuple[float, float]:
    """The two-sided Clopper-Pearson interval: covers the true rate with at least `confidence`. (0, 1) of no trials."""
    if trials == 0:
        return 0.0, 1.0
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if events == 0 else _root(lambda rate: at_least(events, trials, rate) >= tail)
    high = 1.0 if events == trials else _root(lambda rate: at_most(events, trials, rate) < tail)
    return low, high


def _root(reached: Callable[[float], bool]) -> float:
    """The rate at which `reached` turns true, by bisection, to 1e-12."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2.0
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
