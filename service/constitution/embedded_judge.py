"""The judge that needs no LLM: a second look at the scores, and a critique composed from the evidence.

Owns what is proposed in doubt. Refuses to decide: how far a lowering goes is the policy's.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

from service.constitution.doubt import NEAR_LOGITS, log_odds, margin
from service.constitution.opinion import Case, Judge, Opinion
from service.constitution.reading import Reading
from service.constitution.second_look import SecondLook
from service.errors import JudgeBudgetSpent
from service.policy import LivePolicies
from service.taxonomy import OPENAI_CATEGORIES
from service.types import Content

NAME = "embedded"
LEAST_SHIFT = 0.05  # log-odds; less is no opinion


class EmbeddedJudge:
    """A Judge over what stage one saw; costs microseconds where the text has been read already."""

    def __init__(
        self, policies: LivePolicies, second_look: SecondLook | None, read: Callable[[Content], Awaitable[Reading]]
    ) -> None:
        """`read` gives the inner states of a content's text; a failure of it is the judge's."""
        self._policies = policies
        self._read = read
        self._second_look = second_look

    async def judge(self, case: Case) -> Opinion:
        """Proposals for every kind of harm where the foremost stands near its line; none elsewhere."""
        policy = self._policies.get(case.content.policy)
        harms = [finding for finding in case.findings if finding.category in OPENAI_CATEGORIES]
        over = margin(harms, policy)
        if self._second_look is None or abs(over) >= NEAR_LOGITS:
            return Opinion(NAME)
        shift = self._second_look.shift(case.scores, over, await self._read(case.content))
        if abs(shift) < LEAST_SHIFT:
            return Opinion(NAME)
        return Opinion(
            NAME, {name: 1.0 / (1.0 + math.exp(-log_odds(case.scores[name]) - shift)) for name in OPENAI_CATEGORIES}
        )


class JudgeWithFallback:
    """One judge, and another where the first one's budget is spent: a bound on cost is no failure.

    Any other failure of the first is passed on: it must not turn into a milder judge's silence.
    """

    def __init__(self, first: Judge, other: Judge) -> None:
        self._first = first
        self._other = other

    async def judge(self, case: Case) -> Opinion:
        """The first one's opinion, or the other's."""
        try:
            return await self._first.judge(case)
        except JudgeBudgetSpent:
            return await self._other.judge(case)
