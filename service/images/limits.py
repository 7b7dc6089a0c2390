"""The largest image that is taken, and the error for what is none. Imports no image library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Why = Literal["empty", "bytes", "format", "pixels", "shape", "damaged"]
WHYS: tuple[Why, ...] = ("empty", "bytes", "format", "pixels", "shape", "damaged")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one image. `most_aspect` is the longer side over the shorter one."""

    most_bytes: int = 10 << 20
    most_pixels: int = 24_000_000
    most_side: int = 10_000
    most_aspect: float = 20.0
    animation_s: float = 0.3  # for reading the frames after the first


class Undecodable(Exception):
    """The bytes are no image that is taken.

    `why`: nothing there; over a limit in bytes or pixels; none of the formats; of a shape that no image has; damaged.
    """

    def __init__(self, why: Why) -> None:
        super().__init__(why)
        self.why: Why = why
