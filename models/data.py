"""Rows for training and measuring: sources of one form, their labels completed, split, capped and weighted.

Owns which rows are used and what is known about each. Refuses to know the network and the tokenizer.
A label is 0..1; a category that is absent is unknown and is masked. Rows of split `test` and of sources marked
`measure` never come out as `train`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import random
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.contrast import Sentence, expand, load_frames
from service.taxonomy import CATEGORIES, OPENAI_CATEGORIES

RECIPE = Path(__file__).with_name("recipe.toml")
LABELS: tuple[str, ...] = (*CATEGORIES, "unsafe")  # the heads, in order; `unsafe` is auxiliary and never served

# A text without these is, when a set calls it clean, clean of the grave categories too.
_GRAVE = re.compile(
    r"\b(kill|die|dead|death|murder|shoot|shot|gun|knife|stab|bomb|blood|attack|beat|hit|punch|rape|fight|war|hang|"
    r"suicid\w*|cut|harm|hurt|drug|weed|cocaine|meth|steal|fraud|hack|poison|sex\w*|porn\w*|nude|naked|fuck\w*|dick|"
    r"cock|pussy|boob\w*|tit\w*|cum|ass|horny|slut|whore|suck\w*|burn|burning|destroy|weapon)s?\b",
    re.IGNORECASE,
)
_GRAVE_CATEGORIES = (
    "violence",
    "violence/graphic",
    "sexual",
    "sexual/minors",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "illicit",
    "illicit/violent",
    "prompt-injection",
)
_BESIDE_ABUSE = ("self-harm", "illicit", "illicit/violent", "prompt-injection", "sexual", "violence/graphic")
_ABUSE_CATEGORIES = ("hate", "hate/threatening", "harassment", "harassment/threatening")

# Where the first is present the others often are too: a frame that does not name them has not ruled them out.
_NEIGHBOURS = {
    "illicit/violent": ("violence",),
    "hate/threatening": ("violence", "harassment", "harassment/threatening"),
    "harassment/threatening": ("violence",),
    "violence": ("illicit", "illicit/violent", "violence/graphic", "harassment/threatening"),
    "hate": ("harassment", "toxicity"),
    "harassment": ("toxicity",),
    "self-harm/intent": ("self-harm/instructions",),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One text with what is known of it. `weight` scales its loss; `frame` names the contrast frame it came from."""

    text: str
    context: str
    kind: str
    labels: dict[str, float]
    source: str
    weight: float = 1.0
    frame: str = ""
    needs_context: bool = False

    @property
    def harmful(self) -> bool | None:
        """Whether any of OpenAI's 13 categories (or `unsafe`) applies; None where that is open, or only others do."""
        known = [self.labels[c] for c in (*OPENAI_CATEGORIES, "unsafe") if c in self.labels]
        if any(value >= 0.5 for value in known):
            return True
        if any(self.labels.get(name, 0.0) >= 0.5 for name in CATEGORIES):
            return None
        clean = "unsafe" in self.labels or all(c in self.labels for c in ("hate", "harassment", "violence", "sexual"))
        return False if known and clean and max(known) < 0.3 else None


def load_recipe(path: Path = RECIPE) -> dict[str, Any]:
    """The recipe as it stands in the file."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def data_folder(recipe: dict[str, Any]) -> Path:
    """Where the recipe says that the sources lie."""
    path = Path(recipe["data"]["folder"])
    return path if path.is_absolute() else RECIPE.parent.parent / path


class Corpus:
    """All sources of a data folder, read when asked for."""

    def __init__(self, recipe: dict[str, Any], folder: Path) -> None:
        self.recipe = recipe["data"]
        self.folder = folder
        listed = json.loads((folder / "sources.json").read_text(encoding="utf-8"))
        self.sources: dict[str, dict[str, Any]] = {s["slug"]: s for s in listed}

    def trainable(self) -> list[str]:
        """Sources whose train rows may shape weights that ship."""
        left_out = {*self.recipe["exclude"], *self.recipe["held_out"]}
        return [slug for slug, s in self.sources.items() if s["use"] == "train" and slug not in left_out]

    def unseen(self) -> list[str]:
        """English sources that are left out of training wholly and show what is new to the model."""
        measured = [slug for slug, s in self.sources.items() if s["use"] == "measure"]
        unseen = [slug for slug in (*self.recipe["held_out"], *measured) if slug not in self.recipe["exclude"]]
        return [slug for slug in unseen if not slug.startswith("pairs-")]  # comparisons, in another form

    def unseen_rows(self, slug: str, *, tuning: bool) -> list[Row]:
        """One half, by hash, of an unseen source's English rows: one to choose flag lines on, one to report on."""
        return [row for _, row in self.rows(slug) if is_english(row.text) and _hash(row.text) % 2 == int(tuning)]

    def rows(self, slug: str) -> Iterator[tuple[str, Row]]:
        """(split, row) of one source; a source without dev rows gives a hashed share of its train rows to dev."""
        path = self.folder / f"{slug}.jsonl.gz"
        own_dev = self.sources[slug].get("splits", {}).get("dev", 0) >= 30
        weight = float(self.recipe["weights"].get(slug, 1.0))
        english_only = slug in self.recipe["english_only"]
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                raw = json.loads(line)
                text = raw["text"][: self.recipe["max_chars"]]
                if english_only and not is_english(text):
                    continue
                split = raw["split"]
                if split == "train" and not own_dev and _hash(text) % self.recipe["dev_share"] == 0:
                    split = "dev"
                labels = complete_labels(raw["labels"], text)
                context = (raw.get("context") or "")[: self.recipe["max_chars"]]
                yield (
                    split,
                    Row(
                        text,
                        context,
                        raw.get("kind") or "post",
                        labels,
                        slug,
                        weight,
                        needs_context=slug == "diasafety",
                    ),
                )


