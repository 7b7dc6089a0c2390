"""What viewers make of a frame's colours: the profile or the gamma that lies in the file, where it changes much.

Owns that one step. Refuses to know files and what is looked for. A file can keep writing three levels from its ground
and have every browser show it plainly; a photo's profile (Display P3, Adobe RGB) hardly ever moves colours so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Pixels: TypeAlias = NDArray[np.uint8]  # (height, width, 3)

MUCH, LEAST_PIXELS = 40, 50  # levels, on the mean of a pixel's channels, and how many such pixels make another picture
DISPLAY_GAMMA = 2.2
_MODES = {"RGB ": "RGB", "GRAY": "L"}


def as_shown(frame: Pixels, info: Mapping[Any, Any]) -> list[Pixels]:
    """The frame as viewers show it, if that differs much from its levels; else none. `info` is Pillow's."""
    if info.get("icc_profile"):
        shown = _by_profile(frame, info["icc_profile"])
    elif info.get("gamma") and "srgb" not in info:
        levels = np.linspace(0.0, 1.0, 256) ** (1.0 / (DISPLAY_GAMMA * info["gamma"]))
        shown = np.rint(255 * levels).astype(np.uint8)[frame]
    else:
        return []
    moved = np.abs(shown.astype(np.int16) - frame).sum(axis=2) >= 3 * MUCH
    return [shown] if int(moved.sum()) >= LEAST_PIXELS else []


def _by_profile(frame: Pixels, profile: bytes) -> Pixels:
    """In sRGB; as it is where the profile is none, or of other colours, which viewers pass over too."""
    try:
        own = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = _MODES.get(own.profile.xcolor_space)
        if mode is None:
            return frame
        shown = ImageCms.profileToProfile(
            Image.fromarray(frame).convert(mode), own, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return frame
    return np.asarray(shown, dtype=np.uint8)
