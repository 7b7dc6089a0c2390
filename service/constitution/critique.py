"""Which principles a verdict rests on, why, and where: the evidence in words.

Owns breaches and the critique that is composed from them. Refuses to log or keep anything: a critique quotes the text
and goes into the reply alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.constitution.doubt import principle_of
from service.constitution.opinion import Breach
from service.constitution.principles import Constitution
from service.taxonomy import CATEGORIES, Action
from service.types import Finding, Judgement, Span, Verdict

POLICY = "policy"  # stands for a principle where a constitution has none about a category
MOST_QUOTED = 160  # code points of one quotation
MOST_BREACHES = 4  # that a critique speaks of

_GROUNDS = {
    "group-absolutes": "it says of a whole group what can only be true of people",
    "dehumanising": "it denies someone's worth as a human being",
    "certainty": "it is sure of what nobody can know",
    "coercion": "it leaves somebody no free choice",
    "deception": "it deceives somebody, or plans to",
    "harm-steps": "it tells how to do harm",
    "unsupported-claim": "it makes a large claim and names no source",
    "misleading-statistic": "it gives a number without what it is measured against",
    "contradiction": "it contradicts what was said before",
    "examples": "it resembles the examples that violate the principle more than those that comply",
}


def breaches(constitution: Constitution, verdict: Verdict, text: str) -> tuple[Breach, ...]:
    """Every principle that is violated, the gravest evidence first; of a verdict that flags there is at least one."""
    found: dict[str, Breach] = {}
    for judgement in sorted((j for j in verdict.judgements if j.flagged), key=_weight, reverse=True):
        names = [p.id for p in constitution.principles if judgement.category in p.categories][:1] or [POLICY]
        span = place(verdict.findings, judgement.category) or Span(0, len(text))
        reason = f"it looks like {CATEGORIES[judgement.category].phrase}"
        found.setdefault(names[0], Breach(names[0], judgement.score, reason, span))
    for finding in sorted(verdict.findings, key=lambda f: -f.score):
        if finding.category or finding.calls_for is Action.ALLOW:
            continue
        ground = finding.reason.rpartition(":")[2]
        reason = _GROUNDS.get(ground, "the judge finds it violated")
        found.setdefault(principle_of(finding), Breach(principle_of(finding), finding.score, reason, finding.span))
    if verdict.flagged and not found:
        reason = "a part of the check is missing, and the policy is stricter then"
        found[POLICY] = Breach(POLICY, 1.0, reason, Span(0, len(text)))
    return tuple(found.values())


def _weight(judgement: Judgement) -> tuple[int, float]:
    return (int(judgement.action), judgement.score - judgement.threshold)


def place(findings: Sequence[Finding], category: str) -> Span | None:
    """The place of the strongest finding of a category, or of what it implies."""
    own = [f for f in findings if f.span and f.category.startswith(category) and not f.overrides]
    best = max(own, key=lambda f: f.score, default=None)
    return None if best is None else best.span


def compose(constitution: Constitution, found: Sequence[Breach], text: str) -> str:
    """The critique: each principle, what it says, the words that go against it, why, and what would be fine."""
    sentences: list[str] = []
    for breach in found[:MOST_BREACHES]:
        principle = constitution.get(breach.principle)
        rule = "the policy's own line" if principle is None else f"{principle.id}: {principle.statement}"
        quoted = quote(text, breach.span)
        sentences.append(f"Against {rule.rstrip('.')}. The words \u201c{quoted}\u201d: {breach.reason}.")
        if principle is not None and principle.instead:
            sentences.append(principle.instead)
    return " ".join(sentences)


def quote(text: str, span: Span | None) -> str:
    """The words at the span, on one line and shortened."""
    words = " ".join((text if span is None else text[span.start : span.end]).split())
    return words if len(words) <= MOST_QUOTED else words[: MOST_QUOTED - 1] + "\u2026"
