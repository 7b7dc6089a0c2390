"""Where a growing text is cut into segments, each judged with the end of what stands before it. Pure.

Owns the cuts. Refuses to know verdicts, streams and time. Cuts are a function of the text alone, so that verdicts can
be repeated and cached however the text arrived. All offsets are code points.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

MOST_CHARS = 240  # of a segment; with OVERLAP_CHARS the most that is ever judged at once, and held
LEAST_CHARS = 24  # a sentence that is shorter is judged with the one after it: list numbers, "Yes."
OVERLAP_CHARS = 80  # before a cut inside a sentence, judged with what follows: a phrase across it is seen whole

# A run of end marks counts once the character after it is known to be white space.
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]*_]*+(?=\s)|[。！？]++(?=[^。！？])|\n")
_ZERO_WIDTH_JOINER = "\u200d"


@dataclass(frozen=True, slots=True)
class Segment:
    """Half-open range of the whole text; `judged_from` is where the part begins that is judged with it.

    `whole`: it ends where a sentence does, so that what follows is judged by itself.
    """

    start: int
    end: int
    judged_from: int
    whole: bool = False


def next_segment(
    text: str, start: int, *, closed: bool, apart: bool = False, most: int = MOST_CHARS, overlap: int = OVERLAP_CHARS
) -> Segment | None:
    """The segment that begins at `start`; None while its end cannot be known yet.

    `closed`: the text will not grow; the answer never changes when it does. `apart`: the segment before was whole. Then
    nothing of it is judged again: innocent words before a harmful sentence hide it from a classifier.
    """
    judged_from = start if apart else overlap_start(text, start, overlap)
    least = min(LEAST_CHARS, most)
    for match in _END.finditer(text, start, min(len(text), start + most)):
        if match.end() - start >= least and match.end() < len(text):
            return Segment(start, match.end(), judged_from, whole=True)
    if len(text) - start > most:  # the character after the cut is known, so that none is cut in two
        return Segment(start, _cut(text, start, start + most), judged_from)
    return Segment(start, len(text), judged_from) if closed and len(text) > start else None


def sentence_starts(text: str, start: int, end: int) -> list[int]:
    """Where the sentences of a segment begin, `start` first: a short one stands in a segment with the one after it."""
    starts = [start]
    for match in _END.finditer(text, start, end):
        at = match.end()
        while at < end and text[at].isspace():
            at += 1
        if at < end:
            starts.append(at)
    return starts


def overlap_start(text: str, start: int, overlap: int = OVERLAP_CHARS) -> int:
    """Where the part begins that is judged before `start`: at most `overlap` back, at a word's beginning if it can."""
    if overlap <= 0 or start == 0:
        return start
    earliest = max(0, start - overlap)
    if earliest == 0:
        return 0
    for at in range(earliest, start):
        if text[at - 1].isspace() and not text[at].isspace():
            return at
    return earliest


def last_word_end(text: str, start: int, end: int) -> int:
    """The last place in the range after which a new word begins; `start` where there is none."""
    for at in range(end, start, -1):
        if text[at - 1].isspace():
            return at
    return start


def _cut(text: str, start: int, end: int) -> int:
    """A cut after white space if there is some in the second half, else between two whole characters."""
    space = last_word_end(text, start + (end - start) // 2, end)
    if space > start + (end - start) // 2:
        return space
    for at in range(end, start + (end - start) // 2, -1):
        if not _joins(text[at - 1], text[at]):
            return at
    return end


def _joins(before: str, after: str) -> bool:
    """Whether two code points are one character to a reader."""
    return (
        unicodedata.combining(after) != 0
        or _ZERO_WIDTH_JOINER in {before, after}
        or "\ufe00" <= after <= "\ufe0f"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
    )
