"""Perspective's attributes as compositions of what a verdict says: `data/perspective.toml`, read and applied.

Owns how evidence becomes an attribute's score, and which names there are. Refuses to know HTTP, thresholds and how a
verdict came about. Scores are probabilities, 0 to 1.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.advert import SIGNS, advert_signs
from service.errors import PolicyInvalid
from service.taxonomy import CATEGORIES
from service.types import Verdict

DEFAULT_ATTRIBUTES = Path(__file__).with_name("data") / "perspective.toml"
EXPERIMENTAL = "_EXPERIMENTAL"
MOST_ODDS = 6.0  # log-odds; beyond, one category would outvote all other evidence (p = 0.0025 and 0.9975)
_KEYS = {"bias", "weights", "truth", "approximates", "same_as"}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One composition. `truth` is the category that a moderator's word on it speaks of, "" for none."""

    name: str
    bias: float
    weights: Mapping[str, float]
    truth: str = ""
    approximates: str = ""

    def score(self, evidence: Mapping[str, float]) -> float:
        """The probability that this evidence makes for."""
        if self.bias == 0.0 and list(self.weights.values()) == [1.0]:
            return _probability(evidence[next(iter(self.weights))])
        odds = sum(weight * _weighable(evidence, key) for key, weight in self.weights.items())
        return _probability(self.bias + odds)


@dataclass(frozen=True, slots=True)
class Attributes:
    """All names: those that are scored, and those that are known and are not."""

    scored: Mapping[str, Attribute]
    unscored: frozenset[str]

    def __contains__(self, name: object) -> bool:
        return name in self.scored or name in self.unscored


def gather(verdict: Verdict, text: str) -> dict[str, float]:
    """The evidence in a verdict and its text: log-odds of categories, 1 for each lexicon rule, signs of advertising."""
    evidence = {judgement.category: _log_odds(judgement.score) for judgement in verdict.judgements}
    evidence |= {finding.reason: 1.0 for finding in verdict.findings if finding.reason.startswith("lexicon:")}
    return evidence | {f"advert:{sign}": strength for sign, strength in advert_signs(text).items()}


def load_attributes(path: Path = DEFAULT_ATTRIBUTES) -> Attributes:
    """Read and check the file; PolicyInvalid says in one sentence what is wrong."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        entries, unscored = raw["attributes"], raw["unscored"]
        scored = {name: _attribute(name, entry, entries) for name, entry in entries.items()}
        endings = {name + EXPERIMENTAL: scored[name] for name in unscored["experimental"]}
        return Attributes({**scored, **endings}, frozenset(unscored["names"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PolicyInvalid(f"{path.name} is not a table of attributes ({type(error).__name__})") from error


def _attribute(name: str, entry: Mapping[str, Any], entries: Mapping[str, Any]) -> Attribute:
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        raise PolicyInvalid(f"attribute {name}: unknown key {unknown[0]!r}")
    entry = {**entries[entry["same_as"]], **entry} if "same_as" in entry else entry
    for key in entry["weights"]:
        kind, _, rest = key.partition(":")
        known = rest in SIGNS if kind == "advert" else kind == "lexicon" or set(key.split("|")) <= set(CATEGORIES)
        if not known:
            raise PolicyInvalid(f"attribute {name}: there is no evidence {key!r}")
    truth = entry.get("truth", "")
    if truth and truth not in CATEGORIES:
        raise PolicyInvalid(f"attribute {name}: category {truth!r} is not in the taxonomy")
    return Attribute(name, float(entry.get("bias", 0.0)), entry["weights"], truth, entry.get("approximates", ""))


def _weighable(evidence: Mapping[str, float], key: str) -> float:
    strongest = max(evidence.get(name, 0.0) for name in key.split("|"))
    return max(-MOST_ODDS, min(MOST_ODDS, strongest))


def _log_odds(score: float) -> float:
    score = max(1e-9, min(1.0 - 1e-9, score))
    return math.log(score / (1.0 - score))


def _probability(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-odds))
