"""One growing text that is judged before it is shown: hold, ask, release.

Owns what is held and what may go. Refuses to know HTTP, events, dialects and clocks: whoever drives a channel feeds
it, and relieves it when its text has been held for too long. It knows only `judge`.

No character is released that no verdict covered, and none of a segment that is held back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from service.segments import MOST_CHARS, Segment, last_word_end, next_segment, overlap_start, sentence_starts
from service.stream_rules import StreamRules, holds_back
from service.types import Span, Verdict

MASK = "[removed]"
DOUBT = 0.5  # of a flag line: from there on the sentences of a segment are judged one by one too
MOST_REVISED = 4  # times as long as what it replaces, and a segment more, may a revision be

Judge = Callable[[str], Awaitable[Verdict]]
Revise = Callable[[str, Verdict], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Release:
    """Text that may be shown. `settled` counts the characters of the original that it stands for.

    `kept` are those of them that it holds unaltered, as ranges of the whole text.
    """

    text: str = field(repr=False)
    settled: int
    kept: tuple[Span, ...] = ()


class Channel:
    """A text from its beginning to its end, or to the verdict that stopped it."""

    def __init__(self, judge: Judge, rules: StreamRules, *, whole: bool = False, revise: Revise | None = None) -> None:
        """`whole`: it may be stopped but not altered."""
        self._judge, self._rules, self._revise = judge, rules, revise
        self._alterable = not whole
        self._text = ""  # from `_base` on: what is judged again as overlap, and what is held
        self._base = 0
        self._segment_start = 0  # of the segment that is not whole yet
        self._apart = True  # nothing stands before that segment, or a whole sentence does
        self._barrier = 0  # what stands before was altered, and is not judged again
        self._settled = 0  # released or masked up to here; relief may take it into that segment
        self.stopped: Verdict | None = None
        self.strictest: Verdict | None = None
        self.verdicts = 0

    @property
    def received(self) -> int:
        """Characters that were fed."""
        return self._base + len(self._text)

    @property
    def held(self) -> int:
        """Characters that were fed and not released."""
        return self.received - self._settled

    async def feed(self, text: str) -> AsyncIterator[Release]:
        """Take more text, and yield what may go as soon as it may."""
        if self.stopped is None:
            self._text += text
            if self._rules.mode == "observe" and text:
                begin, self._settled = self._settled, self.received
                yield Release(text, len(text), (Span(begin, self._settled),))
            async for release in self._advance(closed=False):
                yield release

    async def finish(self) -> AsyncIterator[Release]:
        """The text has ended: judge and release the rest."""
        async for release in self._advance(closed=True):
            yield release

    async def relieve(self) -> Release | None:
        """Release what is held up to its last word, after a verdict of its own; its segment is judged all the same."""
        if self.stopped is not None or self._rules.mode == "observe":
            return None
        end = self._base + last_word_end(self._text, self._settled - self._base, len(self._text))
        if end <= self._settled:
            return None
        return await self._settle(Segment(self._segment_start, end, self._overlap(self._segment_start)))

    async def _advance(self, *, closed: bool) -> AsyncIterator[Release]:
        rules = self._rules
        while self.stopped is None:
            found = next_segment(
                self._text,
                self._segment_start - self._base,
                closed=closed,
                apart=self._apart,
                most=rules.segment_chars,
                overlap=rules.overlap_chars,
            )
            if found is None:
                return
            judged_from = max(found.judged_from + self._base, self._barrier)
            segment = Segment(found.start + self._base, found.end + self._base, judged_from, found.whole)
            release = await self._settle(segment)
            self._segment_start, self._apart = segment.end, segment.whole
            self._forget()
            if release is not None and release.settled:
                yield release

    async def _settle(self, segment: Segment) -> Release | None:
        """Judge a range, and say what of it may go beyond what already went."""
        verdict, judged_from = await self._verdict(segment)
        if self.strictest is None or verdict.action > self.strictest.action:
            self.strictest = verdict
        if self._rules.mode == "observe":
            return None
        begin, self_end = self._settled, max(segment.end, self._settled)
        if not holds_back(verdict, self._rules):
            self._settled = self_end
            return Release(self._slice(begin, self_end), self_end - begin, (Span(begin, self_end),))
        altered = await self._altered(verdict, judged_from, begin, self_end)
        if altered is None:
            self.stopped = verdict
            return None
        self._settled = self_end
        return altered

    async def _verdict(self, segment: Segment) -> tuple[Verdict, int]:
        """The verdict on a range, and where the text begins that it is about.

        One in doubt is a second look at each of its sentences: a short innocent one in front ("Note 3.") hid every
        eleventh sentence that is blocked by itself.
        """
        verdict = await self._judge(self._slice(segment.judged_from, segment.end))
        self.verdicts += 1
        if holds_back(verdict, self._rules) or not any(j.score >= DOUBT * j.threshold for j in verdict.judgements):
            return verdict, segment.judged_from
        starts = sentence_starts(self._text, segment.start - self._base, segment.end - self._base)
        for begin, end in zip(starts, [*starts[1:], segment.end - self._base], strict=True):
            if len(starts) == 1 or self._base + end <= self._settled:
                continue
            alone = await self._judge(self._text[begin:end])
            self.verdicts += 1
            if holds_back(alone, self._rules):
                return alone, self._base + begin
        return verdict, segment.judged_from

    async def _altered(self, verdict: Verdict, judged_from: int, begin: int, end: int) -> Release | None:
        """What takes the place of [begin, end); None where the text is to be stopped."""
        if not self._alterable or self._rules.mode == "stop" or not verdict.whole:
            return None
        if self._rules.mode == "revise":
            return await self._revised(verdict, begin, end)
        if ranges := self._offending(verdict, judged_from, begin, end):
            masked = self._masked(ranges, begin, end)
            # A stage need not point to all that it saw: what is left has to pass by itself.
            if await self._passes(masked.text):
                return masked
        return self._masked([(begin, end)], begin, end)

    async def _revised(self, verdict: Verdict, begin: int, end: int) -> Release | None:
        """A revision of a segment of which nothing was released, if it passes after what stands before it."""
        if self._revise is None or begin != self._segment_start:
            return None
        revised = await self._revise(self._slice(begin, end), verdict)
        if not revised or len(revised) > MOST_REVISED * (end - begin) + MOST_CHARS:
            return None
        if not await self._passes(self._slice(self._overlap(begin), begin) + revised):
            return None
        self._barrier = end
        return Release(revised, end - begin)

    async def _passes(self, text: str) -> bool:
        self.verdicts += 1
        return not holds_back(await self._judge(text), self._rules)

    @staticmethod
    def _offending(verdict: Verdict, judged_from: int, begin: int, end: int) -> list[tuple[int, int]]:
        """Which parts of [begin, end) the verdict points to, in order; none where it gives no span of them."""
        lines = {judgement.category: judgement.threshold for judgement in verdict.judgements if judgement.flagged}
        spans = [f.span for f in verdict.findings if f.span and f.score >= lines.get(f.category, 2.0)]
        ranges = sorted((max(begin, s.start + judged_from), min(end, s.end + judged_from)) for s in spans)
        return [(start, stop) for start, stop in ranges if start < stop]

    def _masked(self, ranges: list[tuple[int, int]], begin: int, end: int) -> Release:
        """[begin, end) with each of these ranges masked."""
        self._barrier = max(stop for _, stop in ranges)
        pieces: list[str] = []
        kept: list[Span] = []
        position = begin
        for start, stop in ranges:
            if stop <= position:
                continue
            if start > position:
                kept.append(Span(position, start))
                pieces.append(self._slice(position, start))
            pieces.append(MASK)
            position = stop
        if position < end:
            kept.append(Span(position, end))
        tail = self._slice(position, end)
        ending = self._slice(end - 1, end) if not tail and self._slice(end - 1, end).isspace() else ""
        return Release("".join(pieces) + tail + ending, end - begin, tuple(kept))

    def _overlap(self, start: int) -> int:
        if self._apart:
            return start
        before = overlap_start(self._text, start - self._base, self._rules.overlap_chars)
        return max(self._base + before, self._barrier)

    def _slice(self, start: int, end: int) -> str:
        return self._text[start - self._base : end - self._base]

    def _forget(self) -> None:
        """Keep what the next segment's overlap may need, and what says where its words begin."""
        drop = self._segment_start - self._rules.overlap_chars - 1 - self._base
        if drop > 0:
            self._text = self._text[drop:]
            self._base += drop


def released_inside(spans: list[Span], released: list[Span]) -> int:
    """How many characters lie in both; neither list overlaps itself."""
    return sum(max(0, min(a.end, b.end) - max(a.start, b.start)) for a in spans for b in released)
