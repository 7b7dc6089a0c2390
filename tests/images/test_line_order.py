"""The order of lines, for every way of holding a picture."""

from __future__ import annotations

import pytest

from service.images.line_order import Placed, Turn, reading_order
from service.types import Box

SIZE = (400, 200)
ROWS = [Box(10, 10, 100, 20), Box(150, 14, 100, 20), Box(10, 60, 300, 20), Box(10, 120, 300, 40)]


def held(box: Box, turn: Turn) -> Box:
    """Where a box lies in a picture that `turn` would put right."""
    width, height = SIZE
    left, top, wide, high = box.left, box.top, box.width, box.height
    if turn.mirrored:
        left = width - left - wide
    if turn.half:
        left, top = width - left - wide, height - top - high
    if turn.quarter:  # clockwise, so that a turn anticlockwise puts it right
        left, top, wide, high = height - top - high, left, high, wide
    return Box(left, top, wide, high)


@pytest.mark.parametrize("quarter", [False, True])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_picture_is_read_like_an_upright_one(quarter: bool, half: bool, mirrored: bool) -> None:
    turn = Turn(quarter, half, mirrored)
    lines = [Placed(held(box, turn), turn, 10) for box in ROWS]
    size = SIZE[::-1] if quarter else SIZE
    assert reading_order(lines[::-1], *size) == [3, 2, 1, 0]


def test_the_turn_of_most_characters_decides() -> None:
    lines = [Placed(box, Turn(half=True) if n == 0 else Turn(), 10) for n, box in enumerate(ROWS)]
    assert reading_order(lines, *SIZE) == [0, 1, 2, 3]


def test_no_lines_have_no_order() -> None:
    assert reading_order([], 10, 10) == []
