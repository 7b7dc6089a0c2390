"""Which rows are used, and what is known of each. Needs no torch and none of the sources."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from models.data import LABELS, Corpus, Row, complete_labels, contrast_rows, load_recipe, one_pass
from service.taxonomy import CATEGORIES, OPENAI_CATEGORIES

PLAIN = "what a lovely garden"
GRAVE = "they will shoot the gun"


def test_heads_are_the_taxonomy_and_one_auxiliary() -> None:
    assert (*CATEGORIES, "unsafe") == LABELS


def test_toxic_is_toxicity_and_unknown_names_are_dropped() -> None:
    assert complete_labels({"toxic": 0.4, "spam": 1.0}, PLAIN) == {"toxicity": 0.4}
    assert complete_labels({}, PLAIN) == {}


def test_what_is_safe_is_safe_in_every_openai_category() -> None:
    labels = complete_labels({"unsafe": 0.0}, GRAVE)
    assert all(labels[name] == 0.0 for name in OPENAI_CATEGORIES)
    assert "toxicity" not in labels and "misinformation" not in labels


def test_what_is_unsafe_says_not_in_what_way() -> None:
    assert complete_labels({"unsafe": 1.0}, PLAIN) == {"unsafe": 1.0}


@pytest.mark.parametrize(("text", "known"), [(PLAIN, True), (GRAVE, False)])
def test_what_is_not_toxic_is_no_abuse_but_may_be_grave(text: str, known: bool) -> None:
    labels = complete_labels({"toxicity": 0.0}, text)
    assert labels["hate"] == labels["harassment/threatening"] == 0.0
    assert ("violence" in labels) == ("self-harm/intent" in labels) == ("illicit" in labels) == known


@pytest.mark.parametrize(("text", "known"), [(PLAIN, True), (GRAVE, False)])
def test_what_is_toxic_is_not_also_everything_else(text: str, known: bool) -> None:
    labels = complete_labels({"toxicity": 1.0}, text)
    assert (labels.get("self-harm") == 0.0) == (labels.get("prompt-injection") == 0.0) == known
    assert "hate" not in labels and "harassment" not in labels


def test_a_child_implies_its_parent_and_an_absent_parent_its_children() -> None:
    labels = complete_labels({"hate/threatening": 0.8, "hate": 0.1, "violence": 0.0}, GRAVE)
    assert (labels["hate"], labels["violence/graphic"]) == (0.8, 0.0)
    assert "hate" not in complete_labels({"hate/threatening": 0.2}, GRAVE)


def test_what_a_set_says_itself_is_never_overwritten() -> None:
    labels = complete_labels({"unsafe": 0.0, "toxicity": 0.0, "violence": 1.0, "hate": 0.3}, PLAIN)
    assert (labels["violence"], labels["hate"]) == (1.0, 0.3)


@pytest.mark.parametrize(
    ("labels", "harmful"),
    [
        ({}, None),
        ({"toxicity": 1.0}, None),
        ({"hate": 0.6}, True),
        ({"unsafe": 1.0}, True),
        ({"unsafe": 0.0}, False),
        ({"hate": 0.0}, None),
        ({"hate": 0.0, "harassment": 0.0, "violence": 0.0, "sexual": 0.0}, False),
        ({"hate": 0.4, "harassment": 0.0, "violence": 0.0, "sexual": 0.0}, None),
    ],
)
def test_a_row_is_harmful_innocent_or_neither(labels: dict[str, float], harmful: bool | None) -> None:
    assert Row(PLAIN, "", "post", labels, "x").harmful is harmful


def test_contrast_rows_of_training_and_measuring_share_no_frame() -> None:
    recipe = load_recipe()
    trained = contrast_rows(recipe, held_out=False, per_side=1, seed=1)
    measured = contrast_rows(recipe, held_out=True, per_side=1, seed=1)
    assert trained and measured
    assert not {row.frame for row in trained} & {row.frame for row in measured}
    assert all(row.labels["unsafe"] in (0.0, 1.0) and row.source == "contrast" for row in trained)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Four sources of 200 rows: one that trains, one excluded, one held out, one that only measures."""
    recipe: dict[str, Any] = load_recipe()
    recipe["data"] |= {"exclude": ["left-out"], "held_out": ["unseen"], "dev_share": 10, "max_chars": 40, "caps": {}}
    recipe["data"] |= {"default_cap": 50, "repeats": {"trains": 2.0}, "contrast_per_side": 1, "share": 1}
    uses = {"trains": "train", "left-out": "train", "unseen": "train", "measures": "measure", "pairs-x": "measure"}
    (tmp_path / "sources.json").write_text(json.dumps([{"slug": slug, "use": use} for slug, use in uses.items()]))
    for slug in uses:
        rows = [
            {"text": f"{slug} {n} " + "x" * 50, "labels": {"toxic": 0.0}, "split": "test" if n % 4 == 0 else "train"}
            for n in range(200)
        ]
        with gzip.open(tmp_path / f"{slug}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return Corpus(recipe, tmp_path)


def test_only_sources_for_training_train(corpus: Corpus) -> None:
    assert corpus.trainable() == ["trains"]
    assert corpus.unseen() == ["unseen", "measures"]


def test_dev_rows_are_taken_from_train_and_never_from_test(corpus: Corpus) -> None:
    rows = list(corpus.rows("trains"))
    tests = [row for split, row in rows if split == "test"]
    splits = {split: {row.text for s, row in rows if s == split} for split in ("train", "dev", "test")}
    assert len(tests) == 50 and 3 <= len(splits["dev"]) <= 35
    assert not splits["train"] & splits["dev"] and not splits["test"] & (splits["train"] | splits["dev"])
    assert [row.text for _, row in rows] == [row.text for _, row in corpus.rows("trains")]
    assert all(len(row.text) <= 40 and row.kind == "post" and row.labels["hate"] == 0.0 for _, row in rows)


def test_a_pass_caps_and_repeats(corpus: Corpus) -> None:
    pool = [row for split, row in corpus.rows("trains") if split == "train"]
    rows = one_pass(corpus, {"trains": pool}, seed=1)
    own = [row for row in rows if row.source == "trains"]
    assert len(own) == 100 and any(row.source == "contrast" for row in rows)  # a cap of 50, twice
    assert [row.text for row in rows] == [row.text for row in one_pass(corpus, {"trains": pool}, seed=1)]


def test_half_of_what_is_taken_of_a_mined_source_is_its_hardest(corpus: Corpus) -> None:
    pool = [row for split, row in corpus.rows("trains") if split == "train"]
    hardest = sorted(pool, key=lambda row: row.text)
    taken = [row.text for row in one_pass(corpus, {"trains": pool}, 1, {"trains": hardest}) if row.source == "trains"]
    assert len(taken) == 100 and {row.text for row in hardest[:50]} <= set(taken)
