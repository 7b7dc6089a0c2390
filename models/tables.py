"""Tables of the report: what scores and flags of labelled rows come to, per source, category, kind, theme and group.

Owns the tables. Refuses to know who made the scores, and how a table is written. Shapes: N rows, C categories.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from models.contrast import load_frames
from models.data import Row
from models.obfuscation import obfuscate
from models.ocr_noise import read_from_image
from models.scoring import NAMES, SERVED, Scored, known_labels
from models.statistics import (
    LEAST_CALIBRATED,
    Flags,
    Floats,
    auprc,
    calibration_error,
    calibration_noise,
    calibration_slope,
    interval,
    share,
)

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


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the report."""

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    note: str = ""


def any_served(flagged: Flags) -> Flags:
    """Whether any of OpenAI's 13 categories is flagged, per row. (N, C) -> (N,)."""
    return np.asarray(flagged[:, SERVED].any(axis=1), dtype=bool)


def judged(rows: Sequence[Row], scores: Floats) -> tuple[Flags, Floats]:
    """Any-harm truth and score of the rows of which it is known."""
    known = np.array([row.harmful is not None for row in rows], dtype=bool)
    harmful = np.array([row.harmful is True for row in rows], dtype=bool)
    return harmful[known], scores[known][:, SERVED].max(1, initial=0.0)


def per_category(title: str, rows: Sequence[Row], scores: Floats, flagged: Flags) -> Table:
    """Positives, negatives, area, and the shares flagged on either side."""
    targets, known = known_labels(rows)
    table = Table(title, ["category", "positives", "negatives", "AUPRC", "positives flagged", "negatives flagged"])
    for column, name in enumerate(NAMES):
        chosen = known[:, column]
        positive = targets[chosen, column] >= 0.5
        s, f = scores[chosen, column], flagged[chosen, column]
        counts = [str(int(positive.sum())), str(int((~positive).sum()))]
        table.rows.append([name, *counts, auprc(positive, s), share(f[positive]), share(f[~positive])])
    return table


def per_group(
    title: str, what: str, key: Callable[[Row], str], rows: Sequence[Row], scores: Floats, hit: Flags
) -> Table:
    """Any harm for each value of `key`: rows, area, and the shares flagged of harmful and of innocent rows."""
    table = Table(title, [what, "rows", "AUPRC", "harmful flagged", "innocent flagged"])
    keys = np.array([key(row) if row.harmful is not None else "" for row in rows])
    harmful = np.array([row.harmful is True for row in rows], dtype=bool)
    top = scores[:, SERVED].max(1, initial=0.0)
    for value in (name for name in dict.fromkeys(keys.tolist()) if name):
        chosen = keys == value
        truth = harmful[chosen]
        flags = hit[chosen]
        table.rows.append(
            [value, str(len(truth)), auprc(truth, top[chosen]), share(flags[truth]), share(flags[~truth])]
        )
    return table


def contrast_table(rows: Sequence[Row], flagged: Flags) -> Table:
    """Per theme and in all: accuracy, harmful flagged, innocent flagged; any of the 13 categories counts."""
    table = Table("Contrast frames never trained on", ["theme", "accuracy", "harmful flagged", "innocent flagged"])
    hit = any_served(flagged)
    harmful = np.array([row.harmful is True for row in rows])
    known = np.array([row.harmful is not None for row in rows])
    files = {frame.id: frame.theme for frame in load_frames()}
    themes = [files[row.frame] for row in rows]
    for theme in ("all", *dict.fromkeys(themes)):
        chosen = known & np.array([theme in ("all", t) for t in themes])
        right = hit[chosen] == harmful[chosen]
        table.rows.append([theme, share(right), share(hit[chosen & harmful]), share(hit[chosen & ~harmful])])
    return table


def innocent_table(title: str, what: str, rows: Sequence[Row], keys: Sequence[str], flagged: Flags, note: str) -> Table:
    """Per key and in all: innocent rows flagged, by OpenAI's categories and by any of ours."""
    table = Table(title, [what, "rows", "flagged in the 13", "flagged in any"], note=note)
    hit, whole = any_served(flagged), np.asarray(flagged.any(axis=1), dtype=bool)
    named = np.array(keys)
    for key in ("all", *sorted(dict.fromkeys(keys))):
        chosen = np.full(len(rows), True) if key == "all" else named == key
        table.rows.append([key, str(int(chosen.sum())), share(hit[chosen]), share(whole[chosen])])
    return table


def calibration_table(title: str, rows: Sequence[Row], scores: Floats) -> Table:
    """Calibration error and slope of every category with enough positives."""
    note = (
        f"15 bins of equal mass over scores above 0.05; categories with {LEAST_CALIBRATED} positives or more. Noise is "
        "the ECE that scores which are right would show on as many rows."
    )
    table = Table(title, ["category", "positives", "ECE", "noise", "slope"], note=note)
    targets, known = known_labels(rows)
    for column, name in enumerate(NAMES):
        chosen = known[:, column]
        positive, score = targets[chosen, column] >= 0.5, scores[chosen, column]
        if positive.sum() < LEAST_CALIBRATED:
            table.rows.append([name, str(int(positive.sum())), "not validated", "", "not validated"])
            continue
        error, slope = (
            interval(lambda draw, p=positive, s=score, f=f: f(p[draw], s[draw]), len(score))  # type: ignore[misc]
            for f in (calibration_error, calibration_slope)
        )
        noise = f"{calibration_noise(score):.3f}"
        table.rows.append([name, str(int(positive.sum())), error, noise, slope])
    return table


def robustness(scored: Scored, harmful: Sequence[Row], innocent: Sequence[Row]) -> Table:
    """Per obfuscation: of the harmful texts caught clean, those still caught; of the innocent, those flagged."""

    def hits(rows: Sequence[Row]) -> Flags:
        return any_served(scored.score(rows)[1])

    table = Table("Obfuscated text", ["obfuscation", "caught clean and still caught", "innocent flagged"])
    caught = [row for row, hit in zip(harmful, hits(harmful), strict=True) if hit]
    table.rows.append(["clean", "100 %", share(hits(innocent))])
    kept: list[Flags] = []
    for name in OBFUSCATIONS:
        kept.append(hits(_disguised(caught, name)))
        table.rows.append([name, share(kept[-1]), share(hits(_disguised(innocent, name)))])
    table.rows.append(["mean", share(np.concatenate(kept)), ""])
    table.rows.append(["read from an image", share(hits(_read(caught))), share(hits(_read(innocent)))])
    return table


def _read(rows: Sequence[Row]) -> list[Row]:
    return [replace(row, text=read_from_image(row.text, random.Random(n))) for n, row in enumerate(rows)]


def _disguised(rows: Sequence[Row], name: str) -> list[Row]:
    return [replace(row, text=obfuscate(row.text, name, random.Random(n))) for n, row in enumerate(rows)]
