"""A picture's perceptual hashes: PDQ (Facebook, 2019), 256 bits, in eight orientations.

Owns the hash. Refuses to know which hashes are alike, and lists of them.

Each orientation is hashed by itself: `compute_dihedral` derives them from the upright one, and PDQ's blur is not
symmetrical, so that a picture turned upside down was up to 72 bits away from its own hash (60 photos; 31 is a match).
"""

from __future__ import annotations

import numpy as np
import pdqhash
from numpy.typing import NDArray
from PIL import Image

# Of the square that is hashed. Others hash a picture as it is, or as 512 x 512: from this size the hash is 5 bits on
# average, 14 at most, away from either (40 photos in four sizes), less than from any other, and takes half the time.
SIDE = 384
TURNED_SIDE = 64  # of the seven others, in a thirtieth of the time: 9 bits on average from the same picture at SIDE


def hash_frame(rgb: NDArray[np.uint8]) -> tuple[tuple[bytes, ...], int]:
    """Eight hashes of 32 bytes of a picture (height, width, 3), and PDQ's quality, 0 to 100.

    The upright one is first, then it is turned by quarters, then mirrored and turned.
    """
    image = Image.fromarray(rgb)
    upright, quality = _hash(_square(image, SIDE))
    small = _square(image, TURNED_SIDE)
    turned = [_hash(np.rot90(side, quarters))[0] for side in (small, small[:, ::-1]) for quarters in range(4)]
    return (upright, *turned[1:]), quality


def _square(image: Image.Image, side: int) -> NDArray[np.uint8]:
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0))


def _hash(rgb: NDArray[np.uint8]) -> tuple[bytes, int]:
    bits, quality = pdqhash.compute(np.ascontiguousarray(rgb))
    return np.packbits(np.asarray(bits, dtype=np.uint8)).tobytes(), int(quality)
