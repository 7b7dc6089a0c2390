"""What a profile or a gamma in the file makes of its levels."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from service.images.decoding import decode
from service.images.limits import Limits
from tests.images.pictures import saved

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def faint() -> Image.Image:
    """Half of it three levels from the other half."""
    image = Image.new("RGB", (40, 40))
    image.paste((3, 3, 3), (0, 0, 20, 40))
    return image


def with_gamma(gamma: float, *more: tuple[bytes, bytes]) -> bytes:
    file = saved(faint(), "PNG")
    chunks = [(b"gAMA", struct.pack("!I", round(gamma * 100_000))), *more]
    made = [struct.pack("!I", len(d)) + k + d + struct.pack("!I", zlib.crc32(k + d)) for k, d in chunks]
    return file[:33] + b"".join(made) + file[33:]


def odd_profile(gamma: float = 0.5) -> bytes:
    """SRGB's own, with another curve."""
    made = bytearray(SRGB)
    curve = b"curv" + bytes(4) + struct.pack("!IH", 1, round(gamma * 256))
    for place in range(132, 132 + 12 * struct.unpack_from("!I", made, 128)[0], 12):
        if made[place : place + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            struct.pack_into("!II", made, place + 4, len(SRGB), len(curve))
    made += curve + bytes(2)
    struct.pack_into("!I", made, 0, len(made))
    return bytes(made)


@pytest.mark.parametrize(
    "file",
    [
        with_gamma(2.0),
        *(
            saved(faint(), form, icc_profile=odd_profile(), **more)
            for form, more in (("PNG", {}), ("JPEG", {"quality": 100}), ("WEBP", {"lossless": True}))
        ),
    ],
    ids=["gamma", "PNG", "JPEG", "WEBP"],
)
def test_what_viewers_show_is_looked_at_too(file: bytes) -> None:
    raw, shown = decode(file, Limits()).frames
    assert np.ptp(raw) <= 4
    assert int(shown[20, 5].min()) - int(shown[20, 35].max()) > 60


@pytest.mark.parametrize(
    "file",
    [
        with_gamma(0.45455),
        with_gamma(2.0, (b"sRGB", b"\0")),
        saved(faint(), "PNG", icc_profile=SRGB),
        saved(faint(), "PNG", icc_profile=b"none"),
        saved(faint().convert("L"), "PNG"),
    ],
    ids=["usual gamma", "sRGB", "usual profile", "no profile", "none"],
)
def test_what_changes_little_or_is_passed_over_is_one_frame(file: bytes) -> None:
    assert len(decode(file, Limits()).frames) == 1
