"""Stage one: every principle held against a text directly and cheaply.

Owns which means evaluate a principle, and the accuracy of those made of examples. Refuses to know thresholds of
categories: a principle whose means is the classifier is decided by the policy, and has nothing to compute here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from service.constitution.evidence import Detector, Evidence
from service.constitution.examples import Accuracy, Direction, Ground, leave_one_out
from service.constitution.principles import Constitution, Principle
from service.constitution.reading import Reader, Reading, Vectors
from service.constitution.rules import WORDINGS, WordingDetector
from service.constitution.truthfulness import TRUTHFULNESS

GROUND_EXAMPLES = "examples"
LEAST_SCORE = 0.2  # evidence below says nothing


def all_detectors() -> dict[str, Detector]:
    """Every detector by the name that a constitution calls it."""
    return {**{name: WordingDetector(name) for name in WORDINGS}, **TRUTHFULNESS}


def detector_means() -> dict[str, str]:
    """Which means each detector belongs to, for the check of a file."""
    return {**dict.fromkeys(WORDINGS, "rules"), **dict.fromkeys(TRUTHFULNESS, "truthfulness")}


@dataclass(frozen=True, slots=True)
class Assessment:
    """What stage one saw of one principle in one text."""

    principle: Principle
    evidence: tuple[Evidence, ...]  # strongest first

    @property
    def score(self) -> float:
        """The strongest evidence's."""
        return self.evidence[0].score if self.evidence else 0.0


class DirectEvaluator:
    """One constitution, ready to be held against texts. Immutable; a reload makes another."""

    def __init__(
        self,
        constitution: Constitution,
        ground: Ground,
        directions: Mapping[str, Direction],
        report: Mapping[str, Accuracy],
    ) -> None:
        self.constitution = constitution
        self.accuracy = report
        self._ground = ground
        self._directions = directions
        self._detectors = all_detectors()
        self._used = {name for principle in constitution.principles for name in principle.detectors}

    @classmethod
    async def open(cls, constitution: Constitution, ground: Ground, reader: Reader) -> Self:
        """Read the examples with the encoder, and measure each principle on its own by leaving examples out."""
        directions: dict[str, Direction] = {}
        report: dict[str, Accuracy] = {}
        for principle in constitution.principles:
            if "examples" in principle.means:
                statement = ground.place(await read_all(reader, [principle.statement]))[0]
                violates = ground.place(await read_all(reader, principle.violates))
                complies = ground.place(await read_all(reader, principle.complies))
                directions[principle.id] = Direction.of(ground, statement, violates, complies)
                report[principle.id] = leave_one_out(ground, statement, violates, complies)
        return cls(constitution, ground, directions, report)

    @property
    def needs_reading(self) -> bool:
        """Whether any principle is made of examples."""
        return bool(self._directions)

    def assess(self, text: str, reading: Reading) -> list[Assessment]:
        """Every principle that has evidence in a plain text, in the order of the constitution."""
        seen = {name: self._detectors[name](text) for name in self._used}
        placed = self._ground.place(reading.vectors) if self._directions and len(reading.spans) else None
        found: list[Assessment] = []
        for principle in self.constitution.principles:
            evidence = [one for name in principle.detectors for one in seen[name]]
            if placed is not None and principle.id in self._directions:
                scores = self._directions[principle.id].scores(placed)
                evidence += [
                    Evidence(score, span, GROUND_EXAMPLES) for score, span in zip(scores, reading.spans, strict=True)
                ]
            evidence = sorted((one for one in evidence if one.score >= LEAST_SCORE), key=lambda one: -one.score)
            if evidence:
                found.append(Assessment(principle, tuple(evidence)))
        return found


async def read_all(reader: Reader, texts: Sequence[str]) -> Vectors:
    """Each text as one row of inner states, (N, L, H)."""
    return np.stack([(await reader.read(text)).whole for text in texts])
