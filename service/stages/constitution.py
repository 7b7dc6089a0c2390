"""Stage one of the constitution in the pipeline: principles as findings.

Owns how an assessment becomes findings with places in the original. Refuses to know how a principle is evaluated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from service.constitution.live import LiveConstitutions
from service.constitution.reading import Reader, Reading
from service.normalize import View, views
from service.stages.semantic import telling_views
from service.taxonomy import Action
from service.types import Content, Finding, Span

MOST_PLACES = 2  # findings of one principle
_LONG = 20_000  # code points from which the event loop is spared


class ConstitutionStage:
    """Holds every principle of the policy's constitution against the plain reading of a text."""

    name = "constitution"

    def __init__(
        self, constitutions: LiveConstitutions, reader: Reader, read: Callable[[str], Sequence[View]] = views
    ) -> None:
        """`read` gives a text's readings, the plain one first."""
        self._constitutions = constitutions
        self._reader = reader
        self._read = read

    async def inspect(self, content: Content, so_far: Sequence[Finding]) -> list[Finding]:
        """A finding without category for each principle that has evidence; at its line it calls for its action."""
        evaluator = self._constitutions.get(content.policy)
        long = len(content.text) > _LONG
        found = await asyncio.to_thread(self._read, content.text) if long else self._read(content.text)
        view = telling_views(found)[0]
        wanted = evaluator.needs_reading
        reading = await self._reader.read(view.text, content.cache_scope) if wanted else Reading.empty()
        if len(view.text) > _LONG:
            assessments = await asyncio.to_thread(evaluator.assess, view.text, reading)
        else:
            assessments = evaluator.assess(view.text, reading)
        findings: list[Finding] = []
        for assessment in assessments:
            principle = assessment.principle
            for evidence in assessment.evidence[:MOST_PLACES]:
                findings.append(
                    Finding(
                        category="",
                        score=round(evidence.score, 6),
                        stage=self.name,
                        reason=f"principle:{principle.id}:{evidence.ground}",
                        span=Span(*view.original_span(evidence.span.start, evidence.span.end)),
                        calls_for=principle.action if evidence.score >= principle.line else Action.ALLOW,
                    )
                )
        return findings


async def plain_reading(reader: Reader, content: Content) -> Reading:
    """A content's text as this stage reads it, for whoever looks again."""
    long = len(content.text) > _LONG
    found = await asyncio.to_thread(views, content.text) if long else views(content.text)
    return await reader.read(telling_views(found)[0].text, content.cache_scope)
