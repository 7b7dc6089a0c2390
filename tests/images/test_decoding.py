"""Bytes to frames: what is taken, in which shape, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps

from service.images.decoding import LONG_SIDE, SIDE, decode
from service.images.limits import WHYS, Limits, Undecodable
from tests.images.pictures import animation, bombs, card, plain, saved

LIMITS = Limits(animation_s=60.0)
REFUSED = {
    "jpeg of 81 megapixels": "pixels",
    "png of one bit, 169 megapixels": "pixels",
    "png that claims 400 megapixels": "pixels",
    "png that claims a line of 2e9": "pixels",
    "compressed text of 200 MB": "damaged",
    "compressed profile of 200 MB": "damaged",
    "international text of 200 MB": "damaged",
    "truncated jpeg": "damaged",
    "truncated png": "damaged",
    "eps called jpeg": "format",
    "svg": "format",
    "tiff": "format",
    "bmp": "format",
    "5000 x 20": "shape",
    "only the first bytes": "damaged",
    "text": "format",
    "empty": "empty",
}


def why(data: bytes, limits: Limits = LIMITS) -> str:
    """Why it is refused."""
    with pytest.raises(Undecodable) as refused:
        decode(data, limits)
    return refused.value.why


def test_what_is_made_to_hurt_is_refused_for_what_it_is() -> None:
    found = {}
    for name, data in bombs().items():
        try:
            decode(data, LIMITS)
        except Undecodable as refused:
            found[name] = refused.why
    assert found == REFUSED


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF"])
def test_the_four_formats_by_content(form: str) -> None:
    found = decode(plain((80, 60), form), LIMITS)
    assert (found.format, found.width, found.height, found.partial) == (form, 80, 60, False)
    (frame,) = found.frames
    assert frame.shape == (60, 80, 3) and frame.dtype == np.uint8


def test_limits_are_on_bytes_sides_pixels_and_shape() -> None:
    file = plain((100, 50))
    decode(file, Limits(len(file), 5_000, 100, 2.0))
    assert why(file, Limits(most_bytes=len(file) - 1)) == "bytes"
    assert why(file, Limits(most_pixels=4_999)) == "pixels"
    assert why(file, Limits(most_side=99)) == "pixels"
    assert why(file, Limits(most_aspect=1.9)) == "shape"


def test_a_large_image_is_looked_at_small_and_a_long_one_less_so() -> None:
    large = decode(saved(Image.new("RGB", (3_000, 2_000), "red"), "JPEG"), LIMITS)
    assert (large.width, large.height) == (3_000, 2_000)
    assert max(large.frames[0].shape) == SIDE and large.frames[0][5, 5, 0] > 240
    long = decode(plain((500, 5_000)), LIMITS)
    assert long.frames[0].shape[0] == LONG_SIDE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_image_is_turned_as_a_viewer_shows_it(orientation: int) -> None:
    image = Image.new("RGB", (60, 40), "white")
    ImageDraw.Draw(image).rectangle((0, 0, 19, 9), fill="black")
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(image, "PNG", exif=exif)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB"))
    found = decode(file, LIMITS)
    assert np.array_equal(found.frames[0], shown)
    assert (found.height, found.width) == shown.shape[:2]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_every_kind_of_pixel_becomes_rgb(mode: str) -> None:
    grey = Image.linear_gradient("L")
    if mode == "I;16":
        file = saved(Image.fromarray(np.asarray(grey).astype(np.uint16) << 8), "PNG")
    elif mode == "CMYK":
        file = saved(grey.convert("RGB").convert("CMYK"), "JPEG", quality=95)
    else:
        file = saved(grey.convert(mode), "PNG")
    (frame,) = decode(file, LIMITS).frames
    assert frame[10].mean() < 20 < 235 < frame[245].mean()


def test_what_is_transparent_lies_on_grey() -> None:
    image = Image.new("RGBA", (20, 20), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (0, 0, 10, 20))
    (frame,) = decode(saved(image, "PNG"), LIMITS).frames
    assert frame[5, 2].tolist() == [255] * 3 and frame[5, 15].tolist() == [128] * 3


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF"])
def test_what_is_as_grey_as_the_ground_is_seen_on_white(form: str) -> None:
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((128, 128, 128, 255), (0, 0, 20, 40))
    file = saved(image, form, lossless=True) if form == "WEBP" else saved(image, form)
    on_grey, on_white = decode(file, LIMITS).frames
    assert np.ptp(on_grey) <= 2
    assert on_white[5, 2].tolist() == [128] * 3 and on_white[5, 35].tolist() == [255] * 3


def moving(count: int, size: int = 64) -> list[Image.Image]:
    """Frames that all differ."""
    frames = [Image.new("RGB", (size, size)) for _ in range(count)]
    for n, frame in enumerate(frames):
        ImageDraw.Draw(frame).rectangle((n, n, n + 8, n + 8), fill=(255, 255 - n, 0))
    return frames


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_looked_at_in_different_frames(form: str) -> None:
    still, shown = Image.new("RGB", (64, 64)), Image.new("RGB", (64, 64))
    ImageDraw.Draw(shown).rectangle((20, 20, 40, 30), fill="white")
    whole = decode(animation([still, shown, *moving(1)], form, duration=50), LIMITS)
    assert len(whole.frames) == 2 and whole.partial  # the third came too soon after the second
    again = decode(animation([still, shown, still, shown], form, duration=50), LIMITS)
    assert len(again.frames) == 2 and not again.partial
    many = decode(animation(moving(40), form, duration=50), LIMITS)
    assert len(many.frames) == 4 and many.partial


def test_an_animation_that_is_too_long_or_slow_or_broken_is_partial() -> None:
    frames = [Image.new("RGB", (64, 64), (n, 0, 0)) for n in range(60)]
    frames[-1] = Image.new("RGB", (64, 64), "white")
    assert decode(animation(frames, duration=20), LIMITS).partial
    frames = moving(30)
    file = animation(frames, duration=20)
    assert len(decode(file, Limits(animation_s=0.0)).frames) == 1
    broken = decode(file[: len(file) // 2], LIMITS)
    assert broken.partial and broken.frames


@given(st.binary(max_size=200), st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]), st.data())
def test_whatever_the_bytes_it_is_frames_or_a_known_refusal(noise: bytes, form: str, data: st.DataObject) -> None:
    file = bytearray(card("hi", (48, 32), form))
    place = data.draw(st.integers(0, len(file)))
    file[place : place + len(noise)] = noise
    try:
        found = decode(bytes(file), Limits(most_pixels=1_000_000))
    except Undecodable as refused:
        assert refused.why in WHYS
    else:
        assert found.frames and all(frame.ndim == 3 for frame in found.frames)
