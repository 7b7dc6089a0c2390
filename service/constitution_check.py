"""`weir constitution check FILE`: a constitution's file read, its examples run, and what fails said.

Owns the check and its words. Refuses to know arguments and exit codes. Examples go through the whole pipeline, as a
text would that asks for `auto`; for what is made of examples it also says how they are told apart when left out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from service.constitution.critique import breaches
from service.constitution.direct import DirectEvaluator
from service.constitution.principles import Constitution, Principle
from service.types import Content, Verdict

WEAK = 0.7  # AUROC of its own examples under which a principle is called weak


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report; `failed` is an example that was judged the other way."""

    text: str
    failed: bool = False


async def check(
    constitution: Constitution, evaluator: DirectEvaluator, moderate: Callable[[Content], Awaitable[Verdict]]
) -> list[Line]:
    """The report, principle by principle: how many examples came out as they should, and which did not."""
    report: list[Line] = []
    for principle in constitution.principles:
        examples = [(text, True) for text in principle.violates] + [(text, False) for text in principle.complies]
        wrong: list[Line] = []
        for text, violates in examples:
            verdict = await moderate(Content(text, constitution="auto"))
            found = any(breach.principle == principle.id for breach in breaches(constitution, verdict, text))
            covered = _covered(principle, verdict)
            if (found or covered) != violates:
                wrong.append(Line(f"  {'not found' if violates else 'found'}: {text}", failed=True))
        accuracy = evaluator.accuracy.get(principle.id)
        told = ""
        if accuracy is not None:
            told = f", told apart when left out: {accuracy.auroc:.2f}"
            told += ", WEAK: give it more examples, near-misses above all" if accuracy.auroc < WEAK else ""
        report.append(Line(f"{principle.id}: {len(examples) - len(wrong)} of {len(examples)} examples{told}"))
        report.extend(wrong)
    return report


def _covered(principle: Principle, verdict: Verdict) -> bool:
    """Whether a category of this principle is flagged, though another principle comes first for it."""
    if "classifier" not in principle.means:
        return False
    return any(j.flagged and j.category in principle.categories for j in verdict.judgements)
