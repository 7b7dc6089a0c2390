"""A reply that LiteLLM sends again and again as it grows: what of it may be shown, and how much is still to be held.

Owns the walk over one text, segment by segment, and what is counted. Refuses to know LiteLLM's fields and words. What
becomes of a text is a function of the text and the policy alone: no state is kept between calls but the memo.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from service.api.segment_memo import SegmentMemo
from service.policy import Policy
from service.streaming import Channel
from service.taxonomy import Action
from service.types import Content, Verdict

Ask = Callable[[Content], Coroutine[Any, Any, Verdict]]


@dataclass(frozen=True, slots=True)
class JudgedText:
    """A text as it may be shown, unless it was `stopped`.

    `held`: how many characters at its end belong to a segment that is not whole yet, or follow what stopped it. What
    stands before them stays as it is when the text grows.
    """

    text: str = field(repr=False)
    held: int
    stopped: Verdict | None
    strictest: Verdict | None


class ReplyJudge:
    """Judges texts under one policy. `judge` gives a verdict that is not counted, `count` one that is."""

    def __init__(self, judge: Ask, count: Ask, memo: SegmentMemo, policy: Policy) -> None:
        self._judge, self._count, self._memo, self._policy = judge, count, memo, policy

    async def judged(self, text: str, *, whole: bool = False) -> JudgedText:
        """The text after its verdicts; `whole`: it may be stopped but not altered."""
        rules, growing = self._policy.stream, True

        async def ask(segment: str) -> Verdict:
            # An end that grows is counted once, when its segment is whole; what stops the text is the last of it.
            counted = growing or rules.mode == "stop"
            content = Content(segment, (), "assistant", self._policy.name, explain=rules.mode != "stop")
            return await self._memo.recall(
                content, self._policy.version, self._ask_counting if counted else self._judge
            )

        channel = Channel(ask, rules, whole=whole)
        settled = "".join([release.text async for release in channel.feed(text)])
        growing = False
        end = "".join([release.text async for release in channel.finish()])
        held = len(end) if channel.stopped is None else channel.held
        return JudgedText(settled + end, held, channel.stopped, channel.strictest)

    async def _ask_counting(self, content: Content) -> Verdict:
        """What is held back is judged once more, so that it is counted."""
        verdict = await self._judge(content)
        if verdict.action < Action.BLOCK:
            return verdict
        counted = await self._count(content)
        return counted if counted.action >= verdict.action else verdict
