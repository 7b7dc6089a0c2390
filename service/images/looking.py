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

from service.images.decoding import Decoded, Pixels, decode
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

    def _frame(self, rgb: Pixels, decoded: Decoded) -> Frame:
        hashes, quality = self.hash_frame(rgb)
        scale = (decoded.width / rgb.shape[1], decoded.height / rgb.shape[0])
        lines = tuple(replace(line, box=_scaled(line.box, scale)) for line in self.reader.read(rgb))
        return Frame(lines, hashes, quality, square(rgb, self.side) if self.side else b"")


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
