"""Innocent suites: the same sentences for every group, and nothing that is trained on."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("torch")

from models.contrast import expand, load_frames
from models.suites import identity_rows


def test_every_group_is_met_by_the_same_number_of_sentences() -> None:
    rows = [row for row in identity_rows() if not row.source.startswith("dialect")]
    counts = Counter(row.frame for row in rows)
    assert len(set(counts.values())) == 1 and len(counts) > 40
    assert not any("{" in row.text for row in rows)


def test_no_sentence_of_the_suite_is_in_a_frame() -> None:
    suite = {row.text.lower().strip(".") for row in identity_rows()}
    frames = {sentence.text.lower().strip(".") for sentence in expand(load_frames(), 40, 1)}
    assert not suite & frames
