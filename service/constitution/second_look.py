"""A second look at a text whose foremost category stands close to its line: all heads together instead of one.

Owns how the heads' log-odds become one. Refuses to know policies. A head says how likely its own category is; whether
a text is harmful at all is said by all of them: a little of several kinds is worse than as much of one. Weights were
fitted on rows that the model was not trained on and that were in doubt (models/second_look.py); they belong to one
artefact, and another artefact has no second look until they are fitted again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from service.constitution.doubt import log_odds
from service.errors import ConstitutionInvalid
from service.taxonomy import CATEGORIES
from service.types import Scores

MOST_LOG_ODDS = 8.0  # of one head; beyond it a head says no more than that it is sure
MOST_SHIFT = 2.5  # log-odds by which a second look may move a score


@dataclass(frozen=True, slots=True)
class SecondLook:
    """A weight per category; the sum is 0 where the balanced preset's flag lines would be."""

    intercept: float
    weights: Mapping[str, float]

    def shift(self, scores: Scores, margin: float) -> float:
        """By how much to move the log-odds of every harm; `margin` is the foremost's log-odds over its flag line."""
        total = self.intercept
        for name, weight in self.weights.items():
            total += weight * max(-MOST_LOG_ODDS, min(MOST_LOG_ODDS, log_odds(scores[name])))
        return max(-MOST_SHIFT, min(MOST_SHIFT, total - margin))


def load_second_look(path: Path, artifact_digest: str) -> SecondLook | None:
    """The weights for this artefact, or None where they were fitted for another."""
    try:
        document = json.loads(path.read_bytes())
        if document["artifact"] != artifact_digest:
            return None
        return SecondLook(float(document["intercept"]), {name: float(document["weights"][name]) for name in CATEGORIES})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConstitutionInvalid(f"{path.name} cannot be read") from error
