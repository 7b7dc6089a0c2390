"""What was measured, as a table with the aims beside it, and as JSON.

Owns the rows and whether an aim is met. Refuses to measure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `met` is None where there is no aim."""

    scenario: str
    name: str
    value: float
    unit: str
    aim: str
    met: bool | None
    note: str


@dataclass(slots=True)
class Table:
    """Prints each row as it comes."""

    rows: list[Row] = field(default_factory=list)
    _last: str = ""

    def add(
        self,
        scenario: str,
        name: str,
        value: float,
        unit: str = "",
        *,
        least: float | None = None,
        most: float | None = None,
        note: str = "",
    ) -> None:
        """A figure, and the least or the most that it should be."""
        met = None
        aim = ""
        if least is not None:
            met, aim = value >= least, f">= {least:g}"
        elif most is not None:
            met, aim = value <= most, f"<= {most:g}"
        row = Row(scenario, name, value, unit, aim, met, note)
        self.rows.append(row)
        if scenario != self._last:
            print(f"\n{scenario}", flush=True)
            self._last = scenario
        verdict = {None: "", True: "ok", False: "MISSED"}[met]
        figure = f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.3g}"
        print(f"  {name:<58}{figure:>10} {unit:<8}{aim:>10} {verdict:<7}{note}".rstrip(), flush=True)

    def skip(self, scenario: str, why: str) -> None:
        """Say that something was left out."""
        print(f"\n{scenario}\n  left out: {why}", flush=True)

    def attempt(self, scenario: str, work: Callable[[], object]) -> None:
        """Do one scenario; what goes wrong in it is told and does not end the others."""
        try:
            work()
        except Exception as error:  # a scenario is an edge: the rest of the run is worth having
            self.add(scenario, "could be measured", 0, least=1, note=f"{type(error).__name__}: {error}")

    def write(self, path: Path | None) -> None:
        """The rows as JSON, with the machine's cores and load."""
        missed = [f"{row.scenario}: {row.name}" for row in self.rows if row.met is False]
        print(f"\n{sum(row.met is True for row in self.rows)} aims met, {len(missed)} missed")
        if path is not None:
            machine = {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()}
            content = {"machine": machine, "rows": [asdict(row) for row in self.rows], "missed": missed}
            path.write_text(json.dumps(content, indent=1), encoding="utf-8")
