"""The model card: what the artefact is, what it was trained on, what it is worth and where it is weak.

Owns MODEL_CARD.md. Refuses to know how a figure was measured. Format: Mitchell et al. 2019, Model Cards.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.data import Corpus
from models.report import markdown
from models.tables import Table
from service.taxonomy import CATEGORIES

INTRODUCTION = """# Model card: {name}

A six-layer encoder (all-MiniLM-L6-v2, Apache-2.0) fine-tuned by this project to score English text in {count}
categories of harm, as an int8 ONNX graph of {size:.1f} MB. Made on {created}; recipe and seed in `models/recipe.toml`;
`make train` repeats it, `make eval` wrote this page and [the report](REPORT.md), which has the figures.

**Meant for** holding back harm in comments, chats, prompts and replies, together with the gateway's other stages and
with people who decide the doubtful cases. **Not meant for** judging persons, for languages other than English, or as
the only safeguard where a miss costs a life.

**Weak points.** The categories marked "not validated" have too few labelled rows to say what their scores are worth.
`sexual/minors`, `self-harm/intent`, `self-harm/instructions`, `illicit/violent` and `violence/graphic` rest mostly on
sentences of our own templates (`models/frames`) and on the topics of published request lists. Misinformation cannot be
seen from a text alone; that score is about style and never raises more than a flag. Slurs that are reclaimed, dialect
and quotation are judged better than by a plain fine-tune, not well. A window holds {tokens} tokens; of longer texts
every window is judged. Scores of prompts, posts and responses are calibrated on the training sources' own mixtures.

**Trained on** sources marked `train` below, their split `test` left out, and on {frames} contrast frames of our own.
Weights were never trained on the sources marked `measure`.
"""


def write_card(folder: Path, recipe: dict[str, Any], corpus: Corpus) -> None:
    """Write MODEL_CARD.md into the artefact's folder."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    introduction = INTRODUCTION.format(
        name=manifest["name"],
        count=len(CATEGORIES),
        created=manifest["created"],
        tokens=manifest["max_tokens"],
        size=(folder / "model.onnx").stat().st_size / 1e6,
        frames=manifest.get("contrast_frames", "the"),
    )
    presets = ("strict", "balanced", "permissive")
    lines = Table("Flag lines of the presets", ["category", *presets])
    lines.rows.extend([name, *(f"{manifest['presets'][p][name][0]:.3f}" for p in presets)] for name in CATEGORIES)
    sources = Table("Sources", ["source", "use here", "licence"], _sources(recipe, corpus))
    text = "\n".join([introduction, markdown(lines), markdown(sources)])
    (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")


def _sources(recipe: dict[str, Any], corpus: Corpus) -> list[list[str]]:
    trained = set(corpus.trainable())
    rows = []
    for slug, source in corpus.sources.items():
        use = "train" if slug in trained else "not used" if slug in recipe["data"]["exclude"] else "measure"
        stated = source["licence"] if source["licence_stated"] else f"not stated: {source['licence']}"
        rows.append([slug, use, stated.replace("|", "/")])
    return rows
