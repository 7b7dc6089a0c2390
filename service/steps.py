"""The pipeline's steps as `data/pipeline.toml` lists them, and as an operator has them fail.

Owns the file form of steps and the names of gates. Refuses to know concrete stages: `wiring` gives makers by name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from service.errors import StartRefused
from service.pipeline import Gate, Step, always, asks_constitution, has_context, has_images, has_text
from service.stages.composition import has_facts
from service.types import Stage

GATES: Mapping[str, Gate] = {
    "always": always,
    "text": has_text,
    "images": has_images,
    "context": has_context,
    "facts": has_facts,
    "constitution": asks_constitution,
}


def load_steps(
    path: Path,
    stages: Mapping[str, Callable[[dict[str, Any]], Stage]],
    budget_s: float,
    fail_open: Sequence[str] = (),
    gates: Mapping[str, Gate] = GATES,
) -> list[Step]:
    """The pipeline's steps as `pipeline.toml` lists them; raises StartRefused for a name that does not exist.

    `fail_open` names further stages whose failure leaves the action as it is; `gates` are all that a step may name.
    """
    steps: list[Step] = []
    names: list[str] = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["steps"]:
        name, gate = entry["stage"], entry.get("gate", "always")
        if name not in stages or gate not in gates:
            raise StartRefused(f"{path.name}: there is no stage {name!r} or no gate {gate!r}")
        names.append(name)
        steps.append(
            Step(
                stages[name](entry),
                budget_s=min(float(entry["budget_s"]), budget_s),
                gate=gates[gate],
                fail_open=name in fail_open or bool(entry.get("fail_open", False)),
                beside=bool(entry.get("beside", False)),
            )
        )
    if unknown := sorted(set(fail_open) - set(names)):
        raise StartRefused(f"WEIR_FAIL_OPEN: there is no stage {unknown[0]!r}; there are {', '.join(names)}")
    return steps
