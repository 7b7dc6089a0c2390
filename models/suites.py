"""Innocent text that measures false alarms: ordinary talk, long documents, everyday languages, talk about every group.

Owns which texts these are. Refuses to know how they are scored. No row of them was ever trained on.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.data import Corpus, Row
from models.scoring import sample

IDENTITIES = Path(__file__).with_name("identities.toml")
DOCUMENT_CHARS = (5_000, 20_000)


def ordinary_rows(corpus: Corpus, recipe: dict[str, Any]) -> list[Row]:
    """Every test row of the innocent sources that are trained on, and rows of those that never are.

    A row whose labels leave a category open, such as a question on harm with a careful answer, is none.
    """
    options = recipe["evaluation"]
    rows: list[Row] = []
    for slug in options["ordinary_test"]:
        rows.extend(_innocent(corpus, slug, only_test=True))
    for slug in options["ordinary_unseen"]:
        pool = _innocent(corpus, slug, only_test=False)
        rows.extend(sample(pool, int(options["ordinary_most"]), int(recipe["seed"])))
    return rows


def documents(corpus: Corpus, recipe: dict[str, Any]) -> list[Row]:
    """Long texts, each of innocent rows of one source that was never trained on, in an order drawn anew."""
    options = recipe["evaluation"]
    rng = random.Random(int(recipe["seed"]))
    pools = {
        slug: _innocent(corpus, slug, only_test=slug not in options["ordinary_unseen"])
        for slug in options["document_sources"]
    }
    found: list[Row] = []
    for n in range(int(options["documents"])):
        slug = options["document_sources"][n % len(pools)]
        length, parts, size = rng.randint(*DOCUMENT_CHARS), list[str](), 0
        while size < length:
            parts.append(rng.choice(pools[slug]).text)
            size += len(parts[-1]) + 2
        found.append(Row("\n\n".join(parts)[:length], "", "post", {}, slug))
    return found


def _innocent(corpus: Corpus, slug: str, *, only_test: bool) -> list[Row]:
    """Rows that their labels call innocent in every category of OpenAI's, none of them left open."""
    return [row for split, row in corpus.rows(slug) if row.harmful is False and (split == "test" or not only_test)]


def identity_rows() -> list[Row]:
    """Neutral sentences about every group, and innocent dialect; `source` is the family, `frame` the group."""
    document = tomllib.loads(IDENTITIES.read_text(encoding="utf-8"))
    rows: list[Row] = []
    for family, groups in document["groups"].items():
        for name, person in groups:
            for template in document["neutral"]:
                text = template.replace("{group}", name).replace("{person}", person)
                text = text.replace(" a A", " an A").replace(" a I", " an I")
                rows.append(Row(text[:1].upper() + text[1:], "", "post", {}, family, frame=name))
    for dialect, sentences in document["dialects"].items():
        rows.extend(Row(sentence, "", "post", {}, f"dialect: {dialect}", frame=dialect) for sentence in sentences)
    return rows


def language_rows(corpus: Corpus, most: int, seed: int) -> list[Row]:
    """Everyday sentences of many languages, test rows alone."""
    pool: Sequence[Row] = [row for split, row in corpus.rows("tatoeba-languages") if split == "test"]
    return sample(pool, most, seed)