def complete_labels(raw: dict[str, float], text: str) -> dict[str, float]:
    """Fill in what follows from a set's own labels, and leave unknown what does not."""
    labels = {("toxicity" if name == "toxic" else name): float(value) for name, value in raw.items()}
    labels = {name: value for name, value in labels.items() if name in LABELS}
    grave = bool(_GRAVE.search(text))
    ruled_out: list[str] = []
    if labels.get("unsafe") == 0.0:
        ruled_out.extend(OPENAI_CATEGORIES)
    if labels.get("toxicity") == 0.0:
        ruled_out.extend(_ABUSE_CATEGORIES)
        ruled_out.extend(() if grave else _GRAVE_CATEGORIES)
    if max(labels.get("hate", 0.0), labels.get("toxicity", 0.0)) >= 0.5 and not grave:
        ruled_out.extend(_BESIDE_ABUSE)
    for name in ruled_out:
        labels.setdefault(name, 0.0)
    _apply_implications(labels)
    return labels


def _apply_implications(labels: dict[str, float]) -> None:
    """A child that is present makes its parent present; a parent that is absent makes its children absent."""
    for name, category in CATEGORIES.items():
        parent = category.parent
        if parent is None:
            continue
        if labels.get(name, 0.0) >= 0.5:
            labels[parent] = max(labels.get(parent, 0.0), labels[name])
        if labels.get(parent) == 0.0:
            labels.setdefault(name, 0.0)


def contrast_rows(recipe: dict[str, Any], *, held_out: bool, per_side: int, seed: int) -> list[Row]:
    """Sentences of our own frames, the trained two thirds or the held-out third."""
    frames = [frame for frame in load_frames() if frame.held_out == held_out]
    return [_contrast_row(s, float(recipe["data"]["contrast_weight"])) for s in expand(frames, per_side, seed)]


def _contrast_pass(options: dict[str, Any], seed: int) -> list[Row]:
    """What one pass sees of our own frames: those of some files, or families of files (`asks_...`), more than once.

    Each time they are drawn anew.
    """
    frames = [frame for frame in load_frames() if not frame.held_out]
    rows: list[Row] = []
    usual, others = int(options["contrast_repeat"]), options["contrast_repeats"]
    for turn in range(max(usual, *others.values())):
        chosen = [f for f in frames if turn < others.get(f.theme, others.get(f.theme.partition("_")[0], usual))]
        drawn = expand(chosen, int(options["contrast_per_side"]), seed + 1000 * turn)
        rows.extend(_contrast_row(sentence, float(options["contrast_weight"])) for sentence in drawn)
    return rows


def _contrast_row(sentence: Sentence, weight: float) -> Row:
    labels = dict(sentence.labels)
    for present, neighbours in _NEIGHBOURS.items():
        if labels.get(present, 0.0) >= 0.5:
            for name in neighbours:
                if labels.get(name) == 0.0:
                    del labels[name]
    labels["unsafe"] = float(sentence.harmful and any(labels.get(c, 0.0) > 0.5 for c in OPENAI_CATEGORIES))
    return Row(
        sentence.text,
        sentence.context,
        sentence.kind,
        labels,
        "contrast",
        weight,
        sentence.frame.id,
        needs_context=bool(sentence.context),
    )


def read_pools(corpus: Corpus, share: float, seed: int) -> dict[str, list[Row]]:
    """Train rows per source; with `share` < 1 a sample of them."""
    pools: dict[str, list[Row]] = {}
    for slug in corpus.trainable():
        pool = [row for split, row in corpus.rows(slug) if split == "train"]
        if share < 1:
            pool = random.Random(f"{seed}:{slug}").sample(pool, math.ceil(len(pool) * share))
        pools[slug] = pool
    return pools


def one_pass(
    corpus: Corpus, pools: dict[str, list[Row]], seed: int, hardest: Mapping[str, list[Row]] = MappingProxyType({})
) -> list[Row]:
    """The rows of one pass: every source up to its cap, small valuable ones more than once, fresh contrast rows.

    Of a source in `hardest`, which holds its rows from the hardest on, half of what is taken comes from its top.
    """
    rng = random.Random(seed)
    rows: list[Row] = []
    for slug, pool in pools.items():
        cap = int(corpus.recipe["caps"].get(slug, corpus.recipe["default_cap"]))
        wanted = min(len(pool), cap) * float(corpus.recipe["repeats"].get(slug, 1.0)) * corpus.recipe["share"]
        order = rng.sample(pool, len(pool))
        if slug in hardest:
            rows.extend(hardest[slug][: int(wanted / 2)])
            wanted /= 2
        while wanted > 0:
            rows.extend(order[: int(min(wanted, len(order)))])
            wanted -= len(order)
    rows.extend(_contrast_pass(corpus.recipe, seed))
    rng.shuffle(rows)
    return rows


def _hash(text: str) -> int:
    return int(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8], 16)


def is_english(text: str) -> bool:
    """Whether a text is plainly in English: ASCII letters and a common word."""
    letters = [c for c in text if c.isalpha()]
    if not letters or sum(c.isascii() for c in letters) < 0.95 * len(letters):
        return False
    return bool(
        re.search(r"\b(the|a|an|to|of|and|is|i|you|how|what|for|in|my|me|that|with|can)\b", text, re.IGNORECASE)
    )
