"""The report's page: tables, pictures and the folds, from figures that are given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from models.figures import draw_folds
from models.report import VALIDATION, markdown, read_validation, validation_table, write_report
from models.tables import Table

RUN = {
    "tokens": 10,
    "mean": 0.6,
    "before_mean": 0.5,
    "table": {"forum": {"any harm": [0.6, 0.5, 0.7, 80.0]}},
    "before": {"forum": {"any harm": [0.5, 0.4, 0.6, 80.0]}},
}


def test_a_table_is_markdown() -> None:
    text = markdown(Table("Ordinary talk", ["source", "flagged"], [["news", "1.0 %"]], note="All of it."))
    assert text.splitlines() == [
        "### Ordinary talk",
        "",
        "All of it.",
        "",
        "| source | flagged |",
        "| --- | --- |",
        "| news | 1.0 % |",
    ]


def test_the_folds_stand_beside_those_of_the_recipe_before(tmp_path: Path) -> None:
    (tmp_path / VALIDATION).write_text(json.dumps(RUN))
    run = read_validation(tmp_path)
    assert run is not None and read_validation(tmp_path / "elsewhere") is None
    table = validation_table(run)
    assert table.rows == [
        ["forum", "any harm", "80", "0.600 (0.500-0.700)", "0.500 (0.400-0.600)"],
        ["forum", "mean", "", "0.600", "0.500"],
    ]


def test_folds_with_nothing_to_compare_with_say_so() -> None:
    table = validation_table({**RUN, "before": {}, "before_mean": None})
    assert table.rows[-1] == ["forum", "mean", "", "0.600", "-"] and "no run to compare with" in table.note


def test_the_page_shows_its_pictures(tmp_path: Path) -> None:
    path = draw_folds(RUN["table"], RUN["before"], tmp_path / "report" / "folds.svg")  # type: ignore[arg-type]
    page = write_report(tmp_path, {"name": "weir-tiny"}, {"Recipe": [validation_table(RUN)]}, [("Folds", path)])
    text = page.read_text()
    assert "# Report on weir-tiny" in text and "![Folds](report/folds.svg)" in text
    assert (tmp_path / "report" / "folds.svg").read_text().startswith("<?xml")
