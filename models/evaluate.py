"""`make eval`: what an artefact and the running service are worth, written into REPORT.md and the model card.

Owns which rows measure what. Refuses to know how a score is made and how a table is laid out. Test rows, sources left
out of training, contrast frames never trained on and innocent text; nothing here is fitted.

    python -m models.evaluate [--artifact FOLDER] [--url http://...]
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.gateway import running_gateway
from models.card import write_card
from models.data import Corpus, Row, contrast_rows, data_folder, load_recipe
from models.figures import draw_folds, draw_precision_recall, draw_reliability
from models.release import ARTIFACT
from models.report import gate_table, read_validation, validation_table, write_report
from models.scoring import ArtifactScorer, ServiceScorer, sample
from models.statistics import auprc, share
from models.suites import documents, identity_rows, language_rows, ordinary_rows
from models.tables import (
    Table,
    any_served,
    calibration_table,
    contrast_table,
    innocent_table,
    judged,
    per_category,
    per_group,
    robustness,
)

TEST_ROWS = 600  # of one source's test split
UNSEEN_ROWS = 400  # of one source that was left out of training
CONTRAST_PER_SIDE = 12
LANGUAGE_ROWS = 729
LANGUAGES = 10


def test_rows(corpus: Corpus, seed: int) -> list[Row]:
    """Test splits of the sources that are trained on."""
    rows: list[Row] = []
    for slug in corpus.trainable():
        rows.extend(sample([row for split, row in corpus.rows(slug) if split == "test"], TEST_ROWS, seed))
    return rows


def unseen_rows(corpus: Corpus, seed: int) -> list[Row]:
    """The reporting half of the sources left out of training."""
    rows: list[Row] = []
    for slug in corpus.unseen():
        rows.extend(sample(corpus.unseen_rows(slug, tuning=False), UNSEEN_ROWS, seed))
    return rows


class Evaluation:
    """One run: tables and pictures of an artefact folder and of a gateway that serves it."""

    def __init__(self, folder: Path, recipe: dict[str, Any], url: str) -> None:
        self.folder, self.recipe, self.seed = folder, recipe, int(recipe["seed"])
        self.corpus = Corpus(recipe, data_folder(recipe))
        self.artifact, self.service = ArtifactScorer(folder), ServiceScorer(url)
        self.unseen = unseen_rows(self.corpus, self.seed)
        self.pictures: list[tuple[str, str]] = []

    def of_artifact(self) -> list[Table]:
        """Test splits, by source, category and kind, and calibration."""
        rows = test_rows(self.corpus, self.seed)
        scores, flagged = self.artifact.score(rows)
        caption = "What a score says against how often it is right, test splits"
        self.pictures.append((caption, draw_reliability(rows, scores, self.folder / "report" / "reliability.svg")))
        hit = any_served(flagged)
        return [
            per_group("Test splits, any harm", "source", lambda row: row.source, rows, scores, hit),
            per_group("Test splits, any harm by kind", "kind", lambda row: row.kind, rows, scores, hit),
            per_category("Test splits, per category", rows, scores, flagged),
            calibration_table("Test splits, calibration", rows, scores),
        ]

    def of_service(self) -> list[Table]:
        """Sources left out of training, contrast frames never trained on, and disguises."""
        rows = self.unseen
        scores, flagged = self.service.score(rows)
        hit, pooled = any_served(flagged), judged(rows, scores)
        caption = "Precision and recall of any harm, sources left out of training"
        curves = {"all": pooled}
        for kind in ("post", "prompt"):
            chosen = [n for n, row in enumerate(rows) if row.kind == kind]
            curves[kind] = judged([rows[n] for n in chosen], scores[chosen])
        path = self.folder / "report" / "precision-recall.svg"
        self.pictures.append((caption, draw_precision_recall(curves, path)))
        contrast = contrast_rows(self.recipe, held_out=True, per_side=CONTRAST_PER_SIDE, seed=self.seed)
        sides = [
            sample([r for r in contrast if r.harmful is side and len(r.text) < 300], 300, 5) for side in (True, False)
        ]
        return [
            Table("Sources left out of training, pooled", ["what", "AUPRC"], [["any harm", auprc(*pooled)]]),
            per_group("Sources left out, any harm", "source", lambda row: row.source, rows, scores, hit),
            per_group("Sources left out, any harm by kind", "kind", lambda row: row.kind, rows, scores, hit),
            per_category("Sources left out, per category", rows, scores, flagged),
            contrast_table(contrast, self.service.score(contrast)[1]),
            robustness(self.service, *sides),
        ]

    def of_innocent(self) -> list[Table]:
        """False alarms: ordinary talk, long documents, groups, languages."""
        tables = []
        rows = ordinary_rows(self.corpus, self.recipe)
        note = "Every test row of the innocent sources, and rows of innocent sources that were never trained on."
        flagged = self.service.score(rows)[1]
        tables.append(innocent_table("Ordinary talk", "source", rows, [row.source for row in rows], flagged, note))
        rows = documents(self.corpus, self.recipe)
        note = "Of 5,000 to 20,000 characters, joined from innocent rows that were never trained on."
        flagged = self.service.score(rows)[1]
        tables.append(innocent_table("Long documents", "made of", rows, [row.source for row in rows], flagged, note))
        rows = identity_rows()
        flagged = self.service.score(rows)[1]
        hit = any_served(flagged)
        groups = [row.frame for row in rows if not row.source.startswith("dialect")]
        shares = {g: float(np.mean([h for h, row in zip(hit, rows, strict=True) if row.frame == g])) for g in groups}
        worst = sorted(shares, key=lambda g: -shares[g])[:5]
        note = (
            "The same neutral sentences about every group, and innocent dialect (`identities.toml`). Most flagged: "
            + ", ".join(f"{g} {100 * shares[g]:.0f} %" for g in worst)
            + f". In all {share(np.array([h for h, r in zip(hit, rows, strict=True) if r.frame in shares]))}."
        )
        tables.append(
            innocent_table("Groups and dialects", "family", rows, [row.source for row in rows], flagged, note)
        )
        rows = language_rows(self.corpus, LANGUAGE_ROWS, self.seed)
        flagged, languages = self.service.score_languages(rows)
        common = sorted(set(languages), key=lambda code: -languages.count(code))[:LANGUAGES]
        keys = [code if code in common else "others" for code in languages]
        note = "Everyday sentences, test rows; the language is the one that the gateway names."
        tables.append(innocent_table("Languages", "language", rows, keys, flagged, note))
        return tables

    def write(self) -> Path:
        """Measure everything and write REPORT.md and MODEL_CARD.md."""
        parts: dict[str, list[Table]] = {}
        run = read_validation(self.folder)
        if run is not None:
            path = self.folder / "report" / "folds.svg"
            caption = "Each group of sources left out in turn"
            self.pictures.append((caption, draw_folds(run["table"], run["before"], path)))
            parts["Recipe"] = [validation_table(run)]
        parts |= {
            "The running service": self.of_service(),
            "The running service on innocent text": self.of_innocent(),
            "The artefact alone": [*self.of_artifact(), gate_table(self.artifact.manifest)],
        }
        write_card(self.folder, self.recipe, self.corpus)
        return write_report(self.folder, self.artifact.manifest, parts, self.pictures)


def main() -> None:
    """Command line of the evaluation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", type=Path, default=ARTIFACT)
    parser.add_argument("--url", help="measure this running service instead of one of our own")
    options = parser.parse_args()
    with ExitStack() as stack:
        url = options.url
        if url is None:
            url = stack.enter_context(running_gateway(model_dir=str(options.artifact.resolve()))).url
        print(Evaluation(options.artifact, load_recipe(), url).write().read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
