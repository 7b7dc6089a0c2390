"""What is read in pictures of our own, however they are held."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from service.images.decoding import Pixels
from service.images.ocr import LEAST_SIDE, TextReader

WORDS = ["good morning", "everybody here"]


@pytest.fixture(scope="module")
def reader() -> TextReader:
    return TextReader()


def picture(*lines: str, size: int = 44) -> Pixels:
    image = Image.new("RGB", (512, 320), (30, 50, 80))
    font = ImageFont.load_default(size=size)
    ImageDraw.Draw(image).multiline_text((40, 60), "\n".join(lines), fill="white", font=font, spacing=40)
    return np.asarray(image)


HELD: dict[str, Callable[[Pixels], Pixels]] = {
    "upright": lambda rgb: rgb,
    "on its head": lambda rgb: rgb[::-1, ::-1],
    "mirrored": lambda rgb: rgb[:, ::-1],
    "mirrored on its head": lambda rgb: rgb[::-1],
    "on its left side": np.rot90,
    "on its right side": lambda rgb: np.rot90(rgb, 3),
    "mirrored on its side": lambda rgb: np.rot90(rgb)[:, ::-1],
}


@pytest.mark.parametrize("held", HELD)
def test_lines_are_read_in_order_however_a_picture_is_held(reader: TextReader, held: str) -> None:
    rgb = HELD[held](picture(*WORDS))
    lines = reader.read(rgb)
    assert [line.text.lower() for line in lines] == WORDS
    for line in lines:
        assert line.readable
        assert 0 <= line.box.left < line.box.left + line.box.width <= rgb.shape[1]
        assert 0 <= line.box.top < line.box.top + line.box.height <= rgb.shape[0]


def test_writing_that_nothing_can_be_made_of_is_told(reader: TextReader) -> None:
    rgb = picture("people like you should", "go back to your country", size=34)
    waves = [np.roll(rgb[:, column], int(8 * np.sin(column / 3)), axis=0) for column in range(rgb.shape[1])]
    rgb = np.stack(waves, axis=1)
    lines = reader.read(rgb)
    assert len(lines) == 2
    assert not any(line.readable for line in lines)


def test_lines_that_are_too_many_to_be_read_are_told(reader: TextReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.images.ocr.MOST_LINES", 2)
    image = Image.new("RGB", (512, 320), "white")
    draw = ImageDraw.Draw(image)
    for n, word in enumerate(["garden party", "summer evening"]):
        draw.text((40, 40 + 80 * n), word, fill="black", font=ImageFont.load_default(size=40))
    for n, word in enumerate(["kill", "you"]):  # each so short that it could be a button
        draw.text((60 + 200 * n, 240), word, fill="black", font=ImageFont.load_default(size=24))
    assert [line.readable for line in reader.read(np.asarray(image))] == [True, True, False, False]


@pytest.mark.parametrize("shape", [(1, 1), (10, 200), (LEAST_SIDE, LEAST_SIDE), (300, 400)])
def test_a_picture_without_writing_has_no_lines(reader: TextReader, shape: tuple[int, int]) -> None:
    assert reader.read(np.full((*shape, 3), 90, dtype=np.uint8)) == ()


def test_a_picture_that_is_too_long_is_refused(reader: TextReader) -> None:
    with pytest.raises(ValueError, match="too long"):
        reader.read(np.zeros((10, 400, 3), dtype=np.uint8))
