"""The stage that reads words: what the lexicon and the identifier patterns see, as findings.

Owns how matches in several readings of a text become a few findings, with spans in the original. Refuses to know
how a reading was made, how patterns are stored and where the lines are; a bare word is weak evidence, which the
classifier outweighs in either direction.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from service.normalize import LONG_CHARS, View, views
from service.stages.identifiers import IdentifierPatterns
from service.stages.lexicon import Lexicon, Match, Rule
from service.types import Content, Finding, Span

STAGE = "keyword"
MAX_SPANS = 3  # findings per category
WORDS_ALONE = 0.3  # what words may reach, one or many: under the default flag lines, so that the classifier decides
_NEAR = 400  # code points between the best match and another that still adds to it
_SHORT = 4  # letters; shorter patterns are trusted in the plain reading only
_REPEATS = 4  # places per pattern and reading; the rest would say the same


@dataclass(frozen=True, slots=True)
class _Seen:
    """A match and its place in the original."""

    match: Match
    span: Span

    def overlaps(self, other: _Seen) -> bool:
        return self.span.start < other.span.end and other.span.start < self.span.end

    def finding(self) -> Finding:
        rule = self.match.pattern.rule
        weight = min(rule.weight, _ceiling(rule))
        return Finding(rule.category, weight, STAGE, f"lexicon:{rule.id}", self.span, final=rule.final)


def _ceiling(rule: Rule) -> float:
    return rule.weight if rule.final or rule.alone else WORDS_ALONE


class KeywordStage:
    """Finds harmful phrases and personal identifiers.

    Every view of the text is matched once. Per category the best matches that do not overlap are kept, at most
    `MAX_SPANS`. Different matches near the best one add up mildly: the first finding's score is the noisy-or of its
    own weight and half of each other's. Unless a rule is final or says `alone`, none is above `WORDS_ALONE`: on
    sentences kept out of training, higher ones flagged quotation and hyperbole, and found hardly anything that the
    classifier missed.
    """

    name = STAGE

    def __init__(
        self,
        lexicon: Lexicon,
        identifiers: IdentifierPatterns | None = None,
        read: Callable[[str], Sequence[View]] = views,
    ) -> None:
        """All may be shared between stages; `read` gives a text's readings, the plain one first."""
        self._lexicon = lexicon
        self._identifiers = identifiers
        self._read = read

    async def inspect(self, content: Content, so_far: Sequence[Finding]) -> list[Finding]:
        """Findings of the lexicon and, where there are identifier patterns, of those."""
        if len(content.text) > LONG_CHARS:
            return await asyncio.to_thread(self._inspect, content.text)
        return self._inspect(content.text)

    def _inspect(self, text: str) -> list[Finding]:
        by_category: dict[str, list[_Seen]] = {}
        readings = self._read(text)
        for seen in self._seen(readings):
            by_category.setdefault(seen.match.pattern.rule.category, []).append(seen)
        found = [finding for group in by_category.values() for finding in _best(group)]
        if self._identifiers is not None:
            found += [_mapped(one, readings[0]) for one in self._identifiers.findings(readings[0].text, STAGE)]
        return found

    def _seen(self, readings: Sequence[View]) -> Iterator[_Seen]:
        for number, view in enumerate(readings):
            matches = self._lexicon.matches(view.text)
            if number:
                matches = [match for match in matches if match.pattern.letters >= _SHORT]
            for match in _few(matches):
                yield _Seen(match, Span(*view.original_span(match.start, match.end)))


def _mapped(finding: Finding, view: View) -> Finding:
    """The finding with its span moved from a reading to the original."""
    if finding.span is None:
        return finding
    return replace(finding, span=Span(*view.original_span(finding.span.start, finding.span.end)))


def _few(matches: Iterable[Match]) -> Iterator[Match]:
    """The first matches of each pattern, so that a text of one word repeated stays cheap."""
    counts: Counter[int] = Counter()
    for match in matches:
        key = id(match.pattern)
        counts[key] += 1
        if counts[key] <= _REPEATS:
            yield match


def _best(group: list[_Seen]) -> list[Finding]:
    """The strongest findings of one category, none overlapping another, the first with what the others add."""
    kept: list[_Seen] = []
    for seen in sorted(group, key=_rank):
        if not any(seen.overlaps(other) for other in kept):
            kept.append(seen)
            if len(kept) == MAX_SPANS:
                break
    findings = [seen.finding() for seen in kept]
    return [replace(findings[0], score=_together(kept)), *findings[1:]]


def _together(kept: Sequence[_Seen]) -> float:
    """The first one's weight and half of each other one's that is near it; one pattern counts once."""
    first = kept[0]
    others = {
        seen.match.pattern.folded: seen.match.pattern.rule.weight
        for seen in kept
        if seen.span.start - first.span.end <= _NEAR and first.span.start - seen.span.end <= _NEAR
    }
    alone = others.pop(first.match.pattern.folded)
    together = 1.0 - (1.0 - alone) * prod(1.0 - weight / 2 for weight in others.values())
    return round(min(_ceiling(first.match.pattern.rule), max(alone, together)), 4)


def _rank(seen: _Seen) -> tuple[bool, float, int, int]:
    """Sorts the final and the heavy first, then the longer and the earlier."""
    rule, span = seen.match.pattern.rule, seen.span
    return (not rule.final, -rule.weight, span.start - span.end, span.start)
