"""Which words of a text carry its harm: those without which its score falls.

Owns the search. Refuses to know policies: it is given one number per text, and looks for the shortest list of words
that brings it below zero. Each word is left out once (occlusion, Zeiler and Fergus 2014), the words are ranked by what
that changes, and the first k are masked together for growing k. Where none of these lists is enough, two words say the
same and hide each other: the first few are masked and the rest ranked again. In the end words that are not needed are
put back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from service.constitution.revision import mask, words
from service.types import Span

MOST_WORDS = 60  # that are looked at one by one, those inside the evidence first
MOST_RANKINGS = 3
KEPT_OF_RANKING = 2  # words that stay masked when the rest are ranked again
TRIED = (1, 2, 3, 4, 5, 6, 8, 10, 12)  # how many words are masked together
MOST_SHARE = 0.5  # of the words; a text of masks says nothing

Margins = Callable[[Sequence[str]], Awaitable[list[float]]]


async def harmful_words(
    text: str, evidence: Sequence[Span], margins: Margins, named: Sequence[Span] = ()
) -> list[list[Span]]:
    """Lists of spans to mask that are enough by `margins`, each one longer than the one before.

    `named` are places that are masked in any case: they are in every list.
    """
    every = words(text)
    if len(every) < 2:
        return []
    unnamed = [word for word in every if not _touches(word, named)]
    candidates = sorted(unnamed, key=lambda word: not _touches(word, evidence))[:MOST_WORDS]
    most = max(1, int(MOST_SHARE * len(every)))
    chosen = list(named)
    for _ in range(MOST_RANKINGS):
        rest = [word for word in candidates if word not in chosen]
        fallen = await margins([mask(text, [*chosen, word]) for word in rest]) if rest else []
        ranked = [word for _, word in sorted(zip(fallen, rest, strict=True), key=lambda pair: pair[0])]
        lists = [chosen] if chosen else []  # what is named may be enough
        lists += [chosen + ranked[:k] for k in TRIED if k <= min(most + len(named) - len(chosen), len(ranked))]
        if not lists:
            break
        reached = await margins([mask(text, spans) for spans in lists])
        enough = [spans for spans, margin in zip(lists, reached, strict=True) if margin < 0.0]
        if enough:
            fewer = await _needed(text, enough[0], named, margins)
            return [fewer, *enough] if len(fewer) < len(enough[0]) else enough
        chosen = chosen + ranked[:KEPT_OF_RANKING]
    return []


async def _needed(text: str, spans: list[Span], named: Sequence[Span], margins: Margins) -> list[Span]:
    """The spans without those that can be put back together, those that matter least by themselves first."""
    loose = [span for span in spans if span not in named]
    if len(spans) < 2 or not loose:
        return spans
    risen = await margins([mask(text, [s for s in spans if s is not span]) for span in loose])
    order = [span for _, span in sorted(zip(risen, loose, strict=True), key=lambda pair: pair[0])]
    lists = [[s for s in spans if s not in order[:k]] for k in range(1, len(order) + 1)]
    reached = await margins([mask(text, left) for left in lists])
    return next((left for left, margin in zip(lists[::-1], reached[::-1], strict=True) if left and margin < 0.0), spans)


def _touches(word: Span, spans: Sequence[Span]) -> bool:
    return any(span.start < word.end and word.start < span.end for span in spans)
