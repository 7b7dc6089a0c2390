"""An image classifier's folder: weights, manifest and perhaps a tokenizer, checked before anything is run.

Owns what a valid one is. Refuses to know how it is run. Everything that is wrong with one stops the start with one
sentence (ArtifactInvalid).

    manifest.json
    format      1
    kind        "image"
    name        what findings call it
    files       {"model.onnx": its SHA-256, and of a model that reads text too "tokenizer.json"}
    input       {"side": 224, "layout": "NCHW" or "NHWC", "mean": [r, g, b], "std": [r, g, b]}, of RGB from 0 to 1
    text        {"max_tokens": 64, "overlap_tokens": 16}, only of a model that reads text too
    labels      the outputs, in order
    outputs     "independent" (a logit decides for itself) or "exclusive" (a softmax over all)
    categories  {label: category of the taxonomy}; a label that is not here is not served
    calibration {category: [slope, intercept]}, over the category's log-odds

The whole image is squeezed into the square, whatever its shape: a crop would not see its edges.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from service.backends.artifact import Calibration, checked_digest
from service.errors import ArtifactInvalid
from service.taxonomy import CATEGORIES

FORMAT = 1
KIND = "image"
LEAST_SIDE, MOST_SIDE = 8, 1024  # pixels
LEAST_TOKENS, MOST_TOKENS = 8, 512


@dataclass(frozen=True, slots=True)
class TextInput:
    """How a model that reads text too is fed: windows of so many tokens that share so many."""

    tokenizer: Path
    max_tokens: int
    overlap_tokens: int


@dataclass(frozen=True, slots=True)
class ImageArtifact:
    """A checked image classifier. `columns` maps a served category to its columns of the logits."""

    name: str
    digest: str
    weights: Path
    side: int
    channels_first: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    text: TextInput | None
    labels: tuple[str, ...]
    exclusive: bool
    columns: Mapping[str, tuple[int, ...]]
    calibration: Mapping[str, Calibration]

    @property
    def version(self) -> str:
        """Name and the first 12 digits of the digest over every file."""
        return f"{self.name}@{self.digest[:12]}"


def load_image_artifact(folder: Path) -> ImageArtifact:
    """Read and check the image classifier in `folder`; raises ArtifactInvalid."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        raise ArtifactInvalid(f"the image classifier {folder.name} has no readable manifest.json") from error
    except ValueError as error:
        raise ArtifactInvalid(f"{folder.name}/manifest.json is not JSON") from error
    if not isinstance(manifest, dict) or (manifest.get("format"), manifest.get("kind")) != (FORMAT, KIND):
        raise ArtifactInvalid(f"{folder.name}/manifest.json is not that of an image classifier of format {FORMAT}")
    try:
        return _parse(folder, manifest)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArtifactInvalid(
            f"{folder.name}/manifest.json is not that of an image classifier of format {FORMAT}: {error!r}"
        ) from error


def _parse(folder: Path, manifest: dict[str, Any]) -> ImageArtifact:
    reads = manifest.get("text") is not None
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
    for name in ("model.onnx", "tokenizer.json") if reads else ("model.onnx",):
        if name not in manifest["files"]:
            raise ArtifactInvalid(f"{folder.name}: the manifest has no digest of {name}")
    for name, expected in sorted(manifest["files"].items()):
        digest.update(checked_digest(folder / name, expected).encode())
    columns = _columns(folder, manifest)
    given = manifest["input"]
    artifact = ImageArtifact(
        name=str(manifest["name"]),
        digest=digest.hexdigest(),
        weights=folder / "model.onnx",
        side=int(given["side"]),
        channels_first=_one_of(given["layout"], ("NCHW", "NHWC")) == "NCHW",
        mean=_three(given["mean"]),
        std=_three(given["std"]),
        text=_text(folder, manifest["text"]) if reads else None,
        labels=tuple(manifest["labels"]),
        exclusive=_one_of(manifest["outputs"], ("independent", "exclusive")) == "exclusive",
        columns=columns,
        calibration={name: Calibration(*map(float, manifest["calibration"][name])) for name in columns},
    )
    _check_numbers(folder, artifact)
    return artifact


def _columns(folder: Path, manifest: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Columns by category; several labels may tell of one."""
    labels = [str(label) for label in manifest["labels"]]
    if len(set(labels)) != len(labels):
        raise ArtifactInvalid(f"{folder.name}: two labels have the same name")
    found: dict[str, tuple[int, ...]] = {}
    for label, category in manifest["categories"].items():
        if label not in labels:
            raise ArtifactInvalid(f"{folder.name}: {label!r} has a category and is no label")
        if category not in CATEGORIES:
            raise ArtifactInvalid(f"{folder.name}: category {category!r} of {label!r} is not in the taxonomy")
        found[category] = (*found.get(category, ()), labels.index(label))
    if not found:
        raise ArtifactInvalid(f"{folder.name}: no label has a category")
    return found


def _text(folder: Path, given: dict[str, Any]) -> TextInput:
    return TextInput(folder / "tokenizer.json", int(given["max_tokens"]), int(given["overlap_tokens"]))


def _three(given: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, given)
    return red, green, blue


def _one_of(given: object, allowed: tuple[str, str]) -> Literal["NCHW", "NHWC", "independent", "exclusive"]:
    if given not in allowed:
        raise ValueError(f"{given!r} is neither {allowed[0]} nor {allowed[1]}")
    return given  # type: ignore[return-value]


def _check_numbers(folder: Path, artifact: ImageArtifact) -> None:
    """Refuse what would only fail on the first image, or turn scores around."""
    if not LEAST_SIDE <= artifact.side <= MOST_SIDE:
        raise ArtifactInvalid(f"{folder.name}: the side is not between {LEAST_SIDE} and {MOST_SIDE} pixels")
    if not all(map(math.isfinite, (*artifact.mean, *artifact.std))) or min(artifact.std) <= 0.0:
        raise ArtifactInvalid(f"{folder.name}: mean and std do not normalise")
    if artifact.exclusive and any(len(columns) == len(artifact.labels) for columns in artifact.columns.values()):
        raise ArtifactInvalid(f"{folder.name}: outputs are exclusive, and no label is left that tells of no harm")
    for name, head in artifact.calibration.items():
        if not (0.0 < head.slope < math.inf and math.isfinite(head.intercept)):
            raise ArtifactInvalid(f"{folder.name}: the calibration of {name} does not rise")
    text = artifact.text
    if text is not None and not (
        LEAST_TOKENS <= text.max_tokens <= MOST_TOKENS and 0 <= text.overlap_tokens <= text.max_tokens // 2
    ):
        raise ArtifactInvalid(f"{folder.name}: max_tokens and overlap_tokens leave no room for text")
