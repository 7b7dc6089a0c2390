"""`make eval`: what an artefact and the running service are worth, printed and written into the model card.

Owns which rows measure what. Refuses to know how a score is made. Test rows, sources left out of training and contrast
frames never trained on; nothing here is fitted.

    python -m models.evaluate [--artifact FOLDER] [--url http://...]
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from loadtest.gateway import running_gateway
from models.card import write_card
from models.data import Corpus, Row, contrast_rows, data_folder, load_recipe
from models.obfuscation import obfuscate
from models.release import ARTIFACT
from models.scoring import NAMES, SERVED, ArtifactScorer, Floats, Scored, ServiceScorer, known_labels, sample

TEST_ROWS = 300  # of one source's test split
UNSEEN_ROWS = 400  # of one source that was left out of training
CONTRAST_PER_SIDE = 12
RESAMPLES = 300
LEAST = 20  # positives below which no AUPRC is given
OBFUSCATIONS = (  # eleven that people use
    "leet",
    "homoglyph",
    "zero_width",
    "spaced_letters",
    "punctuated_letters",
    "full_width",
    "combining",
    "repeats",
    "vowel_masking",
    "typos",
    "case_mix",
)
Table = list[list[str]]
Flags = NDArray[np.bool_]


def interval(figure: Callable[[NDArray[np.int64]], float], size: int) -> str:
    """A figure with its 95 % bootstrap interval over rows (Efron 1979)."""
    rng = np.random.default_rng(7)
    draws = [figure(rng.integers(0, size, size)) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return f"{figure(np.arange(size)):.3f} ({low:.3f}-{high:.3f})"


def auprc(positive: Flags, score: Floats) -> str:
    """Area under the precision-recall curve with its interval, or how many positives there are where too few."""
    if positive.sum() < LEAST or (~positive).sum() < LEAST:
        return f"not validated ({int(positive.sum())} positives)"

    def figure(chosen: NDArray[np.int64]) -> float:
        return float(average_precision_score(positive[chosen], score[chosen])) if positive[chosen].any() else np.nan

    return interval(figure, len(positive))


def share(flags: Flags) -> str:
    """A share in percent with its interval and the number of rows."""
    if not len(flags):
        return "-"
    rng = np.random.default_rng(7)
    draws = [flags[rng.integers(0, len(flags), len(flags))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{100 * flags.mean():.1f} % ({100 * low:.1f}-{100 * high:.1f}), n={len(flags)}"


def per_category(rows: Sequence[Row], scores: Floats, flagged: Flags) -> Table:
    """Category, positives, negatives, AUPRC, and the shares flagged on either side."""
    targets, known = known_labels(rows)
    table: Table = []
    for column, name in enumerate(NAMES):
        chosen = known[:, column]
        positive = targets[chosen, column] >= 0.5
        s, f = scores[chosen, column], flagged[chosen, column]
        table.append(
            [
                name,
                str(int(positive.sum())),
                str(int((~positive).sum())),
                auprc(positive, s),
                share(f[positive]),
                share(f[~positive]),
            ]
        )
    return table


def per_source(rows: Sequence[Row], scores: Floats, flagged: Flags) -> Table:
    """Source, rows, AUPRC of any harm, and the shares flagged of harmful and of innocent rows (13 categories)."""
    table: Table = []
    top, hit = scores[:, SERVED].max(1), _any_served(flagged)
    for source in dict.fromkeys(row.source for row in rows):
        chosen = np.array(
            [n for n, row in enumerate(rows) if row.source == source and row.harmful is not None], dtype=int
        )
        if not len(chosen):
            continue
        harmful = np.array([bool(rows[n].harmful) for n in chosen])
        table.append(
            [
                source,
                str(len(chosen)),
                auprc(harmful, top[chosen]),
                share(hit[chosen][harmful]),
                share(hit[chosen][~harmful]),
            ]
        )
    return table


def _any_served(flagged: Flags) -> Flags:
    """Whether any of the 13 categories is flagged, per row."""
    return np.asarray(flagged[:, SERVED].any(axis=1), dtype=bool)


def contrast_table(rows: Sequence[Row], flagged: Flags) -> Table:
    """Per theme and in all: accuracy, harmful flagged, innocent flagged; any of the 13 categories counts."""
    hit = _any_served(flagged)
    served = np.array([row.harmful is True for row in rows])
    judged = np.array([row.harmful is not None for row in rows])
    themes = [row.frame.partition("-")[0] for row in rows]
    table: Table = []
    for theme in ("all", *dict.fromkeys(themes)):
        chosen = judged & np.array([theme in ("all", t) for t in themes])
        right = hit[chosen] == served[chosen]
        table.append([theme, share(right), share(hit[chosen & served]), share(hit[chosen & ~served])])
    return table


def robustness(scored: Scored, harmful: Sequence[Row], innocent: Sequence[Row]) -> Table:
    """Per obfuscation: of the harmful texts caught clean, those still caught; of the innocent, those flagged."""

    def hits(rows: Sequence[Row]) -> Flags:
        return _any_served(scored.score(rows)[1])

    caught = [row for row, hit in zip(harmful, hits(harmful), strict=True) if hit]
    table: Table = [["clean", "100 %", share(hits(innocent))]]
    kept: list[Flags] = []
    for name in OBFUSCATIONS:
        kept.append(hits(_disguised(caught, name)))
        table.append([name, share(kept[-1]), share(hits(_disguised(innocent, name)))])
    table.append(["mean", share(np.concatenate(kept)), ""])
    return table


def _disguised(rows: Sequence[Row], name: str) -> list[Row]:
    return [
        Row(obfuscate(row.text, name, random.Random(n)), "", row.kind, row.labels, row.source)
        for n, row in enumerate(rows)
    ]


def rows_to_measure(corpus: Corpus, recipe: dict[str, Any]) -> dict[str, list[Row]]:
    """The three sets: test splits of trained sources, sources left out of training, held-out contrast frames."""
    seed = int(recipe["seed"])
    test: list[Row] = []
    for slug in corpus.trainable():
        test.extend(sample([row for split, row in corpus.rows(slug) if split == "test"], TEST_ROWS, seed))
    unseen: list[Row] = []
    for slug in corpus.unseen():
        unseen.extend(sample(corpus.unseen_rows(slug, tuning=False), UNSEEN_ROWS, seed))
    contrast = contrast_rows(recipe, held_out=True, per_side=CONTRAST_PER_SIDE, seed=seed)
    return {"test": test, "unseen": unseen, "contrast": contrast}


def measure(scored: Scored, sets: dict[str, list[Row]], *, disguise: bool) -> dict[str, Table]:
    """Every table for one scorer."""
    tables: dict[str, Table] = {}
    for name, rows in sets.items():
        scores, flagged = scored.score(rows)
        if name == "contrast":
            tables["Contrast frames never trained on"] = contrast_table(rows, flagged)
            continue
        title = "Test splits of trained sources" if name == "test" else "Sources left out of training"
        tables[f"{title}, any harm"] = per_source(rows, scores, flagged)
        tables[f"{title}, per category"] = per_category(rows, scores, flagged)
        if name == "unseen":
            known = [n for n, row in enumerate(rows) if row.harmful is not None]
            harmful = np.array([bool(rows[n].harmful) for n in known])
            tables[f"{title}, pooled"] = [["any harm", auprc(harmful, scores[known][:, SERVED].max(1))]]
    if disguise:
        rows = sets["contrast"]
        pick = [sample([r for r in rows if r.harmful is side and len(r.text) < 300], 300, 5) for side in (True, False)]
        tables["Obfuscated text"] = robustness(scored, pick[0], pick[1])
    return tables


def main() -> None:
    """Command line of the evaluation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", type=Path, default=ARTIFACT)
    parser.add_argument("--url", help="measure this running service instead of one of our own")
    options = parser.parse_args()
    recipe = load_recipe()
    corpus = Corpus(recipe, data_folder(recipe))
    sets = rows_to_measure(corpus, recipe)
    results = {"artefact": measure(ArtifactScorer(options.artifact), sets, disguise=False)}
    live = {name: sets[name] for name in ("unseen", "contrast")}
    if options.url:
        results["service"] = measure(ServiceScorer(options.url), live, disguise=True)
    else:
        with running_gateway(model_dir=str(options.artifact.resolve())) as gateway:
            results["service"] = measure(ServiceScorer(gateway.url), live, disguise=True)
    print(write_card(options.artifact, recipe, corpus, results))


if __name__ == "__main__":
    main()
