"""The path of one content: stages in order, each with its budget; then the decision.

Owns order, budgets, gates and degradation. Refuses to know policy numbers, models and HTTP, and what makes two
contents the same (`evidence`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from service.errors import BadInput, Overloaded
from service.evidence import Evidence, EvidenceCache, Source
from service.metrics import Metrics
from service.policy import LivePolicies, Policy, decide
from service.taxonomy import Action
from service.types import NOTES, Content, Finding, Judgement, Span, Stage, Verdict

log = logging.getLogger("weir.pipeline")

REVISION_LIMIT = 20_000  # code points; a suggested revision of a longer text would only repeat it


class Gate(Protocol):
    """Whether a step has something to do for this content, given what was found so far."""

    def __call__(self, content: Content, so_far: Sequence[Finding]) -> bool:
        """True where the stage is to run."""
        ...


class LanguageOf(Protocol):
    """Names the language of a text, and whether the model was measured on it."""

    def __call__(self, text: str) -> tuple[str, bool]:
        """(ISO 639-1 code or 'und', measured)."""
        ...


def always(content: Content, so_far: Sequence[Finding]) -> bool:
    """The gate of a stage that every text passes."""
    return True


def has_text(content: Content, so_far: Sequence[Finding]) -> bool:
    """The gate of a stage that reads the text: only with images can there be none."""
    return bool(content.text) or not content.images


def has_images(content: Content, so_far: Sequence[Finding]) -> bool:
    """The gate of a stage that looks at images."""
    return bool(content.images)


def has_context(content: Content, so_far: Sequence[Finding]) -> bool:
    """The gate of a stage that reads the text with the turns before it."""
    return has_text(content, so_far) and any(turn.text.strip() for turn in content.context)


def asks_constitution(content: Content, so_far: Sequence[Finding]) -> bool:
    """The gate of a stage that holds principles against the text."""
    return content.constitution != "off" and has_text(content, so_far)


@dataclass(frozen=True, slots=True)
class Step:
    """A stage, when it runs, how long it may take, and whether its failure may pass silently (it is still named).

    `beside`: it runs at the same time as the step before it, and sees only what was found before both.
    """

    stage: Stage
    budget_s: float
    gate: Gate = always
    fail_open: bool = False
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one step: findings, or the error that took their place."""

    step: Step
    findings: tuple[Finding, ...]
    error: Exception | None
    seconds: float

    @property
    def missing_all(self) -> bool:
        """Whether the stage has failed, or says that it has for a part of the content."""
        return self.error is not None or any(found.missing and ":" not in found.missing for found in self.findings)

    @property
    def missing_some(self) -> bool:
        """Whether there is something that it should have looked at and could not."""
        return self.missing_all or any(found.missing and not found.missing.startswith(NOTES) for found in self.findings)


