"""Hard negatives: innocent rows that the model shipped before finds most harmful are seen first.

Owns the ranking. Refuses to know training. Only sources whose rows are innocent for certain are mined: elsewhere the
most surprising rows are the mislabelled ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.data import LABELS, Row
from models.scoring import raw_logits, sample
from service.taxonomy import OPENAI_CATEGORIES

_SERVED = [LABELS.index(name) for name in OPENAI_CATEGORIES]


def hardest_first(
    pools: Mapping[str, list[Row]], options: Mapping[str, Any], graph: Path, max_tokens: int
) -> dict[str, list[Row]]:
    """Rows of the sources in `options["mined"]`, from the highest logit of OpenAI's categories to the lowest."""
    ranked: dict[str, list[Row]] = {}
    for slug in options["mined"]:
        rows = sample(pools[slug], int(options["mined_most"]), 1)
        tops = raw_logits(graph, rows, max_tokens)[:, _SERVED].max(1)
        ranked[slug] = [rows[n] for n in (-tops).argsort(kind="stable")]
    return ranked
