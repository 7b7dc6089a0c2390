"""Goals of adaptation from the `adapt` tables of policy files.

Owns the file form of targets and limits. Refuses to know how they are met. Everything that is wrong raises
PolicyInvalid with one sentence.

A policy's own `adapt` table is laid over the one of `defaults`: key by key, and targets category by category. The
target `"*"` is for every category that has none of its own and is not fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from service.errors import PolicyInvalid
from service.feedback.goals import DAYS, Goals
from service.feedback.targets import Limits, Target
from service.policy_files import read_tables
from service.taxonomy import CATEGORIES

EVERY = "*"
_LIMITS = {field.name: field.type for field in fields(Limits)}
_KEYS = {"targets", "fixed", "days", *_LIMITS}
_METRICS = ("fpr", "fnr", "precision")


def load_goals(path: Path, folder: Path | None) -> dict[str, Goals]:
    """The goals of every policy."""
    entries, defaults = read_tables(path, folder)
    shared = defaults.get("adapt", {})
    tables = {name: _laid_over(name, shared, entry.get("adapt", {})) for name, entry in entries.items()}
    return {name: parse_goals(name, table) for name, table in tables.items()}


def _laid_over(name: str, shared: object, own: object) -> dict[str, Any]:
    if not isinstance(shared, dict) or not isinstance(own, dict):
        raise PolicyInvalid(f"policy {name}: adapt is a table")
    targets: dict[str, Any] = {}
    for table in (shared, own):
        given = table.get("targets", {})
        if not isinstance(given, dict):
            raise PolicyInvalid(f"policy {name}: adapt.targets is a table")
        targets |= given
    return {**shared, **own, "targets": targets}


def parse_goals(name: str, table: Mapping[str, Any]) -> Goals:
    """The goals of one policy's table."""
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise PolicyInvalid(f"policy {name}: adapt has no key {unknown[0]!r}; there are {', '.join(sorted(_KEYS))}")
    fixed = table.get("fixed", [])
    if not isinstance(fixed, list) or not set(fixed) <= set(CATEGORIES):
        raise PolicyInvalid(f"policy {name}: adapt.fixed is a list of categories")
    targets = {category: _target(name, category, entry) for category, entry in table["targets"].items()}
    every = targets.pop(EVERY, None)
    if every is not None:
        targets = {category: targets.get(category, every) for category in CATEGORIES if category not in fixed}
    days = table.get("days", DAYS)
    if type(days) is not int or days < 1:
        raise PolicyInvalid(f"policy {name}: adapt.days is a number of days")
    limits = {key: table[key] for key in _LIMITS if key in table}
    try:
        return Goals(targets, frozenset(fixed), Limits(**limits), days)
    except (TypeError, ValueError) as error:
        raise PolicyInvalid(f"policy {name}: {error}") from error


def _target(name: str, category: str, entry: object) -> Target:
    if category != EVERY and category not in CATEGORIES:
        raise PolicyInvalid(f"policy {name}: category {category!r} is not in the taxonomy")
    if not isinstance(entry, dict) or not {"metric", "bound"} <= set(entry) <= {"metric", "bound", "delta"}:
        raise PolicyInvalid(f"policy {name}: the target of {category} has a metric, a bound and perhaps a delta")
    if entry["metric"] not in _METRICS:
        raise PolicyInvalid(f"policy {name}: the target of {category} has a metric of {', '.join(_METRICS)}")
    try:
        return Target(entry["metric"], float(entry["bound"]), float(entry.get("delta", 0.1)))
    except (TypeError, ValueError) as error:
        raise PolicyInvalid(f"policy {name}: {category}: {error}") from error
