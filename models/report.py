"""REPORT.md: what the artefact and the running service are worth, as tables and pictures.

Owns the page. Refuses to know how a figure was measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.tables import Table

VALIDATION = "validation.json"

INTRODUCTION = """# Report on {name}

What the model and the gateway around it are worth, measured by `make eval` on rows that neither trained nor tuned
anything, unless it says otherwise. Figures in brackets are 95 % bootstrap intervals. "Flagged" is with the default
thresholds; without another word it means any of OpenAI's 13 categories. Tables of "the artefact" score the first window
of a text without normalisation; tables of "the running service" ask a gateway over HTTP.
"""


def write_report(
    folder: Path, manifest: Mapping[str, Any], parts: Mapping[str, Sequence[Table]], pictures: Sequence[tuple[str, str]]
) -> Path:
    """Write REPORT.md into the artefact's folder. `pictures` are (caption, path within the folder)."""
    text = [INTRODUCTION.format(name=manifest["name"])]
    text.extend(f"![{caption}]({path})\n\n{caption}\n" for caption, path in pictures)
    for part, tables in parts.items():
        text.append(f"## {part}\n")
        text.extend(markdown(table) for table in tables)
    path = folder / "REPORT.md"
    path.write_text("\n".join(text), encoding="utf-8")
    return path


def markdown(table: Table) -> str:
    """A table with its title and note."""
    lines = [f"### {table.title}\n"]
    if table.note:
        lines.append(f"{table.note}\n")
    lines.append("| " + " | ".join(table.header) + " |")
    lines.append("|" + " --- |" * len(table.header))
    lines.extend("| " + " | ".join(row) + " |" for row in table.rows)
    return "\n".join([*lines, ""])


def read_validation(folder: Path) -> dict[str, Any] | None:
    """The leave-one-group-out run that `models.validate` left with the artefact; None where it has not been run."""
    if not (folder / VALIDATION).exists():
        return None
    found: dict[str, Any] = json.loads((folder / VALIDATION).read_text(encoding="utf-8"))
    return found


def validation_table(run: Mapping[str, Any]) -> Table:
    """Every cell of the folds, beside the recipe before."""
    note = (
        f"Each group of sources left out of a short run ({run['tokens']} tokens from the published encoder) and "
        f"measured among innocent rows. Uncalibrated, first window. Mean over groups {run['mean']:.3f}"
    )
    note += f", of the recipe before {run['before_mean']:.3f}." if run["before"] else "; no run to compare with."
    table = Table("Leave one group out", ["group", "what", "positives", "AUPRC", "the recipe before"], note=note)
    for group, cells in run["table"].items():
        for name, values in cells.items():
            before = run["before"].get(group, {}).get(name)
            table.rows.append([group, name, f"{values[3]:.0f}", _cell(values), _cell(before) if before else "-"])
        means = [_mean(found) for found in (cells, run["before"].get(group))]
        table.rows.append([group, "mean", "", *means])
    return table


def _mean(cells: Mapping[str, Sequence[float]] | None) -> str:
    return f"{np.mean([values[0] for values in cells.values()]):.3f}" if cells else "-"


def _cell(values: Sequence[float]) -> str:
    return f"{values[0]:.3f} ({values[1]:.3f}-{values[2]:.3f})"


def gate_table(manifest: Mapping[str, Any]) -> Table:
    """int8 against fp32."""
    table = Table("int8 against fp32, dev AUPRC", ["category", "fp32", "int8"])
    table.rows.extend([name, f"{fp32:.4f}", f"{int8:.4f}"] for name, (fp32, int8) in manifest["gate"].items())
    return table
