"""Policies from TOML and from the presets of the model's manifest.

Owns the file form of a policy. Refuses to know how a policy decides. Everything that is wrong raises PolicyInvalid
with one sentence.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from service.errors import PolicyInvalid
from service.policy import PRESETS, Policy, PolicyBook, Thresholds, check_thresholds, name_version
from service.stream_rules import read_rules
from service.taxonomy import CATEGORIES, Action

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_POLICY_KEYS = {
    "preset",
    "on_degraded",
    "on_language",
    "on_unscanned_image",
    "categories",
    "stream",
    "adapt",
}  # the last is read by `goal_files`
_FILE_KEYS = {"defaults", "policies"}
_DEFAULTS_KEYS = {"categories", "max_lowering", "adapt"}
_CATEGORY_KEYS = {"flag", "review", "block", "max_lowering", "most"}
DEFAULT_MAX_LOWERING = 0.0


class PresetLines(Protocol):
    """The three lines of a category in a preset of the manifest."""

    @property
    def flag(self) -> float: ...  # noqa: D102
    @property
    def review(self) -> float: ...  # noqa: D102
    @property
    def block(self) -> float: ...  # noqa: D102


Presets = Mapping[str, Mapping[str, PresetLines]]


def load_policies(
    path: Path, folder: Path | None, presets: Presets, digest: str, preset: str, on_unscanned_image: str = "allow"
) -> PolicyBook:
    """The policies of `path` and those of an operator's folder; the last two are taken where a policy names none."""
    entries, defaults = read_tables(path, folder)
    given = {"preset": preset, "on_unscanned_image": on_unscanned_image}
    return PolicyBook(
        {name: _policy(name, {**given, **entry}, defaults, presets, digest) for name, entry in entries.items()}
    )


def read_tables(path: Path, folder: Path | None) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The tables of all policies by name, and the one of their defaults; keys and names are checked."""
    document = _read(path)
    _refuse_unknown(path.name, document, _FILE_KEYS)
    defaults = _table(f"{path.name}, defaults", document.get("defaults", {}))
    _refuse_unknown(f"{path.name}, defaults", defaults, _DEFAULTS_KEYS)
    entries = dict(_table(f"{path.name}, policies", document.get("policies", {})))
    if folder is not None:
        if not folder.is_dir():
            raise PolicyInvalid("WEIR_POLICY_DIR is not a folder")
        entries |= {file.stem: _read(file) for file in sorted(folder.glob("*.toml"))}
    if "default" not in entries:
        raise PolicyInvalid("there is no policy called default")
    for name in entries:
        if not _NAME.fullmatch(name):
            raise PolicyInvalid("a policy's name must be 1 to 64 letters, digits, '_', '.' or '-'")
    return {name: _table(f"policy {name}", entry) for name, entry in entries.items()}, defaults


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyInvalid(f"{path.name} cannot be read") from error
    except ValueError as error:
        raise PolicyInvalid(f"{path.name} is not TOML: {error}") from error


def _policy(name: str, entry: dict[str, Any], defaults: dict[str, Any], presets: Presets, digest: str) -> Policy:
    _refuse_unknown(f"policy {name}", entry, _POLICY_KEYS)
    preset = entry["preset"]
    if preset not in PRESETS:
        raise PolicyInvalid(f"policy {name}: preset must be one of {', '.join(PRESETS)}")
    own = _table(f"policy {name}, categories", entry.get("categories", {}))
    shared = _table("defaults, categories", defaults.get("categories", {}))
    unknown = sorted({*own, *shared} - set(CATEGORIES))
    if unknown:
        raise PolicyInvalid(f"policy {name}: category {unknown[0]!r} is not in the taxonomy")
    lowering = defaults.get("max_lowering", DEFAULT_MAX_LOWERING)
    thresholds = {
        category: _thresholds(
            name,
            category,
            presets[preset][category],
            {
                "max_lowering": lowering,
                **_table(f"defaults, {category}", shared.get(category, {})),
                **_table(f"policy {name}, {category}", own.get(category, {})),
            },
        )
        for category in CATEGORIES
    }
    check_thresholds(name, thresholds)
    on_degraded = _action(name, entry.get("on_degraded", "review"))
    on_language = _action(name, entry.get("on_language", "allow"))
    on_unscanned_image = _action(name, entry["on_unscanned_image"])
    stream = read_rules(f"policy {name}, stream", _table(f"policy {name}, stream", entry.get("stream", {})))
    policy = Policy(name, "", preset, thresholds, on_degraded, on_language, on_unscanned_image, stream)
    return replace(policy, version=name_version(policy, digest))


def _thresholds(policy: str, category: str, lines: PresetLines, entry: dict[str, Any]) -> Thresholds:
    _refuse_unknown(f"policy {policy}, {category}", entry, _CATEGORY_KEYS)
    given = {"flag": lines.flag, "review": lines.review, "block": lines.block, **entry}
    numbers = [given[key] for key in ("flag", "review", "block", "max_lowering")]
    if not all(type(number) in (int, float) for number in numbers):
        raise PolicyInvalid(f"policy {policy}: {category} has a line that is not a number")
    flag, review, block, max_lowering = map(float, numbers)
    return Thresholds(flag, review, block, max_lowering, _action(policy, entry.get("most", "block")))


def _action(policy: str, name: object) -> Action:
    for action in Action:
        if action.wire == name:
            return action
    raise PolicyInvalid(f"policy {policy}: an action is one of {', '.join(a.wire for a in Action)}")


def _table(where: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PolicyInvalid(f"{where}: a table is expected")
    return value


def _refuse_unknown(where: str, entry: Mapping[str, object], known: set[str]) -> None:
    unknown = sorted(set(entry) - known)
    if unknown:
        raise PolicyInvalid(f"{where}: {unknown[0]!r} is not a key; there are {', '.join(sorted(known))}")
