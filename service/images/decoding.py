"""From the bytes of a file to the frames that are looked at: small, upright, RGB.

Owns which files are images, and which frames of an animation stand for it. Pure. Refuses to know processes, and what is
looked for in a frame. What the bytes say is believed, never a name. Sizes are checked before anything is
loaded; nothing is asked that would decode a whole animation (`n_frames`, a seek to the end).
"""

from __future__ import annotations

import struct
import time
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from service.images.limits import Limits, Undecodable
from service.images.shown import as_shown

Pixels: TypeAlias = NDArray[np.uint8]  # (height, width, 3)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
SIDE = 1024  # of a frame's longer side as it is looked at: small writing is looked for at 960
LONG_SIDE = 3072  # instead, for one that is long and narrow, such as a chat's screenshot
STRIP_PIXELS = 2_000_000  # converted at a time: Pillow takes four bytes a pixel, more with transparency
MID_GREY = 128  # behind what is transparent: white and black text both stand out from it
WHITE = 255  # behind it a second time, where there is grey that does not
AS_GREY, SEEN, HIDDEN_PIXELS = 40, 64, 50  # levels from the ground; alpha; pixels of that kind that may be a word
FRAMES_READ = 50
EARLIEST = (1, 8, 24)  # numbers from which a further frame is looked at: spread, since neighbours are alike
DIFFERENT = 20  # levels of grey in one of 32 x 32 fields, from which two frames show different things
_FIELDS = (32, 32)
_ORIENTATION = 0x0112
_TURNS: dict[int, tuple[int, bool]] = {  # EXIF orientation -> (quarter turns anticlockwise, mirrored after)
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}
# What Pillow raises on bytes made to hurt it, besides its bombs.
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What is looked at of an image. `width` and `height` are the file's own, upright; `frames` may be smaller.

    `partial`: it has frames that nobody looked at, nor at one like them.
    """

    frames: tuple[Pixels, ...]
    width: int
    height: int
    format: str
    partial: bool = False


def decode(data: bytes, limits: Limits) -> Decoded:
    """The frames that stand for an image. Raises Undecodable, and MemoryError where there is no room for it."""
    if not data:
        raise Undecodable("empty")
    if len(data) > limits.most_bytes:
        raise Undecodable("bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                return _decode(image, limits)
        except UnidentifiedImageError:
            raise Undecodable("damaged" if _named_inside(data) else "format") from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise Undecodable("pixels") from None
        except _DAMAGE:
            raise Undecodable("damaged") from None


def _named_inside(data: bytes) -> bool:
    """Whether the first bytes claim one of the formats."""
    riff = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return riff or data.startswith((b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"))


def _decode(image: Image.Image, limits: Limits) -> Decoded:
    _check_size(image, limits)
    width, height = image.size
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        image.draft("RGB", _target(image.size))
    first = _frames(image)
    turn = _turn(image)
    # Of a JPEG with several pictures in it, all viewers show the first.
    still = isinstance(image, JpegImagePlugin.JpegImageFile)
    frames, partial = (first, False) if still else _animated(image, first, limits)
    if turn is not None and turn[0] % 2:
        width, height = height, width
    name = "JPEG" if image.format == "MPO" else str(image.format)
    return Decoded(tuple(_upright(frame, turn) for frame in frames), width, height, name, partial)


def _check_size(image: Image.Image, limits: Limits) -> None:
    """Raise Undecodable for what would be too large, judged by what its header says."""
    short, long = sorted(image.size)
    if short < 1:
        raise Undecodable("damaged")
    if long > limits.most_side or short * long > limits.most_pixels:
        raise Undecodable("pixels")
    if long > limits.most_aspect * short:
        raise Undecodable("shape")


def _target(size: tuple[int, int]) -> tuple[int, int]:
    """The size that a frame of this size is looked at in: never larger than it is."""
    short, long = sorted(size)
    longest = min(LONG_SIDE, max(SIDE, SIDE * long // (2 * short)))  # keeps the shorter side at half of SIDE
    scale = min(1.0, longest / long)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _frames(image: Image.Image) -> list[Pixels]:
    """The frame that an image stands at, in the size that is looked at; again where viewers see something else."""
    image.load()
    (width, height), target = image.size, _target(image.size)
    factor = max(1, min(width // target[0], height // target[1]))
    rows = max(1, STRIP_PIXELS // (width * factor)) * factor
    clear = image.has_transparency_data and not _is_deep(image)
    strips, alphas = [], []
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        if clear:
            strip = strip.convert("RGBA")
            alphas.append(np.asarray(strip.getchannel("A").reduce(factor)))
        strips.append(np.asarray(_flat(strip).reduce(factor)))
    on_grey = _sized(strips, target)
    frames = [on_grey, *_on_white(on_grey, _sized(alphas, target))] if clear else [on_grey]
    return frames + [shown for frame in frames for shown in as_shown(frame, image.info)]


def _sized(strips: list[NDArray[np.uint8]], target: tuple[int, int]) -> NDArray[np.uint8]:
    small = Image.fromarray(np.concatenate(strips))
    return np.asarray(small if small.size == target else small.resize(target, Image.Resampling.BICUBIC))


def _on_white(on_grey: Pixels, alpha: NDArray[np.uint8]) -> list[Pixels]:
    """The same on white, if what can be seen is in part as grey as the ground; else none."""
    if int(alpha.min()) == 255:
        return []
    near = np.abs(on_grey.astype(np.int16) - MID_GREY).max(axis=2) < AS_GREY
    if int((near & (alpha >= SEEN)).sum()) < HIDDEN_PIXELS:
        return []
    lighter = (255 - alpha.astype(np.uint16)) * (WHITE - MID_GREY) // 255
    return [np.minimum(on_grey + lighter[:, :, None], 255).astype(np.uint8)]


def _is_deep(image: Image.Image) -> bool:
    """Whether a pixel has 16 bits or more."""
    return image.mode.startswith("I") or image.mode == "F"


def _flat(strip: Image.Image) -> Image.Image:
    """RGB, whatever the mode; what is transparent lies on grey."""
    if _is_deep(strip):  # Pillow would cut off the upper bits
        return Image.fromarray((np.asarray(strip).astype(np.int32) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if not strip.has_transparency_data:
        return strip.convert("RGB")
    ground = Image.new("RGBA", strip.size, (MID_GREY, MID_GREY, MID_GREY, 255))
    ground.alpha_composite(strip.convert("RGBA"))
    return ground.convert("RGB")


def _animated(image: Image.Image, first: list[Pixels], limits: Limits) -> tuple[list[Pixels], bool]:
    """The frames of an animation that are looked at, and whether there are others unlike all of them."""
    until = time.monotonic() + limits.animation_s
    frames, kept, passed = [*first], [_fields(first[0])], []
    partial = True
    for number in range(1, FRAMES_READ + 1):
        try:
            image.seek(number)
            if number == FRAMES_READ or time.monotonic() > until:
                break
            _check_size(image, limits)  # a frame can enlarge the canvas
            shown = _frames(image)
        except EOFError:
            partial = False
            break
        except (Undecodable, Image.DecompressionBombError, Image.DecompressionBombWarning, *_DAMAGE):
            break
        fields = _fields(shown[0])
        if not _unlike(fields, kept):
            continue
        if len(kept) <= len(EARLIEST) and number >= EARLIEST[len(kept) - 1]:
            frames += shown
            kept.append(fields)
        else:
            passed.append(fields)
    return frames, partial or any(_unlike(fields, kept) for fields in passed)


def _fields(frame: Pixels) -> NDArray[np.int16]:
    """The mean grey of each field of a frame."""
    return np.asarray(Image.fromarray(frame).convert("L").resize(_FIELDS, Image.Resampling.BOX), dtype=np.int16)


def _unlike(fields: NDArray[np.int16], others: list[NDArray[np.int16]]) -> bool:
    return all(int(np.abs(fields - other).max()) >= DIFFERENT for other in others)


def _turn(image: Image.Image) -> tuple[int, bool] | None:
    """How the camera was held; a note of it that cannot be read is as good as none, to viewers too."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except _DAMAGE:
        return None


def _upright(frame: Pixels, turn: tuple[int, bool] | None) -> Pixels:
    if turn is None:
        return frame
    turned = np.rot90(frame, turn[0])
    return np.ascontiguousarray(turned[:, ::-1] if turn[1] else turned)
