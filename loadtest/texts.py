"""Innocent texts of 100 to 400 characters, each different, the same ones for the same seed.

Owns what is sent in a measurement. Refuses to know how it is sent.
"""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

_SUBJECTS = (
    "The gardener",
    "My neighbour",
    "A student from Porto",
    "The night shift",
    "Our choir",
    "The old ferry",
    "Somebody at the library",
    "The committee",
    "Her cousin",
    "The bakery on the corner",
)
_VERBS = (
    "repaired",
    "forgot about",
    "kept asking for",
    "wrote a long letter about",
    "painted",
    "measured",
    "returned",
    "explained",
    "looked everywhere for",
    "finally sold",
)
_OBJECTS = (
    "a bicycle with one brake",
    "the recipe for plum cake",
    "three boxes of maps",
    "the broken window",
    "an almanac from 1961",
    "the smallest tent in the shop",
    "a jar of buttons",
    "the winter timetable",
)
_TAILS = (
    "before the rain began",
    "although nobody had asked",
    "and told everyone at breakfast",
    "in the afternoon",
    "which took most of the week",
    "with a good deal of patience",
    "on the way to the harbour",
)


def neutral_texts(count: int, seed: int) -> list[str]:
    """`count` different texts of several sentences."""
    rng = random.Random(seed)
    texts = []
    for n in range(count):
        wanted = rng.randint(100, 380)
        sentences = [f"Note {n} of {seed}."]
        while sum(map(len, sentences)) + len(sentences) < wanted:
            parts = (rng.choice(_SUBJECTS), rng.choice(_VERBS), rng.choice(_OBJECTS), rng.choice(_TAILS))
            sentences.append(" ".join(parts) + ".")
        texts.append(" ".join(sentences)[:400])
    return texts


def rows_of(path: Path, most: int, seed: int) -> list[str]:
    """At most `most` texts of a file of JSON lines, gzipped or not: each with a `text`, none twice, none empty."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        texts = dict.fromkeys(json.loads(line)["text"] for line in lines)
    found = [text for text in texts if text.strip()]
    return random.Random(seed).sample(found, min(most, len(found)))
