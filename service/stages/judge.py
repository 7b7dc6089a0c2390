"""Stage two of the constitution in the pipeline: a judge is asked, and what it says becomes proposals.

Owns that translation. Refuses to know who judges. Runs where its gate has doubts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from service.constitution.live import LiveConstitutions
from service.constitution.opinion import Case, Judge, Opinion
from service.errors import JudgeFailed
from service.metrics import Metrics
from service.policy import LivePolicies, resolve
from service.taxonomy import CATEGORIES, Action
from service.types import Content, Finding

CHANGED = 0.01  # a proposal that differs by less is none


class JudgeStage:
    """An adjudicator: proposes what the judge says of categories, and adds the principles that it finds violated."""

    name = "judge"

    def __init__(
        self, judge: Judge, constitutions: LiveConstitutions, policies: LivePolicies, metrics: Metrics
    ) -> None:
        self._judge = judge
        self._constitutions = constitutions
        self._policies = policies
        self._metrics = metrics

    async def inspect(self, content: Content, so_far: Sequence[Finding]) -> list[Finding]:
        """Ask the judge. Its failure is this stage's: the verdict is marked and can only be stricter."""
        case = make_case(content, so_far, self._constitutions, self._policies)
        begun = time.perf_counter()
        try:
            opinion = await self._judge.judge(case)
        except JudgeFailed as error:
            self._metrics.judge_errors.labels(error.reason).inc()
            raise
        self._metrics.judge_seconds.labels(opinion.judge).observe(time.perf_counter() - begun)
        self._metrics.escalations.labels(content.constitution).inc()
        return self._findings(case, opinion)

    def _findings(self, case: Case, opinion: Opinion) -> list[Finding]:
        policy = self._policies.get(case.content.policy)
        found: list[Finding] = []
        turned: set[str] = set()
        for category, score in opinion.scores.items():
            before = case.scores[category]
            if category in CATEGORIES and abs(score - before) >= CHANGED:
                found.append(Finding(category, round(score, 6), self.name, f"judge:{opinion.judge}", overrides=True))
                line = policy.thresholds[category].flag
                if (score >= line) != (before >= line):
                    turned.add("stricter" if score > before else "milder")
        seen = {f.reason.split(":")[1] for f in case.findings if not f.category and f.calls_for > Action.ALLOW}
        for breach in opinion.breaches:
            principle = case.constitution.get(breach.principle)
            if principle is None:
                continue
            if breach.score >= principle.line and principle.id not in seen:
                turned.add("stricter")
            found.append(
                Finding(
                    category="",
                    score=round(breach.score, 6),
                    stage=self.name,
                    reason=f"principle:{principle.id}:judge",
                    span=breach.span,
                    calls_for=principle.action if breach.score >= principle.line else Action.ALLOW,
                )
            )
        if found:
            self._metrics.judge_disagreements.inc()
        for way in turned:
            self._metrics.overrulings.labels(way).inc()
        return found


def make_case(
    content: Content, findings: Sequence[Finding], constitutions: LiveConstitutions, policies: LivePolicies
) -> Case:
    """What a judge is given about a content."""
    scores = resolve(findings, policies.get(content.policy))
    return Case(content, constitutions.get(content.policy).constitution, scores, tuple(findings))
