"""The text together with the turns before it: harmless alone and harmful as an answer, or the other way round.

Owns how a pair's score becomes a proposal. Refuses to know thresholds; how far a lowering may go is the policy's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from service.normalize import LONG_CHARS, View, views
from service.stages.semantic import shift_for_windows
from service.types import Content, Finding, Scorer, Span, Turn

MARGIN = 0.05  # a smaller difference between pair and text alone is noise
CONTEXT_CHARS = 2_000  # of the turns before, the latest; the model reads fewer tokens than that
MOST_WINDOWS = 8  # windows of the text that are read with their context


class ContextStage:
    """An adjudicator: proposes the pair's score where it differs from the detectors'.

    Turns of roles that are not trusted can only raise: whoever writes the context could talk the score down. Nor is
    anything lowered where the pair was not the whole of what the detectors read: a text longer than MOST_WINDOWS, or
    a disguised one, which has other readings than the plain one.
    """

    name = "context"

    def __init__(self, scorer: Scorer, *, trusted_roles: Collection[str], window_shift: float) -> None:
        self._scorer = scorer
        self._window_shift = window_shift
        self._trusted = frozenset(trusted_roles)

    async def inspect(self, content: Content, so_far: Sequence[Finding]) -> list[Finding]:
        """Propose a score for each category whose pair score differs."""
        context = latest_turns(content.context)
        if len(content.text) > LONG_CHARS:
            plain, others, windows = await asyncio.to_thread(self._read, content.text, context)
        else:
            plain, others, windows = self._read(content.text, context)
        spans = windows[:MOST_WINDOWS]
        pairs = [(plain.text[span.start : span.end], context) for span in spans]
        scored = await self._scorer.score(pairs, content.kind, content.cache_scope)
        detected: dict[str, float] = {}
        for finding in so_far:
            if not finding.overrides:
                detected[finding.category] = max(detected.get(finding.category, 0.0), finding.score)
        read_whole = not others and len(spans) == len(windows)
        may_lower = read_whole and all(turn.role in self._trusted for turn in content.context)
        findings: list[Finding] = []
        for category in scored[0]:
            highest = max(scores[category] for scores in scored)
            together = shift_for_windows(highest, len(spans), self._window_shift)
            alone = detected.get(category, 0.0)
            if together > alone + MARGIN or (may_lower and together < alone - MARGIN):
                reason = f"model:{self._scorer.version}"
                findings.append(Finding(category, together, self.name, reason, overrides=True))
        return findings

    def _read(self, text: str, context: str) -> tuple[View, list[View], list[Span]]:
        """The plain reading, the others, and the windows of the plain one."""
        plain, *others = views(text)
        return plain, others, self._scorer.windows(plain.text, context)


def latest_turns(turns: Sequence[Turn]) -> str:
    """The end of the conversation, plainly joined, oldest first."""
    joined = "\n".join(views(turn.text[-CONTEXT_CHARS:])[0].text for turn in turns[-4:] if turn.text.strip())
    return joined[-CONTEXT_CHARS:]
