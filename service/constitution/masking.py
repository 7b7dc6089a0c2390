"""Which words of a text carry its harm: those without which its score falls.

Owns the search. Refuses to know policies: it is given one number per text, and looks for the shortest list of words
that brings it below zero. Each word is left out once (occlusion, Zeiler and Fergus 2014), the words are ranked by what
that changes, and the first k are masked together for growing k.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from service.constitution.revision import mask, words
from service.types import Span

MOST_WORDS = 60  # that are looked at one by one, those inside the evidence first
TRIED = (1, 2, 3, 4, 5, 6, 8, 10, 12)  # how many words are masked together
MOST_SHARE = 0.5  # of the words; a text of masks says nothing

Margins = Callable[[Sequence[str]], Awaitable[list[float]]]


async def harmful_words(text: str, evidence: Sequence[Span], margins: Margins) -> list[list[Span]]:
    """Lists of words to mask, each one longer than the one before; those that are enough by `margins` come first."""
    every = words(text)
    inside = [w for w in every if any(s.start < w.end and w.start < s.end for s in evidence)]
    candidates = (inside or every)[:MOST_WORDS]
    if len(every) < 2:
        return []
    fallen = await margins([mask(text, [word]) for word in candidates])
    ranked = [word for _, word in sorted(zip(fallen, candidates, strict=True), key=lambda pair: pair[0])]
    most = max(1, int(MOST_SHARE * len(every)))
    lists = [ranked[:k] for k in TRIED if k <= min(most, len(ranked))]
    if not lists:
        return []
    reached = await margins([mask(text, chosen) for chosen in lists])
    return [chosen for chosen, margin in zip(lists, reached, strict=True) if margin < 0.0]
