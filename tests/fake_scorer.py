"""A Scorer whose judgement is a function of the test's, and which remembers what it was asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from service.taxonomy import CATEGORIES
from service.types import Kind, Scores, Span

Judge = Callable[[str, str], Mapping[str, float]]
_WORD = re.compile(r"\S+")


def by_word(meanings: Mapping[str, Mapping[str, float]]) -> Judge:
    """Per category the highest of the words of a text; the context is not read."""

    def judge(text: str, context: str) -> Mapping[str, float]:
        found: dict[str, float] = {}
        for word in re.findall(r"\w+", text.lower()):
            for category, score in meanings.get(word, {}).items():
                found[category] = max(found.get(category, 0.0), score)
        return found

    return judge


@dataclass
class FakeScorer:
    """Windows are `room` words long and share half; what `judge` does not name scores 0."""

    judge: Judge
    room: int = 1_000
    version: str = "fake@0"
    calls: list[list[tuple[str, str]]] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)

    async def score(
        self, pairs: Sequence[tuple[str, str]], kind: Kind, scope: str | None = "", *, read_next: bool = False
    ) -> list[Scores]:
        self.calls.append(list(pairs))
        self.kinds.append(kind)
        return [{**dict.fromkeys(CATEGORIES, 0.0), **self.judge(text, context)} for text, context in pairs]

    def windows(self, text: str, context: str = "") -> list[Span]:
        words = [match.span() for match in _WORD.finditer(text)]
        room = max(2, self.room - len(context.split()))
        if len(words) <= room:
            return [Span(0, len(text))]
        starts = range(0, len(words) - room + room // 2, room // 2)
        spans = [Span(words[n][0], words[min(n + room, len(words)) - 1][1]) for n in starts]
        return [Span(0, spans[0].end), *spans[1:-1], Span(spans[-1].start, len(text))]
