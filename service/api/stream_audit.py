"""A stream judged once more as a whole: what left of the spans that this judgement blocks is a leak.

Owns what counts as leaked. Refuses to know when an audit runs, and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.streaming import released_inside
from service.taxonomy import Action
from service.types import Content, Span, Turn, Verdict

if TYPE_CHECKING:
    from service.policy import Policy
    from service.runtime import Runtime

MOST_CHARS = 20_000  # of a voice that an audit looks at, from its beginning


@dataclass(slots=True)
class Transcript:
    """What a voice said, and which ranges of it were released unaltered."""

    pieces: list[str] = field(default_factory=list, repr=False)
    kept: list[Span] = field(default_factory=list)
    chars: int = 0

    def add(self, text: str) -> None:
        """More of it, up to the bound."""
        text = text[: MOST_CHARS - self.chars]
        if text:
            self.pieces.append(text)
            self.chars += len(text)


async def audit(runtime: Runtime, transcript: Transcript, policy: str, context: tuple[Turn, ...]) -> int | None:
    """How many released characters lie where the whole text is blocked; raises what judging raises.

    None where the whole is blocked, and the verdict points to no place in it.
    """
    text = "".join(transcript.pieces)
    if not text.strip():
        return 0
    verdict = await runtime.judge(Content(text, context, "assistant", policy))
    if verdict.action < Action.BLOCK:
        return 0
    blocked = blocked_spans(verdict, runtime.policies.get(policy))
    return released_inside(blocked, joined(transcript.kept)) if blocked else None


def blocked_spans(verdict: Verdict, policy: Policy) -> list[Span]:
    """The places that a verdict blocks for, in order and apart."""
    blocked = {judgement.category for judgement in verdict.judgements if judgement.action >= Action.BLOCK}
    lines = policy.thresholds
    spans = [
        finding.span
        for finding in verdict.findings
        if finding.span is not None
        and finding.category in blocked
        and lines[finding.category].action(finding.score) >= Action.BLOCK
    ]
    return joined(spans)


def joined(spans: Iterable[Span]) -> list[Span]:
    """The same places, in order, without overlap."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        if found and span.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return found
