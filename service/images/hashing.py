"""A picture's perceptual hashes: PDQ (Facebook, 2019), 256 bits, in eight orientations.

Owns the hash. Refuses to know which hashes are alike, and lists of them.
"""

from __future__ import annotations

import numpy as np
import pdqhash
from numpy.typing import NDArray
from PIL import Image

SIDE = 512  # of the longer side as it is hashed: PDQ blurs down to 64 x 64 anyway, and takes its time on more


def hash_frame(rgb: NDArray[np.uint8]) -> tuple[tuple[bytes, ...], int]:
    """Eight hashes of 32 bytes of a picture (height, width, 3), the upright one first, and PDQ's quality, 0 to 100."""
    height, width = rgb.shape[:2]
    scale = SIDE / max(height, width)
    if scale < 1.0:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        rgb = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX, reducing_gap=2.0))
    bits, quality = pdqhash.compute_dihedral(np.ascontiguousarray(rgb))
    return tuple(np.packbits(np.asarray(one, dtype=np.uint8)).tobytes() for one in bits), int(quality)
