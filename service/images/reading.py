"""What is known of one image after it was looked at: the values that the worker process sends back.

Owns their shapes. Refuses to know how an image is decoded, hashed and read, and what is then made of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from service.types import Box


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text found in an image. Unreadable: a box of writing was found, but no text could be made of it."""

    text: str = field(repr=False)
    box: Box
    confidence: float  # 0 to 1, the recogniser's own mean over characters
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame that was looked at. `lines` in reading order.

    `hashes`: eight PDQ hashes of 32 bytes, one for each orientation (four turns, each mirrored or not), the upright
    one first; `quality` 0 to 100, PDQ's own. `pixels`: RGB bytes, row by row, square, for the visual classifier; empty
    where there is none.
    """

    lines: tuple[Line, ...] = ()
    hashes: tuple[bytes, ...] = field(default=(), repr=False)
    quality: int = 0
    pixels: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """One image: its size in pixels, upright, and the frames that were looked at; `partial` where others were left."""

    sha256: bytes = field(repr=False)
    width: int
    height: int
    format: str  # JPEG, PNG, WEBP or GIF
    frames: tuple[Frame, ...]
    partial: bool = False
