"""In which order the lines of a picture are read, whichever way the picture was turned. stdlib only.

Owns turns and rows. Refuses to know pixels and text. A picture held upside down or mirrored has its first line last, so
the way in which most of what was read stands decides for all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from service.types import Box

_SAME_ROW = 0.5  # of the lower line's height that the middles of two lines in one row are apart at most


@dataclass(frozen=True, slots=True)
class Turn:
    """What makes a line readable: a quarter turn anticlockwise, then a half one, then a mirror from left to right."""

    quarter: bool = False
    half: bool = False
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """A line's box, how it had to be turned to be read, and how many characters speak for that."""

    box: Box
    turn: Turn
    weight: int


def reading_order(lines: Sequence[Placed], width: int, height: int) -> list[int]:
    """The places of `lines` in the order in which they are read; `width` and `height` are the picture's."""
    votes: Counter[Turn] = Counter()
    for line in lines:
        votes[line.turn] += line.weight
    turn = max(votes, key=lambda way: (votes[way], way == Turn()), default=Turn())
    boxes = [_turned(line.box, turn, width, height) for line in lines]
    order: list[int] = []
    row: list[int] = []
    for place in sorted(range(len(boxes)), key=lambda n: _middle(boxes[n])):
        if row and not _share_row(boxes[row[0]], boxes[place]):
            order += sorted(row, key=lambda n: boxes[n].left)
            row = []
        row.append(place)
    return order + sorted(row, key=lambda n: boxes[n].left)


def _turned(box: Box, turn: Turn, width: int, height: int) -> Box:
    """Where a box comes to lie when the whole picture is turned."""
    left, top, wide, high = box.left, box.top, box.width, box.height
    if turn.quarter:
        left, top, wide, high, width, height = top, width - left - wide, high, wide, height, width
    if turn.half:
        left, top = width - left - wide, height - top - high
    if turn.mirrored:
        left = width - left - wide
    return Box(left, top, wide, high)


def _middle(box: Box) -> float:
    return box.top + box.height / 2


def _share_row(one: Box, other: Box) -> bool:
    return abs(_middle(one) - _middle(other)) < _SAME_ROW * min(one.height, other.height)
