"""A principle as a direction in the encoder's inner space, made of its statement and a few examples.

Owns how examples become a direction, and a sentence's place along it a score. Refuses to know files and models.
No training: a new principle works as soon as it is read, and says how well by leaving each of its examples out.

The method (chosen on models/principles/tuning.toml, measured once on novel.toml): sentences are centred on ordinary
ones and set to unit length per layer; the direction is the mean of what violates less the mean of what complies (a
nearest-mean rule, Snell et al. 2017), plus what the two differ in over unrelated rules (doing it, as against speaking
of it), plus a little of the statement. What resembles no violating example at all is pulled down.
Shapes: N sentences, L layers, H hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from service.constitution.reading import Vectors

STATEMENT_SHARE = 0.15
RELATED_FROM = 0.1  # mean cosine with the violating examples below which a sentence is of something else
UNRELATED_COST = 4.0  # per unit of cosine that is missing
SLOPE, INTERCEPT = (
    3.5,
    -1.84,
)  # Platt scaling (Platt 1999) over the sentences of tuning.toml and unrelated innocent ones


@dataclass(frozen=True, slots=True)
class Ground:
    """What does not depend on the principle: `centre` and `deed` are (L, H)."""

    centre: Vectors
    deed: Vectors

    @classmethod
    def of(cls, contrasts: Sequence[tuple[Vectors, Vectors]]) -> Self:
        """From pairs of violating and complying sentences, (N, L, H) each, of unrelated rules."""
        centre: Vectors = np.concatenate([part for pair in contrasts for part in pair]).mean(axis=0)
        made = cls(centre, np.zeros_like(centre))
        deeds = [made.place(violating).mean(0) - made.place(complying).mean(0) for violating, complying in contrasts]
        return cls(centre, np.mean(deeds, axis=0))

    def place(self, sentences: Vectors) -> Vectors:
        """Sentences (N, L, H) relative to the centre, each of unit length per layer."""
        moved = sentences - self.centre
        placed: Vectors = moved / np.maximum(np.linalg.norm(moved, axis=-1, keepdims=True), 1e-6)
        return placed


@dataclass(frozen=True, slots=True)
class Direction:
    """A principle, ready to score. `along` and `matter` are (L, H)."""

    along: Vectors
    matter: Vectors

    @classmethod
    def of(cls, ground: Ground, statement: Vectors, violates: Vectors, complies: Vectors) -> Self:
        """From placed examples (N, L, H) and a placed statement (L, H)."""
        matter: Vectors = violates.mean(axis=0)
        return cls(matter - complies.mean(axis=0) + ground.deed + STATEMENT_SHARE * statement, matter)

    def scores(self, placed: Vectors) -> list[float]:
        """Per placed sentence (N, L, H), how likely it violates the principle, 0 to 1."""
        layers = placed.shape[1]
        along = np.einsum("nlh,lh->n", placed, self.along)
        related = np.einsum("nlh,lh->n", placed, self.matter) / layers
        logits = SLOPE * (along - UNRELATED_COST * np.maximum(0.0, RELATED_FROM - related)) + INTERCEPT
        return [1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, logit)))) for logit in logits.tolist()]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well examples are told apart when each is left out: `right` of `asked` pairs of violating and complying."""

    right: float
    asked: int

    @property
    def auroc(self) -> float:
        """The share of pairs in the right order."""
        return self.right / self.asked if self.asked else 0.5


def leave_one_out(ground: Ground, statement: Vectors, violates: Vectors, complies: Vectors) -> Accuracy:
    """Every pair of a violating and a complying example, each time judged by a direction made without both."""
    right, asked = 0.0, 0
    if len(violates) < 2 or len(complies) < 2:
        return Accuracy(0.0, 0)
    for v in range(len(violates)):
        for c in range(len(complies)):
            others = Direction.of(ground, statement, np.delete(violates, v, 0), np.delete(complies, c, 0))
            above, below = others.scores(np.stack([violates[v], complies[c]]))
            right += 1.0 if above > below else 0.5 if above == below else 0.0
            asked += 1
    return Accuracy(right, asked)
