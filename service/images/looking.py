"""Everything that is found in one image: decoded, hashed, read, and made small for a classifier.

Owns the order of that, and places as pixels of the image as it was sent. Runs in the worker process. Refuses to know
that there is one, and what is made of what was found.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from PIL import Image

from service.images.decoding import SIDE, Decoded, Pixels, decode
from service.images.limits import Limits
from service.images.reading import Frame, Line, Reading
from service.types import Box


class TextReader(Protocol):
    """Reads what is written in a picture."""

    def read(self, rgb: Pixels) -> tuple[Line, ...]:
        """The lines in reading order, places in pixels of this picture."""
        ...


class HashFrame(Protocol):
    """Hashes a picture in eight orientations."""

    def __call__(self, rgb: Pixels) -> tuple[tuple[bytes, ...], int]:
        """(eight hashes, the upright one first; quality 0 to 100)."""
        ...


@dataclass(frozen=True, slots=True)
class Looker:
    """Looks at one image after another. `side`: of the square that a classifier is fed, in pixels; 0 for none."""

    limits: Limits
    reader: TextReader
    hash_frame: HashFrame
    side: int = 0

    def look(self, data: bytes) -> Reading:
        """All that is found. Raises Undecodable, and MemoryError where there is no room."""
        decoded = decode(data, self.limits)
        frames = tuple(self._frame(frame, decoded) for frame in decoded.frames)
        size = (decoded.width, decoded.height)
        return Reading(hashlib.sha256(data).digest(), *size, decoded.format, frames, decoded.partial)

    def _lines(self, rgb: Pixels) -> list[Line]:
        """What is written in a frame; a long one, whose writing would vanish as it is made small, is read in pieces."""
        height, width = rgb.shape[:2]
        if max(height, width) <= SIDE:
            return list(self.reader.read(rgb))
        down = height > width
        found: list[Line] = []
        for start, end, own, last in tiles(max(height, width), min(height, width)):
            piece = rgb[start:end] if down else rgb[:, start:end]
            for line in self.reader.read(np.ascontiguousarray(piece)):
                box = line.box
                middle = start + (box.top + box.height / 2 if down else box.left + box.width / 2)
                if own <= middle < last:
                    moved = replace(box, top=box.top + start) if down else replace(box, left=box.left + start)
                    found.append(replace(line, box=moved))
        return found

    def _frame(self, rgb: Pixels, decoded: Decoded) -> Frame:
        hashes, quality = self.hash_frame(rgb)
        scale = (decoded.width / rgb.shape[1], decoded.height / rgb.shape[0])
        lines = tuple(replace(line, box=_scaled(line.box, scale)) for line in self._lines(rgb))
        return Frame(lines, hashes, quality, square(rgb, self.side) if self.side else b"")


def tiles(length: int, across: int) -> list[tuple[int, int, int, int]]:
    """How a long picture is cut: (start, end, and from where up to where its lines are counted) of each piece.

    Pieces overlap, and each counts what has its middle nearer to its own: a line cut in one is whole in another.
    """
    size, overlap = 2 * across, across // 2
    count = max(1, -(-(length - overlap) // (size - overlap)))
    starts = [round(n * (length - size) / max(1, count - 1)) for n in range(count)] if length > size else [0]
    found = []
    for n, start in enumerate(starts):
        own = 0 if n == 0 else (start + starts[n - 1] + size) // 2
        last = length if n == len(starts) - 1 else (starts[n + 1] + start + size) // 2
        found.append((start, min(length, start + size), own, last))
    return found


def square(rgb: Pixels, side: int) -> bytes:
    """The whole picture as side x side pixels of RGB, row by row; its proportions are given up, not its edges."""
    resized = Image.fromarray(rgb).resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(resized).tobytes()


def _scaled(box: Box, scale: tuple[float, float]) -> Box:
    across, down = scale
    return Box(
        round(box.left * across),
        round(box.top * down),
        max(1, round(box.width * across)),
        max(1, round(box.height * down)),
    )
