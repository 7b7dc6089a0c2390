"""The verdicts of one reply: segments are judged without being counted, and the strictest is entered for all of them.

Owns that one reply is one entry, with one receipt. Refuses to know how segments are cut and released.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.stream_rules import StreamRules, holds_back
from service.taxonomy import Action
from service.types import Content, Turn, Verdict

if TYPE_CHECKING:
    from service.runtime import Runtime


class SegmentJudge:
    """Judges what is said after `context`, by an assistant unless another role is named, under one policy."""

    def __init__(
        self, runtime: Runtime, policy: str, rules: StreamRules, context: tuple[Turn, ...], role: str = "assistant"
    ) -> None:
        self._runtime, self._policy, self._rules, self._context, self._role = runtime, policy, rules, context, role
        self._strictest: tuple[Content, Verdict] | None = None
        self._entered: Verdict | None = None

    async def __call__(self, text: str) -> Verdict:
        """The verdict on a segment with what stands before it."""
        content = self._content(text)
        verdict = await self._runtime.judge(content)
        if self._strictest is None or self._rank(verdict) > self._rank(self._strictest[1]):
            self._strictest = (content, verdict)
        return verdict

    async def revise(self, text: str, verdict: Verdict) -> str | None:
        """Other words for a segment that is held back; they are judged before they leave."""
        content = self._content(text)
        # The verdict covers the overlap too, and so do its places: the segment is asked about by itself.
        return await self._runtime.revise(content, await self._runtime.judge(content))

    def enter(self) -> Verdict | None:
        """The strictest verdict, counted and with its receipt: once, however often it is asked for."""
        if self._entered is None and self._strictest is not None:
            self._entered = self._runtime.enter(*self._strictest)
        return self._entered

    def _rank(self, verdict: Verdict) -> tuple[bool, Action]:
        return holds_back(verdict, self._rules), verdict.action

    def _content(self, text: str) -> Content:
        return Content(text, self._context, self._role, self._policy, explain=self._rules.mode != "stop")
