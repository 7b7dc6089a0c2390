"""A text as the encoder sees it: one row of inner states per sentence, with the sentence's place.

Owns that shape. Refuses to know which encoder made it and what is looked for in it.
Shapes: S sentences, L layers, H hidden units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from service.types import Span

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reading:
    """`vectors` is (S, L, H), the mean over each sentence's tokens; `spans` has the S places in the text."""

    vectors: Vectors
    spans: tuple[Span, ...]

    @classmethod
    def empty(cls) -> Self:
        """A text of which the encoder knows no token."""
        return cls(np.zeros((0, 1, 1), dtype=np.float32), ())

    @property
    def whole(self) -> Vectors:
        """The mean over the sentences, (L, H)."""
        mean: Vectors = self.vectors.mean(axis=0)
        return mean

    @property
    def direction(self) -> Vectors:
        """Which way the text as a whole lies, (H,): sentences count by length, layers alike."""
        lengths = np.array([span.end - span.start for span in self.spans], dtype=np.float32)
        means = np.tensordot(lengths / max(float(lengths.sum()), 1.0), self.vectors, axes=1)
        layers: Vectors = means / np.maximum(np.linalg.norm(means, axis=-1, keepdims=True), 1e-6)
        direction: Vectors = layers.mean(axis=0)
        return direction


class Reader(Protocol):
    """Reads texts with the shipped encoder."""

    @property
    def version(self) -> str:
        """The artefact's name and digest: vectors of two versions must not be compared."""
        ...

    async def read(self, text: str, scope: str | None = "") -> Reading:
        """`scope` is as for a Scorer. Raises Overloaded and ScorerFailed."""
        ...
