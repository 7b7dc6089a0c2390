"""Principles and the TOML file that holds them.

Owns the form of a constitution and its checks. Refuses to know how a text is held against it. Everything that is wrong
raises ConstitutionInvalid with one sentence that names the principle and the key.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from service.errors import ConstitutionInvalid
from service.taxonomy import CATEGORIES, Action

Means = Literal["classifier", "rules", "truthfulness", "examples"]
Register = Literal["plain", "caring", "firm", "factual"]

THEMES = ("harm", "truthfulness", "fairness", "autonomy", "privacy", "limits", "dignity", "own")
MOST_PRINCIPLES = 128
MOST_EXAMPLES = 64  # of each kind
MOST_CHARS = 1_000  # of a statement, a request or an example
LEAST_EXAMPLES = 2  # of each kind, for the evaluator that lives on them
DEFAULT_LINE = 0.5
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_BY_SEVERITY = {1: Action.FLAG, 2: Action.FLAG, 3: Action.FLAG, 4: Action.REVIEW, 5: Action.BLOCK}


@dataclass(frozen=True, slots=True)
class Principle:
    """One rule in words. A text violates it from `line` on, and then calls for `action`.

    Where `means` is the classifier, the policy's own lines for its categories decide instead. `instead` says what would
    be fine; `critique` and `revision` are what a judge is asked to do; `register` is the tone of a refusal.
    """

    id: str
    theme: str
    statement: str
    severity: int
    means: tuple[Means, ...]
    categories: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    line: float = DEFAULT_LINE
    action: Action = Action.FLAG
    instead: str = ""
    critique: str = ""
    revision: str = ""
    register: Register = "plain"
    violates: tuple[str, ...] = ()
    complies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Constitution:
    """Principles in the order of their file. `digest` names this very content."""

    name: str
    digest: str
    principles: tuple[Principle, ...]

    def get(self, principle: str) -> Principle | None:
        """The principle of that id."""
        return next((one for one in self.principles if one.id == principle), None)


_KEYS = frozenset(Principle.__dataclass_fields__)


def load_constitution(path: Path, detectors: Mapping[str, str]) -> Constitution:
    """Read and check a file; `detectors` maps the name of each detector to the means that it belongs to."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConstitutionInvalid(f"{path.name} cannot be read") from error
    except ValueError as error:
        raise ConstitutionInvalid(f"{path.name} is not TOML: {error}") from error
    if set(document) != {"principles"} or not isinstance(document["principles"], list):
        raise ConstitutionInvalid(f"{path.name}: a constitution is a list of [[principles]] and nothing else")
    if not 0 < len(document["principles"]) <= MOST_PRINCIPLES:
        raise ConstitutionInvalid(f"{path.name}: there must be 1 to {MOST_PRINCIPLES} principles")
    principles = tuple(_principle(n, entry, detectors) for n, entry in enumerate(document["principles"]))
    ids = [principle.id for principle in principles]
    twice = next((name for name in ids if ids.count(name) > 1), None)
    if twice is not None:
        raise ConstitutionInvalid(f"principle {twice}: there are two of that id")
    content = json.dumps([asdict(principle) for principle in principles], sort_keys=True)
    return Constitution(path.stem, hashlib.sha256(content.encode()).hexdigest(), principles)


def _principle(number: int, entry: object, detectors: Mapping[str, str]) -> Principle:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str) or not _ID.fullmatch(entry["id"]):
        raise ConstitutionInvalid(f"principle {number + 1}: it needs an id of small letters, digits and hyphens")
    where = f"principle {entry['id']}"
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        raise ConstitutionInvalid(f"{where}: {unknown[0]!r} is not a key; there are {', '.join(sorted(_KEYS))}")
    severity = entry.get("severity", 2)
    if type(severity) is not int or severity not in _BY_SEVERITY:
        raise ConstitutionInvalid(f"{where}: severity must be a whole number from 1 to 5")
    line = entry.get("line", DEFAULT_LINE)
    if type(line) not in (int, float) or not 0.0 < line <= 1.0:
        raise ConstitutionInvalid(f"{where}: line must be a number over 0 and at most 1")
    principle = Principle(
        id=entry["id"],
        theme=_one_of(where, "theme", entry.get("theme", "own"), THEMES),
        statement=_text(where, "statement", entry.get("statement"), needed=True),
        severity=severity,
        means=tuple(_one_of(where, "means", name, get_args(Means)) for name in _texts(where, "means", entry)),
        categories=tuple(_one_of(where, "categories", name, CATEGORIES) for name in _texts(where, "categories", entry)),
        detectors=tuple(_one_of(where, "detectors", name, detectors) for name in _texts(where, "detectors", entry)),
        line=float(line),
        action=_action(where, entry.get("action"), severity),
        instead=_text(where, "instead", entry.get("instead", "")),
        critique=_text(where, "critique", entry.get("critique", "")),
        revision=_text(where, "revision", entry.get("revision", "")),
        register=_one_of(where, "register", entry.get("register", "plain"), get_args(Register)),
        violates=_texts(where, "violates", entry),
        complies=_texts(where, "complies", entry),
    )
    _check_means(where, principle, detectors)
    return principle


def _check_means(where: str, principle: Principle, detectors: Mapping[str, str]) -> None:
    """Refuse a principle that could never be violated, or one whose examples or detectors nobody reads."""
    if not principle.means:
        raise ConstitutionInvalid(f"{where}: means must name at least one of {', '.join(get_args(Means))}")
    if "classifier" in principle.means and not principle.categories:
        raise ConstitutionInvalid(f"{where}: the classifier needs categories")
    least = min(len(principle.violates), len(principle.complies))
    if "examples" in principle.means and least < LEAST_EXAMPLES:
        raise ConstitutionInvalid(f"{where}: it needs at least {LEAST_EXAMPLES} examples of each kind")
    for means in ("rules", "truthfulness"):
        if (means in principle.means) != any(detectors[name] == means for name in principle.detectors):
            raise ConstitutionInvalid(f"{where}: means and detectors must both name {means}, or neither")


def _one_of(where: str, key: str, value: object, known: Any) -> Any:
    if not isinstance(value, str) or value not in known:
        raise ConstitutionInvalid(f"{where}: {key} must be one of {', '.join(known)}")
    return value


def _text(where: str, key: str, value: object, *, needed: bool = False) -> str:
    if not isinstance(value, str) or len(value) > MOST_CHARS or (needed and not value.strip()):
        raise ConstitutionInvalid(f"{where}: {key} must be a text of at most {MOST_CHARS} characters")
    return value


def _texts(where: str, key: str, entry: Mapping[str, object]) -> tuple[str, ...]:
    values = entry.get(key, [])
    if not isinstance(values, list) or len(values) > MOST_EXAMPLES:
        raise ConstitutionInvalid(f"{where}: {key} must be a list of at most {MOST_EXAMPLES}")
    return tuple(_text(where, key, value, needed=True) for value in values)


def _action(where: str, name: object, severity: int) -> Action:
    if name is None:
        return _BY_SEVERITY[severity]
    for action in Action:
        if action.wire == name:
            return action
    raise ConstitutionInvalid(f"{where}: action must be one of {', '.join(a.wire for a in Action)}")
