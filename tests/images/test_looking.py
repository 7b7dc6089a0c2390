"""One image, from bytes to a reading, with readers that are told what to say."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.images.decoding import SIDE, Pixels
from service.images.limits import Limits, Undecodable
from service.images.looking import Looker, square, tiles
from service.images.reading import Line
from service.types import Box
from tests.images.pictures import plain, saved


@dataclass
class Marks:
    """Reads a line wherever a row is white."""

    sizes: list[tuple[int, ...]] = field(default_factory=list)

    def read(self, rgb: Pixels) -> tuple[Line, ...]:
        self.sizes.append(rgb.shape)
        rows = np.flatnonzero(rgb[:, 0, 0] == 255)
        return tuple(Line("mark", Box(0, int(row), 10, 1), 1.0) for row in rows)


def looker(reader: Marks, side: int = 0) -> Looker:
    return Looker(Limits(), reader, lambda rgb: ((bytes(32),) * 8, 50), side)


def test_places_are_those_of_the_image_as_it_was_sent() -> None:
    image = Image.new("RGB", (2_048, 1_536))
    image.paste((255, 255, 255), (0, 600, 2_048, 602))
    (frame,) = looker(Marks()).look(saved(image, "PNG")).frames
    (line,) = frame.lines
    assert line.box == Box(0, 600, 20, 2) and frame.quality == 50 and frame.pixels == b""


def test_a_long_image_is_read_in_pieces_each_line_once() -> None:
    image = Image.new("RGB", (300, 3_000))
    rows = range(5, 3_000, 61)
    for row in rows:
        image.paste((255, 255, 255), (0, row, 300, row + 1))
    reader = Marks()
    (frame,) = looker(reader).look(saved(image, "PNG")).frames
    assert [line.box.top for line in frame.lines] == list(rows)
    assert len(reader.sizes) > 3 and all(max(size) <= 600 for size in reader.sizes)


@given(st.integers(SIDE, 4_000), st.integers(20, 400))
def test_pieces_cover_a_long_picture_and_count_each_place_once(length: int, across: int) -> None:
    found = tiles(length, across)
    assert found[0][2] == 0 and found[-1][3] == length
    for (_, end, _, last), (start, _, own, _) in itertools.pairwise(found):
        assert last == own and start < own < end
    assert all(start <= own < last <= end for start, end, own, last in found)


def test_a_classifier_gets_the_whole_picture_as_a_square() -> None:
    (frame,) = looker(Marks(), side=16).look(plain((300, 100))).frames
    assert len(frame.pixels) == 16 * 16 * 3
    assert square(np.full((10, 90, 3), 7, dtype=np.uint8), 4) == bytes([7]) * 48


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(Undecodable):
        looker(Marks()).look(b"text")
