"""How many verdicts had which score: the denominators that feedback lacks, counted without any text.

Owns the bins, the counting of every verdict and what is read out of the counts. Refuses to know receipts, stores and
thresholds. A process counts in memory and hands its counts over each second; until they are acknowledged they stay one
numbered flush, so that none is lost and none is counted twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from service.records import Cell
from service.taxonomy import CATEGORIES, Action
from service.types import Verdict

BINS = 200  # of the score, 0.005 wide
EVERY = "*"  # in a cell's category: the verdict as a whole, by its action
DRAFT = "draft:"  # with its token in a cell's category: bin is the live action, action the draft's
_ACTIONS = len(Action)
_NAMES = tuple(CATEGORIES)

# Bins of the stability index: scores of harmless texts crowd at 0, so equal ones would hold everything in the first.
DRIFT_EDGES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
DRIFT_LEAST = 200  # verdicts on either side; fewer say nothing


class Traffic:
    """Counts of one process that nobody has taken over yet."""

    def __init__(self) -> None:
        self._tables: dict[tuple[str, str, bool], dict[int, int]] = {}
        self._others: dict[tuple[str, str, bool, str, int, int], int] = {}
        self._pending: tuple[int, dict[Cell, int]] | None = None
        self._flushes = 0

    def note(self, verdict: Verdict) -> None:
        """Count a verdict that no stage is missing from."""
        key = (verdict.policy, verdict.model, verdict.audit)
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = {}
        start = 0
        for judgement in verdict.judgements:
            place = start + min(int(judgement.score * BINS), BINS - 1) * _ACTIONS + judgement.action
            table[place] = table.get(place, 0) + 1
            start += BINS * _ACTIONS
        table[start + verdict.action] = table.get(start + verdict.action, 0) + 1

    def compare(self, verdict: Verdict, beside: str, action: Action) -> None:
        """Count what a draft of lines or a draft model, by its name in cells, would have done instead."""
        pair = (verdict.policy, verdict.model, verdict.audit, beside, int(verdict.action), int(action))
        self._others[pair] = self._others.get(pair, 0) + 1

    def flush(self, day: int) -> tuple[int, Mapping[Cell, int]] | None:
        """The flush to hand over, and its number: the one that was not acknowledged, else what was counted since."""
        if self._pending is None and (self._tables or self._others):
            self._flushes += 1
            self._pending = self._flushes, self._cells(day)
            self._tables, self._others = {}, {}
        return self._pending

    def acknowledge(self, flush: int) -> None:
        """Forget a flush that is kept elsewhere now."""
        if self._pending is not None and self._pending[0] == flush:
            self._pending = None

    def _cells(self, day: int) -> dict[Cell, int]:
        cells: dict[Cell, int] = {}
        for (policy, artifact, audited), table in self._tables.items():
            for place, n in table.items():
                category, rest = divmod(place, BINS * _ACTIONS)
                number, action = divmod(rest, _ACTIONS)
                name = _NAMES[category] if category < len(_NAMES) else EVERY
                cells[Cell(policy, artifact, day, name, number, action, audited)] = n
        for (policy, artifact, audited, name, live, draft), n in self._others.items():
            cells[Cell(policy, artifact, day, name, live, draft, audited)] = n
        return cells


def histogram(cells: Mapping[Cell, int]) -> dict[str, list[int]]:
    """Per category the verdicts in each of BINS equal bins of the score."""
    found = {name: [0] * BINS for name in CATEGORIES}
    for cell, n in cells.items():
        if cell.category in found:
            found[cell.category][cell.bin] += n
    return found


def actions(cells: Mapping[Cell, int]) -> dict[Action, int]:
    """How many verdicts had each action."""
    found = dict.fromkeys(Action, 0)
    for cell, n in cells.items():
        if cell.category == EVERY:
            found[Action(cell.action)] += n
    return found


def transitions(cells: Mapping[Cell, int], beside: str) -> dict[tuple[Action, Action], int]:
    """How many verdicts had each pair of a live action and that of what stood beside."""
    found: dict[tuple[Action, Action], int] = {}
    for cell, n in cells.items():
        if cell.category == beside:
            pair = Action(cell.bin), Action(cell.action)
            found[pair] = found.get(pair, 0) + n
    return found


def share_over(counts: Sequence[int], line: float) -> float:
    """The share of scores at or over the line; the bin that the line cuts is split evenly."""
    total = sum(counts)
    if total == 0:
        return 0.0
    place = min(int(line * len(counts)), len(counts) - 1)
    part = min(1.0, max(0.0, place + 1 - line * len(counts)))
    return (sum(counts[place + 1 :]) + part * counts[place]) / total


def drift(before: Sequence[int], now: Sequence[int]) -> float | None:
    """The population stability index of two histograms (0.1: look, 0.25: something changed), None of too few."""
    if min(sum(before), sum(now)) < DRIFT_LEAST:
        return None
    pairs = zip(_shares(before), _shares(now), strict=True)
    return sum((new - old) * math.log(new / old) for old, new in pairs)


def _shares(counts: Sequence[int]) -> list[float]:
    """Shares over the bins of the index, none of them zero."""
    coarse = [0.5] * (len(DRIFT_EDGES) + 1)
    for number, n in enumerate(counts):
        middle = (number + 0.5) / len(counts)
        coarse[sum(edge <= middle for edge in DRIFT_EDGES)] += n
    total = sum(coarse)
    return [n / total for n in coarse]


def split_days(cells: Mapping[Cell, int], day: int) -> tuple[dict[Cell, int], dict[Cell, int]]:
    """The counts of before that day, and of it and after."""
    before = {cell: n for cell, n in cells.items() if cell.day < day}
    return before, {cell: n for cell, n in cells.items() if cell.day >= day}
