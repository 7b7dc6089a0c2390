"""Whose answers count. Pure: labels in, a standing for each reviewer out.

Owns who is admitted, and the cap on one reviewer's share. Refuses to know lines, targets and counts. It never scales an
answer: a reviewer is in or out.

Two kinds of evidence, each taken in both directions (calls harmful what others call innocent, or the reverse), because
a lie has a direction and a slip has none:

- Second looks: receipts that another admitted reviewer answered too. Conflicts in one direction are held against the
  rate at which the others run into them, by an exact binomial tail.
- Peers: answers beside all other answers at about the same scores, whether or not the receipts are the same. That is
  strong, for it uses every label; but a reviewer may simply see another queue. So it convicts nobody alone: it lowers
  what second looks must show.

The reviewer who stands out most goes first, then all are judged anew without their answers, since a liar's conflicts
weigh on honest partners too; at the end each one dropped is judged once more, against those who stayed. That finds any
minority, also one that agrees among itself; where half would have to go nobody can tell who lies, and `split` says so.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from service.feedback.binomial import at_least
from service.feedback.labels import Label
from service.feedback.outcomes import latest

Verdict = Literal["admitted", "unproven", "out_of_line"]
OUT_OF_LINE = 0.0003  # chance of an honest reviewer's evidence in one direction at which one is out
PEERS_AT_MOST = 0.0015  # what peers may contribute to it: then second looks must still show less than 0.2
LEAST_USUAL, MOST_USUAL = 0.02, 0.1  # rates of conflicts in one direction that pass as honest: however few or many
# the others have; without the upper one, reviewers who lie in numbers would make conflict look usual
BINS = 10  # of the score, within which peers are compared


@dataclass(frozen=True, slots=True)
class Standing:
    """What is made of one reviewer, measured against the admitted others.

    `labels` receipts were answered; `shared` answers of others stand beside theirs; in `harsher` of these they alone
    said harmful, in `milder` innocent. `chance` is how likely an honest reviewer is to have as many conflicts in the
    direction in which they have too many; `peers` the distance from others' answers at the same scores, in
    standard deviations, above 0 if harsher.
    """

    reviewer: str
    verdict: Verdict
    labels: int
    shared: int
    harsher: int
    milder: int
    chance: float
    peers: float


@dataclass(frozen=True, slots=True)
class Trust:
    """Everybody's standing by name. `split`: the ones out of line are no minority, so nobody is believed or named."""

    standings: Mapping[str, Standing]
    split: bool

    def named(self, verdict: Verdict) -> tuple[str, ...]:
        """The reviewers of that standing, in order."""
        return tuple(sorted(name for name, standing in self.standings.items() if standing.verdict == verdict))


def judge(labels: Iterable[Label], shared: int) -> Trust:
    """The standing of every reviewer among labels of one category; `shared` answers beside others' admit one."""
    answers = _Answers(latest(labels))
    everyone = sorted(answers.of)
    active, dropped = set(everyone), list[str]()
    while suspects := {name: case for name, case in answers.cases(active, active).items() if case.out_of_line}:
        worst = min(suspects, key=lambda name: (suspects[name].chance, -abs(suspects[name].peers), name))
        active.discard(worst)
        dropped.append(worst)
    active |= {name for name, case in answers.cases(dropped, active).items() if not case.out_of_line}
    split = 2 * (len(everyone) - len(active)) >= len(everyone) > 1
    if split:  # then it is chance which side was dropped, and nobody is named
        active = set(everyone)
    standings = {}
    for name, case in answers.cases(everyone, active).items():
        verdict: Verdict = "admitted" if name in active else "out_of_line"
        if split or (name in active and case.shared < shared):
            verdict = "unproven"
        counts = case.shared, case.harsher, case.milder
        standings[name] = Standing(name, verdict, len(answers.of[name]), *counts, case.chance, case.peers)
    return Trust(standings, split)


def cap(labels: Iterable[Label], share: float) -> list[Label]:
    """The labels without what any reviewer has beyond `share` of all that stay.

    Which of theirs stay is drawn by a hash of receipt and reviewer, so that what they answered has no part in it. With
    fewer than 1 / share reviewers nobody can stay within the share, and nothing is left.
    """
    of: dict[str, list[Label]] = defaultdict(list)
    for label in labels:
        of[label.reviewer].append(label)
    fewest, most = 0, max(map(len, of.values()), default=0)
    while fewest < most:  # whatever keeps within the share still does with less, so halving finds the most that does
        middle = (fewest + most + 1) // 2
        if middle <= share * sum(min(len(given), middle) for given in of.values()) + 1e-9:
            fewest = middle
        else:
            most = middle - 1
    kept = []
    for name in sorted(of):
        kept.extend(sorted(of[name], key=_lot)[:most])
    return kept


