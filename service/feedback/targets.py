"""What a flag line has to meet, and whether labels show that it does. Pure.

Owns targets, the limits of a move, and the test of one line and of a sequence of them. Refuses to know reviewers and
policies.

The choice is Learn-then-Test by fixed-sequence testing (Angelopoulos, Bates, Candes, Jordan and Lei, 2021): candidates
are a fixed grid, taken from the safest on; at each, the hypothesis that the target is missed is tested with an exact
binomial tail; the first that is not rejected ends the walk, and the last that was rejected is the line. A fixed order
needs no correction for its length, so the line misses its target with a chance of at most delta, whatever the scores
are worth. That is a promise about one proposal and about true answers: for slips and lies there is `reviewers`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.feedback.binomial import at_least, at_most, interval
from service.feedback.outcomes import Metric, Outcome, count

LEAST_BOUND = 1e-6  # no sample will ever show less; far below, the number of receipts that it takes is no number


@dataclass(frozen=True, slots=True)
class Target:
    """What a category's flag line has to meet with a probability of 1 - `delta`.

    `bound` is the greatest FPR (innocent texts held back, of innocent ones) or FNR (harmful ones let by, of harmful
    ones), or the least precision (harmful ones, of those held back).
    """

    metric: Metric
    bound: float
    delta: float = 0.1

    def __post_init__(self) -> None:
        if not (LEAST_BOUND <= self.bound <= 1.0 - LEAST_BOUND and 0.0 < self.delta < 1.0):
            raise ValueError("a target's bound and delta lie between 0 and 1")

    @property
    def least_trials(self) -> int:
        """The smallest sample that can show the target to be met at all, were it free of any miss."""
        rate = self.bound if self.metric == "precision" else 1.0 - self.bound
        return math.ceil(math.log(self.delta) / math.log(rate) - 1e-9)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much it takes to move a line, and how far it may go.

    `minimum` receipts that bear on the metric; `step` at most in a proposal; `floor` and `ceiling` of the flag line;
    `reviewer_share` of the labels at most for one reviewer; `shared` answers beside others' that admit a reviewer;
    `grid` between candidates.
    """

    minimum: int = 100
    step: float = 0.1
    floor: float = 0.05
    ceiling: float = 0.95
    reviewer_share: float = 0.25
    shared: int = 5
    grid: float = 0.01

    def __post_init__(self) -> None:
        if not 0.0 < self.floor <= self.ceiling <= 1.0:
            raise ValueError("limits need 0 < floor <= ceiling <= 1")
        if not (self.step > 0.0 and self.grid > 0.0 and 0.0 < self.reviewer_share <= 1.0):
            raise ValueError("limits need a step, a grid and a reviewer's share above 0")
        if not self.candidates():
            raise ValueError("limits leave no candidate on the grid between floor and ceiling")

    def candidates(self) -> list[float]:
        """The lines that may be chosen, rising; the same whatever the labels say, on which the guarantee rests."""
        first, last = math.ceil(self.floor / self.grid - 1e-9), math.floor(self.ceiling / self.grid + 1e-9)
        return [round(place * self.grid, 9) for place in range(first, last + 1)]

    def within(self, line: float) -> float:
        """The line, or the floor or ceiling that it is beyond."""
        return min(max(line, self.floor), self.ceiling)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric at `line`: `events` of `trials`, their ratio (None of no trials) and its exact two-sided interval."""

    line: float
    events: int
    trials: int
    value: float | None
    low: float
    high: float


def estimate(metric: Metric, outcomes: Sequence[Outcome], line: float, flag: float, confidence: float) -> Estimate:
    """The metric were `line` the flag line, `flag` being the one in force, from outcomes that may speak of it."""
    counts = count(metric, outcomes, line, flag)
    value = counts.events / counts.trials if counts.trials else None
    return Estimate(line, counts.events, counts.trials, value, *interval(counts.events, counts.trials, confidence))


def chance_of_missing(target: Target, outcomes: Sequence[Outcome], line: float, flag: float) -> float:
    """The p-value of 'the target is missed at this line': how likely counts as good as these are if it just is."""
    counts = count(target.metric, outcomes, line, flag)
    if target.metric == "precision":
        return at_least(counts.events, counts.trials, target.bound)
    return at_most(counts.events, counts.trials, target.bound)


def choose(target: Target, outcomes: Sequence[Outcome], limits: Limits, flag: float) -> float | None:
    """The least safe candidate before the first that fails, from the safest on; None where the safest fails.

    Safest is the highest line for FPR and precision, the lowest for FNR. Precision's walk begins at the highest line
    that enough receipts reach, since it would end for want of any at the top; where that is depends on scores, not on
    answers.
    """
    candidates = limits.candidates()
    if target.metric != "fnr":
        candidates = candidates[::-1]
    if target.metric == "precision":
        enough = max(limits.minimum, target.least_trials)
        candidates = [line for line in candidates if count("precision", outcomes, line, flag).trials >= enough]
    chosen = None
    for line in candidates:
        if chance_of_missing(target, outcomes, line, flag) > target.delta:
            break
        chosen = line
    return chosen