class Pipeline:
    """Runs the steps over a content and makes the verdict."""

    def __init__(
        self,
        steps: Sequence[Step],
        policies: LivePolicies,
        language_of: LanguageOf,
        model: str,
        metrics: Metrics,
        evidence: EvidenceCache | None = None,
    ) -> None:
        """Without `evidence` nothing is kept, and equal contents are not joined."""
        self._groups: list[list[Step]] = []
        for step in steps:
            if step.beside and self._groups:
                self._groups[-1].append(step)
            else:
                self._groups.append([step])
        self.policies = policies
        self._language_of = language_of
        self._model = model
        self._metrics = metrics
        self._evidence = evidence

    async def moderate(self, content: Content) -> Verdict:
        """Judge one content, and count the verdict.

        Raises UnknownPolicy, BadInput for an image that is none, and Overloaded when there is no room for it; any other
        failure of a stage is named in `degraded` and can only raise the action.
        """
        verdict = await self.judge(content)
        self._metrics.count_verdict(verdict)
        return verdict

    async def judge(self, content: Content) -> Verdict:
        """The same without counting: for a part of a content that is counted as a whole."""
        begun = time.perf_counter()
        policy = self.policies.get(content.policy)
        if self._evidence is None:
            evidence, source = await self._gather(content), Source.GATHERED
        else:
            evidence, source = await self._evidence.of(content, self._gather)
        return self._verdict(content, policy, evidence, source, begun)

    async def _gather(self, content: Content) -> Evidence:
        """Run the steps."""
        findings: list[Finding] = []
        failed: list[Step] = []
        doubtful = False
        timings: dict[str, float] = {}
        language: tuple[str, bool] | None = None
        for group in self._groups:
            so_far = tuple(findings)
            due = [step for step in group if step.gate(content, so_far)]
            others = [asyncio.create_task(self._attempt(step, content, so_far)) for step in due[:-1]]
            try:
                if others:
                    await asyncio.sleep(0)  # so that they have handed over their texts before this computes
                if language is None:
                    language = self._language_of(content.text)
                last = [await self._attempt(due[-1], content, so_far)] if due else []  # a task less
                outcomes = [*await asyncio.gather(*others), *last]
            finally:
                for task in others:
                    task.cancel()
            for outcome in outcomes:
                if isinstance(outcome.error, Overloaded | BadInput):
                    raise outcome.error
                if outcome.error is not None:
                    self._note_failure(outcome.step, outcome.error)
                if outcome.missing_all:
                    failed.append(outcome.step)
                doubtful = doubtful or (outcome.missing_some and not outcome.step.fail_open)
                findings.extend(outcome.findings)
                timings[outcome.step.stage.name] = outcome.seconds * 1e3
                self._metrics.stage_seconds.labels(outcome.step.stage.name).observe(outcome.seconds)
        return Evidence(
            tuple(findings),
            *(language or self._language_of(content.text)),
            tuple(step.stage.name for step in failed),
            doubtful,
            timings,
        )

    @staticmethod
    async def _attempt(step: Step, content: Content, so_far: tuple[Finding, ...]) -> Outcome:
        """Run one stage within its budget; whatever it raises becomes part of the outcome."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(step.budget_s):
                found = await step.stage.inspect(content, so_far)
        except Exception as error:  # a stage's own defect must not become "fine", nor take the process down
            return Outcome(step, (), error, time.perf_counter() - started)
        return Outcome(step, tuple(found), None, time.perf_counter() - started)

    @staticmethod
    def _note_failure(step: Step, error: Exception) -> None:
        log.warning("stage failed", extra={"stage": step.stage.name, "error": type(error).__name__})

    def _verdict(self, content: Content, policy: Policy, evidence: Evidence, source: Source, begun: float) -> Verdict:
        missing = [finding.missing for finding in evidence.findings if finding.missing]
        if not evidence.measured:
            missing.append(f"language:{evidence.language}")
        unmeasured = any(entry.startswith("language:") for entry in missing)
        action, judgements = decide(
            evidence.findings, policy, degraded=evidence.doubtful, unmeasured_language=unmeasured
        )
        degraded = tuple(dict.fromkeys((*evidence.failed, *missing)))
        revision = revise(content.text, evidence.findings, judgements) if action >= Action.BLOCK else None
        # What others waited for, or what was done before, is no time of this one's stages.
        timings = dict(evidence.timings_ms) if source is Source.GATHERED else {}
        timings["total"] = (time.perf_counter() - begun) * 1e3
        return Verdict(
            action=action,
            judgements=judgements,
            findings=evidence.findings,
            policy=policy.name,
            policy_version=policy.version,
            model=self._model,
            language=evidence.language,
            degraded=degraded,
            suggested_revision=revision,
            timings_ms=timings,
            cached=source is Source.KEPT,
        )


def revise(text: str, findings: Sequence[Finding], judgements: Sequence[Judgement]) -> str | None:
    """The text without the spans that were flagged, each replaced by what it was; None where no span is known."""
    lines = {judgement.category: judgement.threshold for judgement in judgements if judgement.flagged}
    spans = [(f.span, f.category) for f in findings if f.span and f.score >= lines.get(f.category, 2.0)]
    if not spans or len(text) > REVISION_LIMIT:
        return None
    pieces: list[str] = []
    position = 0
    for span, category in _merged(spans):
        pieces.append(text[position : span.start])
        pieces.append(f"[removed: {category}]")
        position = span.end
    pieces.append(text[position:])
    return "".join(pieces)


def _merged(spans: list[tuple[Span, str]]) -> list[tuple[Span, str]]:
    """Overlapping spans joined, named after the first of each group."""
    merged: list[tuple[Span, str]] = []
    for span, category in sorted(spans, key=lambda pair: (pair[0].start, -pair[0].end)):
        if merged and span.start < merged[-1][0].end:
            last, name = merged[-1]
            merged[-1] = (Span(last.start, max(last.end, span.end)), name)
        else:
            merged.append((span, category))
    return merged