def _lot(label: Label) -> tuple[bytes, str]:
    return hashlib.blake2b(f"{label.receipt}\0{label.reviewer}".encode(), digest_size=8).digest(), label.receipt


@dataclass(frozen=True, slots=True)
class _Case:
    """The evidence on one reviewer: second looks, and the chance that an honest one has as many conflicts."""

    shared: int
    harsher: int
    milder: int
    chance_harsher: float
    chance_milder: float
    peers: float

    @property
    def chance(self) -> float:
        """Of an honest reviewer's standing out as much, in the more damning direction."""
        return min(_both(self.chance_harsher, self.peers), _both(self.chance_milder, -self.peers))

    @property
    def out_of_line(self) -> bool:
        return self.chance <= OUT_OF_LINE


def _both(chance: float, beyond_peers: float) -> float:
    """The chance by second looks, times how far peers make it less likely still."""
    tail = math.erfc(max(0.0, beyond_peers) / math.sqrt(2.0))  # two-sided, so 1 where peers say nothing
    return chance * max(tail, PEERS_AT_MOST)


class _Answers:
    """Labels by reviewer and by receipt, to be asked again and again with fewer reviewers."""

    def __init__(self, labels: Sequence[Label]) -> None:
        self.of: dict[str, list[Label]] = defaultdict(list)
        beside: dict[str, list[Label]] = defaultdict(list)
        for label in labels:
            self.of[label.reviewer].append(label)
            beside[label.receipt].append(label)
        # (one, other) -> how often the one stands beside the other, alone says harmful, alone says innocent
        self.looks: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        for given in beside.values():
            for one in given:
                for other in given:
                    if one.reviewer != other.reviewer:
                        look = self.looks[one.reviewer, other.reviewer]
                        look[0] += 1
                        look[1] += one.harmful > other.harmful
                        look[2] += one.harmful < other.harmful
        self.bins = {name: _binned(given) for name, given in self.of.items()}

    def cases(self, names: Collection[str], active: Collection[str]) -> dict[str, _Case]:
        """The evidence on each of the names, against those who are active, apart from that one."""
        rows = {name: [0, 0, 0] for name in {*names, *active}}
        for (one, other), look in self.looks.items():
            if one in rows and other in active:
                rows[one] = [a + b for a, b in zip(rows[one], look, strict=True)]
        looks, conflicts = (sum(rows[name][place] for name in active) for place in (0, 1))
        everyone = [_add(bins) for bins in zip(*(self.bins[name] for name in active), strict=True)] or [(0, 0)] * BINS
        found = {}
        for name in sorted(names):
            shared, harsher, milder = rows[name]
            own, part = self.bins[name], name in active  # an active one's own answers are no measure of them
            usual = (conflicts - part * (harsher + milder) + 1.0) / (looks - part * 2 * shared + 2.0)
            usual = min(max(usual, LEAST_USUAL), MOST_USUAL)
            rest = [(h - part * a, n - part * b) for (h, n), (a, b) in zip(everyone, own, strict=True)]
            chances = _chance(harsher, shared, usual), _chance(milder, shared, usual)
            found[name] = _Case(shared, harsher, milder, *chances, _distance(own, rest))
        return found


def _chance(conflicts: int, shared: int, usual: float) -> float:
    """Of an honest reviewer's having as many conflicts; no more than is usual is no evidence at all."""
    return at_least(conflicts, shared, usual) if conflicts > shared * usual else 1.0


def _add(bins: Iterable[tuple[int, int]]) -> tuple[int, int]:
    harmful, total = zip(*bins, strict=True)
    return sum(harmful), sum(total)


def _binned(labels: Iterable[Label]) -> list[tuple[int, int]]:
    """Per bin of the score: how many were called harmful, of how many."""
    bins = [(0, 0)] * BINS
    for label in labels:
        place = min(BINS - 1, int(label.score * BINS))
        bins[place] = bins[place][0] + label.harmful, bins[place][1] + 1
    return bins


def _distance(own: Sequence[tuple[int, int]], rest: Sequence[tuple[int, int]]) -> float:
    """How far the own calls of harmful are above what the rest's rates make of the same scores, in deviations."""
    surplus = variance = 0.0
    for (harmful, count), (others_harmful, others) in zip(own, rest, strict=True):
        if count and others:
            usual = (others_harmful + 0.5) / (others + 1.0)
            surplus += harmful - count * usual
            variance += count * usual * (1.0 - usual) * (1.0 + count / others)
    return surplus / math.sqrt(variance) if variance else 0.0
