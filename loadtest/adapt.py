"""`make bench-adapt`: do thresholds that learn from reviewers keep their promise, also where some reviewers lie?

Owns the simulation: traffic whose truth is known, reviewers who slip, reviewers who lie, and the table. Refuses to
judge: it prints figures and the aims beside them. What decides is the service's own `propose`, with its own limits.

Each run has traffic of its own: scores are a mixture of two beta distributions whose shape differs from run to run
(AUROC some 0.95, 6 to 14 % harmful), calibrated or up to far too high; the first line is too high (half the recall that
can be had) or too low (three times the FPR that is allowed), in turn, so that standing still fails. In eight rounds
reviewers give 2,000 labels: half the receipts are drawn from all traffic, half from what the line of the day holds
back; three in ten get a second reviewer; who answers what is drawn. Honest reviewers err in 1 to 3 % of texts, each at
a rate of their own, twice as often where the score is in the middle. After each round the strategy sees all labels.
The last rows have traffic of which a third is harmful: there honest slips alone look like false positives.

Columns: `violations`, runs whose last line has a true FPR above the target; `ever`, runs in which some proposal that
claimed to meet the target did not, at any of the eight looks; `recall gap`, points of recall below the oracle's line,
whose FPR is exactly the target (0 where it is above, as it is in violation), mean and 90th percentile; `unmoved`, runs
that end on their first line; `named` liars and `wrongly` named honest reviewers a run.

    python -m loadtest.adapt [--runs N] [--seed N] [--processes N]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from service.feedback.adaptation import Limits, Strategy, Target, propose
from service.feedback.binomial import beta_inc
from service.feedback.labels import Label
from service.policy import Thresholds
from service.taxonomy import Action

CATEGORY = "toxicity"
TARGET = Target("fpr", 0.05, delta=0.1)
LIMITS = Limits()
REVIEWERS, LABELS, ROUNDS, TWICE, AUDITED = 20, 2_000, 8, 0.3, 0.5

Lie = Callable[[bool, float, bool, float], bool]  # (truth, score, audited, line of the day) -> answer
LIES: dict[str, Lie] = {
    "says the opposite": lambda truth, score, audited, line: not truth,
    "calls all innocent": lambda truth, score, audited, line: False,
    "calls all harmful": lambda truth, score, audited, line: True,
    "backs all that is held back": lambda truth, score, audited, line: truth or score >= line,
    "clears all that is held back": lambda truth, score, audited, line: truth and score < line,
    "backs audited ones held back": lambda truth, score, audited, line: truth or (audited and score >= line),
}
QUIET: dict[str, Lie] = {  # lies about every other text only, the same ones whoever tells them
    "every other time the opposite": lambda truth, score, audited, line: truth is not _even(score),
    "backs half of what is held back": lambda truth, score, audited, line: truth or (score >= line and _even(score)),
}


def _even(score: float) -> bool:
    return int(score * 1e6) % 2 == 0


@dataclass(frozen=True, slots=True)
class Traffic:
    """A mixture of Beta(a, b) with P(harmful | x) = x, of which the model reports x ** power: too high where power < 1.

    So the harmful texts are a mixture of Beta(a + 1, b) and the innocent ones of Beta(a, b + 1), whose tails are known.
    """

    parts: tuple[tuple[float, float, float], ...]  # (weight, a, b)
    power: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, heavy: bool) -> Traffic:
        """Traffic of one run: most texts score near 0, a tenth, or where it is heavy nearly half, spread above that."""
        clear = rng.uniform(0.5, 0.6) if heavy else rng.uniform(0.86, 0.94)
        low = (clear, rng.uniform(0.25, 0.35), rng.uniform(9.0, 11.0))
        return cls((low, (1.0 - clear, rng.uniform(2.5, 3.5), rng.uniform(1.0, 1.4))), rng.uniform(0.3, 1.0))

    def above(self, line: float, *, harmful: bool) -> float:
        """The share of harmful, or of innocent, texts that score at least `line`: recall, or FPR."""
        tail = total = 0.0
        for weight, a, b in self.parts:
            share = weight * (a if harmful else b) / (a + b)
            total += share
            tail += share * (1.0 - beta_inc(a + harmful, b + (not harmful), line ** (1.0 / self.power)))
        return tail / total

    def line(self, share: float, *, harmful: bool) -> float:
        """The line that this share of harmful, or of innocent, texts reaches."""
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2.0
            low, high = (middle, high) if self.above(middle, harmful=harmful) > share else (low, middle)
        return high

    def draw(self, count: int, rng: np.random.Generator, line: float = 0.0) -> list[tuple[float, bool]]:
        """Score and truth of `count` texts that score at least `line`."""
        weights, a, b = np.array(self.parts).T
        found: list[tuple[float, bool]] = []
        while len(found) < count:
            part = rng.choice(len(weights), 1000, p=weights)
            raw = rng.beta(a[part], b[part])
            scores = raw**self.power
            kept = scores >= line
            found += zip(scores[kept].tolist(), (rng.random(1000) < raw)[kept].tolist(), strict=True)
        return found[:count]


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table: who decides, how many reviewers tell which lie, and whether much of the traffic is harm."""

    strategy: Strategy
    liars: int = 0
    lie: str = ""
    heavy: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one run; `gap` is the oracle's recall less the line's own, 0 at least; the rest as in the table."""

    violated: bool
    ever: bool
    gap: float
    moved: bool
    named: int
    wrongly: int


def labels_of_round(
    number: int, traffic: Traffic, line: float, slips: np.ndarray, setting: Setting, rng: np.random.Generator
) -> list[Label]:
    """The answers of one round, LABELS / ROUNDS of them."""
    receipts = round(LABELS / ROUNDS / (1.0 + TWICE))
    audits = round(receipts * AUDITED)
    texts = traffic.draw(audits, rng) + traffic.draw(receipts - audits, rng, line)
    found = []
    for place, (score, truth) in enumerate(texts):
        audited = place < audits
        action = Action.FLAG if score >= line else Action.ALLOW
        twice = 1 + (rng.random() < TWICE)
        for reviewer in rng.permutation(REVIEWERS)[:twice].tolist():
            if reviewer < setting.liars:
                answer = (LIES | QUIET)[setting.lie](truth, score, audited, line)
            else:
                slip = slips[reviewer] * (2.0 if 0.2 < score < 0.8 else 1.0)
                answer = truth is not bool(rng.random() < slip)
            name, receipt = f"reviewer {reviewer:02}", f"{number}-{place}"
            found.append(Label(receipt, CATEGORY, score, action, audited, 0.01, answer, name, float(number)))
    return found


def run(setting: Setting, seed: int) -> Run:
    """One run of ROUNDS rounds; seeds are the same for every setting, so that all see the same traffic."""
    rng = np.random.default_rng(seed)
    traffic = Traffic.drawn(rng, setting.heavy)
    slips = rng.uniform(0.01, 0.03, REVIEWERS)
    oracle = traffic.line(TARGET.bound, harmful=False)
    best = traffic.above(oracle, harmful=True)
    first = traffic.line(3 * TARGET.bound, harmful=False) if seed % 2 else traffic.line(best / 2.0, harmful=True)
    lines = {CATEGORY: Thresholds(first, min(1.0, first + 0.2), 1.0)}
    labels: list[Label] = []
    ever = False
    for number in range(ROUNDS):
        labels += labels_of_round(number, traffic, lines[CATEGORY].flag, slips, setting, rng)
        proposal = propose(labels, lines, {CATEGORY: TARGET}, LIMITS, strategy=setting.strategy)
        lines, found = proposal.lines, proposal.categories[CATEGORY]
        line = found.new.flag
        violated = traffic.above(line, harmful=False) > TARGET.bound
        ever |= violated and found.reason in ("moved", "unchanged")
    gap = best - traffic.above(line, harmful=True)
    lying = sum(int(name.split()[1]) < setting.liars for name in found.out_of_line)
    return Run(violated, ever, max(0.0, gap), line != first, lying, len(found.out_of_line) - lying)


def settings() -> list[Setting]:
    """Every row: honest, one liar, five who tell the same lie; each for both strategies where that says something."""
    both: tuple[Strategy, Strategy] = ("learn-then-test", "field-rule")
    rows = [Setting(strategy) for strategy in both]
    rows += [Setting("learn-then-test", liars, lie) for liars in (1, 5) for lie in LIES]
    rows += [Setting("learn-then-test", 5, lie) for lie in QUIET]
    rows += [Setting("field-rule", 5, lie) for lie in ("says the opposite", "backs all that is held back")]
    rows += [Setting(strategy, heavy=True) for strategy in both]
    return rows


def main() -> None:
    """Command line of the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="runs of each row")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    begun = time.perf_counter()
    columns = ("violations", "ever", "recall gap", "p90", "unmoved", "named", "wrongly")
    print(f"{'strategy':<17}{'reviewers':<40}" + "".join(f"{column:>12}" for column in columns))
    with ProcessPoolExecutor(options.processes) as pool:
        for setting in settings():
            seeds = range(options.seed, options.seed + options.runs)
            print(row(setting, list(pool.map(partial(run, setting), seeds, chunksize=5))), flush=True)
    delta = 100 * TARGET.delta
    print(f"aims: honest, violations {delta:.0f}% and a gap of 5; with liars {2 * delta:.0f}% and 15; none unmoved")
    print(f"{options.runs} runs a row, target FPR {TARGET.bound}, {time.perf_counter() - begun:.0f} s")


def row(setting: Setting, runs: list[Run]) -> str:
    """One line of the table."""
    who = f"{setting.liars} of {REVIEWERS} {setting.lie}" if setting.liars else "honest"
    who += ", a third of texts harmful" if setting.heavy else ""
    gaps = [100.0 * run.gap for run in runs]
    cells = (
        f"{100 * np.mean([run.violated for run in runs]):.1f}%",
        f"{100 * np.mean([run.ever for run in runs]):.1f}%",
        f"{np.mean(gaps):.1f}",
        f"{np.quantile(gaps, 0.9):.1f}",
        f"{sum(not run.moved for run in runs)}",
        f"{np.mean([run.named for run in runs]):.2f}",
        f"{np.mean([run.wrongly for run in runs]):.2f}",
    )
    return f"{setting.strategy:<17}{who:<40}" + "".join(f"{cell:>12}" for cell in cells)


if __name__ == "__main__":
    main()
