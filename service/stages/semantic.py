"""The classifier over every view and every window of a text.

Owns how window scores become one score per category, and where in the text the harm stands. Refuses to know
thresholds, and how a score is computed.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.normalize import LONG_CHARS, SPELLINGS, View, views
from service.types import Content, Finding, Scorer, Scores, Span

LOCATE_FROM = 0.2  # a category below this score has no place worth telling
LOCATE_SHARE = 0.8  # a sentence is the place when it alone reaches this share of its window's score
MOST_SENTENCES = 24  # of one window that are looked at
MOST_PLACES = 4  # spans of one category
LEAST_SCORE = 0.001  # findings below say nothing
DISGUISED = 0.1  # share of the words that a disguise has changed, from which the text as written says nothing
_NUMBER = re.compile(r"[+(]?\d[\d().\- ]*")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*\s*")


@dataclass(frozen=True, slots=True)
class Piece:
    """A window of a view, `start` and `end` in the view's text."""

    view: View
    span: Span

    @property
    def text(self) -> str:
        """What is scored."""
        return self.view.text[self.span.start : self.span.end]

    def original(self, span: Span) -> Span:
        """A range of this piece's text as a range of the original."""
        return Span(*self.view.original_span(self.span.start + span.start, self.span.start + span.end))


class SemanticStage:
    """A detector: per category the highest calibrated score over views and windows."""

    name = "semantic"

    def __init__(
        self,
        scorer: Scorer,
        *,
        window_shift: float,
        read: Callable[[str], Sequence[View]] = views,
        read_next: Callable[[Content], bool] = lambda content: False,
    ) -> None:
        """`read` gives a text's readings, the plain one first; `read_next` says whose inner states are read later."""
        self._scorer = scorer
        self._read = read
        self._read_next = read_next
        self._window_shift = window_shift

    async def inspect(self, content: Content, so_far: Sequence[Finding]) -> list[Finding]:
        """Score the content's text alone, without its context."""
        pieces = await self._pieces_of(content.text)
        texts = [(piece.text, "") for piece in pieces]
        read_next = self._read_next(content)
        scored = await self._scorer.score(texts, content.kind, content.cache_scope, read_next=read_next)
        scored = await self._without_numbers(pieces, scored, content)
        best: dict[str, tuple[float, int]] = {}  # category -> (score, which piece)
        windows = sum(piece.view is pieces[0].view for piece in pieces)
        for n, scores in enumerate(scored):
            for category, score in scores.items():
                if category not in best or score > best[category][0]:
                    best[category] = (score, n)
        places = await self._locate(pieces, best, content) if content.explain else {}
        findings: list[Finding] = []
        for category, (score, n) in best.items():
            pooled = shift_for_windows(score, windows, self._window_shift)
            if pooled < LEAST_SCORE:
                continue
            spans: Sequence[Span | None] = places.get(category) or [None]
            if spans[0] is None and score >= LOCATE_FROM:
                spans = [pieces[n].original(Span(0, len(pieces[n].text)))]
            findings.extend(
                Finding(category, pooled, self.name, f"model:{self._scorer.version}", span) for span in spans
            )
        return findings

    async def _pieces_of(self, text: str) -> list[Piece]:
        return await asyncio.to_thread(self._pieces, text) if len(text) > LONG_CHARS else self._pieces(text)

    def _pieces(self, text: str) -> list[Piece]:
        """Every window of the first view, and those of the other views that the first one does not hold already."""
        first, *others = telling_views(self._read(text))
        pieces = [Piece(first, span) for span in self._scorer.windows(first.text)]
        for view in others:
            for span in self._scorer.windows(view.text):
                piece = Piece(view, span)
                if piece.text not in first.text:
                    pieces.append(piece)
        return pieces

    async def _without_numbers(self, pieces: Sequence[Piece], scored: list[Scores], content: Content) -> list[Scores]:
        """The scores, privacy of each piece lowered to what is left of it without the piece's numbers.

        Numbers are for the identifier patterns, which know check digits; to the classifier any phone number is a leak.
        """
        notable = [n for n, scores in enumerate(scored) if scores.get("privacy", 0.0) >= LOCATE_FROM]
        bare = {n: _NUMBER.sub(" ", pieces[n].text) for n in notable}
        bare = {n: text for n, text in bare.items() if text != pieces[n].text and text.strip()}
        if not bare:
            return scored
        again = await self._scorer.score([(text, "") for text in bare.values()], content.kind, content.cache_scope)
        lowered = list(scored)
        for n, scores in zip(bare, again, strict=True):
            lowered[n] = {**scored[n], "privacy": min(scored[n]["privacy"], scores["privacy"])}
        return lowered

    async def _locate(
        self, pieces: Sequence[Piece], best: dict[str, tuple[float, int]], content: Content
    ) -> dict[str, list[Span]]:
        """Score the sentences of the pieces that stand out, and name those that carry a category by themselves."""
        found: dict[str, list[Span]] = {}
        by_piece: dict[int, list[str]] = {}
        for category, (score, n) in best.items():
            if score >= LOCATE_FROM:
                by_piece.setdefault(n, []).append(category)
        for n, categories in by_piece.items():
            piece = pieces[n]
            sentences = _sentences(piece.text)
            if not 1 < len(sentences) <= MOST_SENTENCES:
                continue
            texts = [(piece.text[s.start : s.end], "") for s in sentences]
            scored: list[Scores] = await self._scorer.score(texts, content.kind, content.cache_scope)
            for category in categories:
                line = LOCATE_SHARE * best[category][0]
                ranked = sorted(zip(scored, sentences, strict=True), key=lambda pair: -pair[0][category])
                places = [s for scores, s in ranked if scores[category] >= line][:MOST_PLACES]
                found[category] = [piece.original(s) for s in places]
        return found


def telling_views(found: Sequence[View]) -> Sequence[View]:
    """The views that are worth scoring: all of them, or fewer of a text that is disguised through and through.

    The last of the views that only spell the text otherwise has every such folding in it, and each word that needed
    none. Where it rewrote DISGUISED of the words, those before it hold hardly a word that the model knows, and would be
    flagged for their form, innocent or not. Views of what was hidden in the text always stay.
    """
    spellings = [view for view in found if view.name in SPELLINGS]
    before, after = spellings[0].text.split(), set(spellings[-1].text.split())
    rewritten = sum(word not in after for word in before)
    if rewritten < max(2, DISGUISED * len(before)):
        return found
    return [spellings[-1], *(view for view in found if view.name not in SPELLINGS)]


def shift_for_windows(score: float, windows: int, shift: float) -> float:
    """The maximum over many windows is high by chance: lower its log-odds by `shift` for each e-fold of windows."""
    return score / (score + (1.0 - score) * math.pow(max(windows, 1), shift))


def _sentences(text: str) -> list[Span]:
    spans: list[Span] = []
    for match in _SENTENCE.finditer(text):
        end = match.start() + len(match.group().rstrip())
        if match.group().strip():
            spans.append(Span(match.start(), max(end, match.start() + 1)))
    return spans
