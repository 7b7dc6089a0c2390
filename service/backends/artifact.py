"""An artefact folder: weights, tokenizer and manifest, checked against the manifest's digests and the taxonomy.

Owns what a valid artefact is. Refuses to know how it is run. Everything that is wrong with one stops the start with
one sentence (ArtifactInvalid).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import ArtifactInvalid
from service.policy import PRESETS
from service.taxonomy import CATEGORIES
from service.types import Kind

FORMAT = 1
KINDS: tuple[Kind, ...] = ("post", "prompt", "response")
FILES = ("model.onnx", "tokenizer.json")
AUXILIARY = frozenset({"unsafe"})  # heads that only help training


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt scaling of one head: probability = sigmoid(slope * logit + intercept) (Platt 1999)."""

    slope: float
    intercept: float


@dataclass(frozen=True, slots=True)
class Lines:
    """Flag, review and block lines of a category in one preset."""

    flag: float
    review: float
    block: float


@dataclass(frozen=True, slots=True)
class Artifact:
    """A checked artefact. `columns` maps a served category to its column of the logits."""

    name: str
    digest: str
    weights: Path
    tokenizer: Path
    labels: tuple[str, ...]
    columns: Mapping[str, int]
    max_tokens: int
    overlap_tokens: int
    context_tokens: int
    window_shift: float
    languages: tuple[str, ...]
    calibration: Mapping[Kind, Mapping[str, Calibration]]
    presets: Mapping[str, Mapping[str, Lines]]

    @property
    def version(self) -> str:
        """Name and the first 12 digits of the digest over every file."""
        return f"{self.name}@{self.digest[:12]}"


def load_artifact(folder: Path) -> Artifact:
    """Read and check the artefact in `folder`; raises ArtifactInvalid."""
    manifest = _read_manifest(folder)
    try:
        return _parse(folder, manifest)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArtifactInvalid(f"{folder.name}/manifest.json is not a manifest of format {FORMAT}: {error!r}") from error


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        raise ArtifactInvalid(f"the model artefact {folder.name} has no readable manifest.json") from error
    except ValueError as error:
        raise ArtifactInvalid(f"{folder.name}/manifest.json is not JSON") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArtifactInvalid(f"{folder.name}/manifest.json is not a manifest of format {FORMAT}")
    return manifest


def _parse(folder: Path, manifest: dict[str, Any]) -> Artifact:
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
    for name in FILES:
        if name not in manifest["files"]:
            raise ArtifactInvalid(f"{folder.name}: the manifest has no digest of {name}")
    for name, expected in sorted(manifest["files"].items()):
        digest.update(checked_digest(folder / name, expected).encode())
    labels = tuple(manifest["labels"])
    for label in labels:
        if label not in CATEGORIES and label not in AUXILIARY:
            raise ArtifactInvalid(f"{folder.name}: label {label!r} is not in the taxonomy")
    missing = sorted(set(CATEGORIES) - set(labels))
    if missing:
        raise ArtifactInvalid(f"{folder.name}: category {missing[0]!r} of the taxonomy has no label in the artefact")
    artifact = Artifact(
        name=str(manifest["name"]),
        digest=digest.hexdigest(),
        weights=folder / "model.onnx",
        tokenizer=folder / "tokenizer.json",
        labels=labels,
        columns={name: labels.index(name) for name in CATEGORIES},
        max_tokens=int(manifest["max_tokens"]),
        overlap_tokens=int(manifest["overlap_tokens"]),
        context_tokens=int(manifest["context_tokens"]),
        window_shift=float(manifest["window_shift"]),
        languages=tuple(manifest["languages"]),
        calibration={
            kind: {name: Calibration(*map(float, manifest["calibration"][kind][name])) for name in CATEGORIES}
            for kind in KINDS
        },
        presets={
            preset: {name: Lines(*map(float, manifest["presets"][preset][name])) for name in CATEGORIES}
            for preset in PRESETS
        },
    )
    _check_numbers(folder, artifact)
    return artifact


def _check_numbers(folder: Path, artifact: Artifact) -> None:
    """Refuse what would only fail on the first long text, or turn scores around."""
    # [CLS], [SEP] and the context with its [SEP] leave room for text, and a window moves on from the one before.
    room = artifact.max_tokens - 3 - artifact.context_tokens
    if artifact.context_tokens < 1 or not 0 <= artifact.overlap_tokens < room:
        raise ArtifactInvalid(f"{folder.name}: max_tokens leaves no room beside context_tokens and overlap_tokens")
    if not artifact.languages:
        raise ArtifactInvalid(f"{folder.name}: the manifest names no language")
    for kind, heads in artifact.calibration.items():
        for name, head in heads.items():
            if not (0.0 < head.slope < math.inf and math.isfinite(head.intercept)):
                raise ArtifactInvalid(f"{folder.name}: the calibration of {name} for a {kind} does not rise")


def checked_digest(path: Path, expected: str) -> str:
    """The file's SHA-256; ArtifactInvalid where it is not the one that the manifest gives."""
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ArtifactInvalid(f"{path.parent.name}: {path.name} is missing or unreadable") from error
    if found != expected:
        raise ArtifactInvalid(f"{path.parent.name}: {path.name} is not the file that the manifest describes")
    return found
