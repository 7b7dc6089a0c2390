"""Harmful sentences for measurements, read at run time from where the project keeps them; none is written here.

Owns the expansion of contrast frames (models/frames) and of the lexicon's final phrases.
Refuses to judge them: what counts as harm is asked of the gateway.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FRAMES = ROOT / "models" / "frames"
LEXICON = ROOT / "service" / "data" / "lexicon.toml"
MOST_DEPTH = 8
SHORTEST, LONGEST = 20, 200  # characters of one sentence
_FRAME_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_SLOT = re.compile(r"\{([a-z_0-9]+)\}")
_LEXICON_PART = re.compile(r"\{([^{}]*)\}")


def from_frames(count: int, seed: int, folder: Path = FRAMES) -> list[str]:
    """Up to `count` harmful sentences of the frames that tell of posts and replies."""
    rng = random.Random(seed)
    shared = tomllib.loads((folder / "slots.toml").read_text(encoding="utf-8"))["slots"]
    templates: list[tuple[str, Mapping[str, Sequence[str]]]] = []
    for path in sorted(folder.glob("*.toml")):
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        slots = {**shared, **document.get("slots", {})}
        frames = [frame for frame in document.get("frames", ()) if frame["kind"] != "prompt"]
        templates += [(text, slots) for frame in frames for text in frame.get("harmful", ())]
    found = (_fill(*rng.choice(templates), rng) for _ in range(20 * count))
    return _single(found, count)


def from_lexicon(count: int, seed: int, path: Path = LEXICON) -> list[str]:
    """Up to `count` sentences of the phrases that nobody may lower, each with a full stop."""
    rng = random.Random(seed)
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    phrases = [
        phrase
        for group in document["group"]
        if group.get("final") and group.get("at") != "message"
        for phrase in group["words"]
    ]
    found = (_fill_phrase(rng.choice(phrases), document["slots"], rng).strip() + "." for _ in range(20 * count))
    return _single(found, count, shortest=1)


def _single(found: Any, count: int, shortest: int = SHORTEST) -> list[str]:
    """Different ones that are a single sentence of a usual length."""
    kept: dict[str, None] = {}
    for text in found:
        if len(kept) == count:
            break
        tidy = re.sub(r"\s+", " ", text).strip()
        if shortest <= len(tidy) <= LONGEST and not re.search(r"[.!?]\s", tidy):
            kept[tidy if tidy[-1] in ".!?" else tidy + "."] = None
    return list(kept)


def _fill(template: str, slots: Mapping[str, Sequence[str]], rng: random.Random, depth: int = 0) -> str:
    """A frame's text: [this|that] and {slot}, inner ones too."""
    if depth > MOST_DEPTH:
        raise ValueError("slots refer to each other in a circle")
    text = _FRAME_CHOICE.sub(lambda found: rng.choice(found[1].split("|")), template)
    return _SLOT.sub(lambda found: _fill(rng.choice(slots[found[1]]), slots, rng, depth + 1), text)


def _fill_phrase(pattern: str, slots: Mapping[str, Sequence[str]], rng: random.Random) -> str:
    """A lexicon's pattern: {slot} and {a|b|}, inner ones too."""
    while found := _LEXICON_PART.search(pattern):
        choices = slots.get(found[1]) or found[1].split("|")
        pattern = pattern[: found.start()] + rng.choice(list(choices)) + pattern[found.end() :]
    return re.sub(r"\s+", " ", pattern)
