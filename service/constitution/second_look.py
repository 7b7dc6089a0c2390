"""A second look at a text in doubt: all heads and the encoder's inner states together, instead of the foremost head.

Owns how they become one number. Refuses to know policies, and how a text is read. A head says how likely its own
category is; whether a text is harmful at all is said by all of them, and by what the text is about and how it speaks.
Weights were fitted on rows near a line that the model was not trained on (models/second_look.py); they belong to one
artefact, and another artefact has no second look until they are fitted again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.constitution.doubt import log_odds
from service.constitution.reading import Reading, Vectors
from service.errors import ConstitutionInvalid
from service.taxonomy import CATEGORIES
from service.types import Scores

MOST_LOG_ODDS = 8.0  # of one head; beyond it a head says no more than that it is sure
MOST_SHIFT = 2.5  # log-odds by which a second look may move a score


@dataclass(frozen=True, slots=True)
class SecondLook:
    """A weight per category and per hidden unit (H,); the sum is 0 where the balanced preset's lines would be."""

    intercept: float
    weights: Mapping[str, float]
    inner: Vectors

    def shift(self, scores: Scores, margin: float, reading: Reading) -> float:
        """By how much to move the log-odds of every harm; `margin` is the foremost's log-odds over its flag line."""
        if not len(reading.spans):  # the encoder knows no word of it
            return 0.0
        total = self.intercept + float(reading.direction @ self.inner)
        for name, weight in self.weights.items():
            total += weight * max(-MOST_LOG_ODDS, min(MOST_LOG_ODDS, log_odds(scores[name])))
        return max(-MOST_SHIFT, min(MOST_SHIFT, total - margin))


def load_second_look(path: Path, artifact_digest: str) -> SecondLook | None:
    """The weights for this artefact, or None where they were fitted for another."""
    try:
        document = json.loads(path.read_bytes())
        if document["artifact"] != artifact_digest:
            return None
        weights = {name: float(document["weights"][name]) for name in CATEGORIES}
        return SecondLook(float(document["intercept"]), weights, np.array(document["inner"], dtype=np.float32))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConstitutionInvalid(f"{path.name} cannot be read") from error
