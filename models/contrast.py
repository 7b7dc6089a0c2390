"""Contrast sentences of our own writing: frames with slots, expanded into harmful and innocent twins.

Owns the frame format and its expansion. Refuses to know the model, and any text that is not ours.

A frame file (`models/frames/*.toml`) holds `[slots]`, lists of phrases that may use other slots, and `[[frames]]`:
`id`, `phenomenon`, `kind` (post, prompt or response), `harmful` and `innocent` texts with `{slot}` and `[this|that]`,
`labels` (the categories of the harmful texts), `open` and `innocent_open` (categories that are left unknown), and
`context`, templates of the turn before. Every category that is neither a label nor open is 0.
A third of the frames, by a hash of their id, is never trained on and measures generalisation.
"""

from __future__ import annotations

import hashlib
import random
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from service.taxonomy import CATEGORIES

FRAMES_DIR = Path(__file__).with_name("frames")
KINDS = ("post", "prompt", "response")
MAX_DEPTH = 8  # slots in slots in slots: deeper is a circle
_SLOT = re.compile(r"\{([a-z_0-9]+)\}")
_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")


@dataclass(frozen=True, slots=True)
class Frame:
    """One situation, told harmfully and innocently."""

    id: str
    phenomenon: str
    kind: str
    theme: str
    harmful: tuple[str, ...] = ()
    innocent: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    innocent_open: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    slots: dict[str, list[str]] = field(default_factory=dict, repr=False)

    @property
    def held_out(self) -> bool:
        """Whether this frame measures and is never trained on: a third of them, by the id alone."""
        return int(hashlib.sha256(self.id.encode()).hexdigest(), 16) % 3 == 0


@dataclass(frozen=True, slots=True)
class Sentence:
    """One expanded text with `labels` from category to 0 or 1; an absent category is unknown."""

    text: str
    context: str
    kind: str
    harmful: bool
    labels: dict[str, float]
    frame: Frame


def load_frames(folder: Path = FRAMES_DIR) -> list[Frame]:
    """Read every frame file. Raises ValueError that names the file and the frame that is wrong."""
    shared: dict[str, list[str]] = {}
    if (folder / "slots.toml").exists():
        shared = tomllib.loads((folder / "slots.toml").read_text(encoding="utf-8"))["slots"]
    frames: list[Frame] = []
    for path in sorted(folder.glob("*.toml")):
        if path.name == "slots.toml":
            continue
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        slots = {**shared, **document.get("slots", {})}
        for entry in document.get("frames", []):
            frames.append(_frame(entry, slots, path.stem))
    ids = [frame.id for frame in frames]
    repeated = sorted({name for name in ids if ids.count(name) > 1})
    if repeated:
        raise ValueError(f"frame ids are used twice: {', '.join(repeated)}")
    return frames


def _frame(entry: dict[str, object], slots: dict[str, list[str]], theme: str) -> Frame:
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    frame = Frame(**values, theme=theme, slots=slots)  # type: ignore[arg-type]
    where = f"{theme}.toml, frame {frame.id}"
    if frame.kind not in KINDS:
        raise ValueError(f"{where}: kind {frame.kind!r} is none of {KINDS}")
    if bool(frame.harmful) != bool(frame.labels):
        raise ValueError(f"{where}: harmful texts need labels, and labels need harmful texts")
    for name in (*frame.labels, *frame.open, *frame.innocent_open):
        if name not in CATEGORIES:
            raise ValueError(f"{where}: {name!r} is not a category")
    for text in (*frame.harmful, *frame.innocent, *frame.context):
        for slot in _SLOT.findall(text):
            if slot not in slots:
                raise ValueError(f"{where}: slot {{{slot}}} is not defined")
    return frame


def fill(template: str, slots: dict[str, list[str]], rng: random.Random, depth: int = 0) -> str:
    """Expand choices and slots of a template, inner ones too."""
    if depth > MAX_DEPTH:
        raise ValueError("slots refer to each other in a circle")
    text = _CHOICE.sub(lambda m: rng.choice(m.group(1).split("|")), template)
    return _SLOT.sub(lambda m: fill(rng.choice(slots[m.group(1)]), slots, rng, depth + 1), text)


def expand(frames: list[Frame], per_side: int, seed: int) -> Iterator[Sentence]:
    """Yield up to `per_side` different harmful and as many innocent sentences of each frame."""
    for frame in frames:
        rng = random.Random(f"{seed}:{frame.id}")
        for harmful, templates in ((True, frame.harmful), (False, frame.innocent)):
            seen: set[str] = set()
            for turn in range(per_side if templates else 0):
                text = _tidy(fill(templates[turn % len(templates)], frame.slots, rng))
                if text in seen:
                    continue
                seen.add(text)
                context = fill(rng.choice(frame.context), frame.slots, rng) if frame.context else ""
                yield Sentence(text, _tidy(context), frame.kind, harmful, _labels(frame, harmful), frame)


def _labels(frame: Frame, harmful: bool) -> dict[str, float]:
    unknown = set(frame.open if harmful else frame.innocent_open)
    positive = set(frame.labels) if harmful else set()
    for name in tuple(positive):
        if "/" in name:
            positive.add(name.split("/")[0])
    return {c: float(c in positive) for c in CATEGORIES if c not in unknown or c in positive}


def _tidy(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\b([Aa]) (?=[aeioAEIO])", r"\1n ", text)
    return text[:1].upper() + text[1:] if text[:1].islower() and len(text.split()) > 3 else text
