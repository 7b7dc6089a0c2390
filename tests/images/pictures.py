"""Files of images, good and bad, made here: what is decoded, read and refused."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image, ImageDraw, ImageFont


def card(text: str, size: tuple[int, int] = (512, 256), form: str = "PNG", **options: Any) -> bytes:
    """A plain card with large white writing."""
    image = Image.new("RGB", size, (30, 50, 80))
    font = ImageFont.load_default(size=34)
    ImageDraw.Draw(image).multiline_text((20, 40), text, fill="white", font=font, spacing=12)
    return saved(image, form, **options)


def plain(size: tuple[int, int] = (64, 48), form: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    """One colour."""
    return saved(Image.new(mode, size), form, **options)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """The image as a file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def animation(frames: list[Image.Image], form: str = "GIF", **options: Any) -> bytes:
    """The frames as one file."""
    return saved(frames[0], form, save_all=True, append_images=frames[1:], **options)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(extra: bytes) -> bytes:
    """A small good PNG with more chunks after its header."""
    good = plain()
    return good[:33] + extra + good[33:]


def claimed_png(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that claims a size and has nothing of it."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def claimed_jpeg(width: int, height: int) -> bytes:
    """A small JPEG that claims a size."""
    file = plain(form="JPEG")
    place = file.index(b"\xff\xc0") + 5
    return file[:place] + struct.pack(">HH", height, width) + file[place + 4 :]


def bombs(*, full: bool = False) -> dict[str, bytes]:
    """Files made to hurt whoever opens them, by name. Unless `full`, those that take long to make are smaller."""
    huge = saved(Image.new("L", (9_000, 9_000)), "JPEG", quality=20) if full else claimed_jpeg(9_000, 9_000)
    side = 1_000 if full else 100
    frames = [Image.new("P", (side, side), n % 250) for n in range(600)]
    for n, frame in enumerate(frames):
        frame.putpixel((n % side, n % side), 255)
    photo = card("hello there", form="JPEG")
    nothing = zlib.compress(bytes(200 << 20), 9)
    return {
        "jpeg of 81 megapixels": huge,
        "png of one bit, 169 megapixels": saved(Image.new("1", (13_000, 13_000)), "PNG"),
        "png that claims 400 megapixels": claimed_png(20_000, 20_000),
        "png that claims a line of 2e9": claimed_png(2_000_000_000, 1),
        "compressed text of 200 MB": png_with(chunk(b"zTXt", b"Comment\0\0" + nothing)),
        "compressed profile of 200 MB": png_with(chunk(b"iCCP", b"icc\0\0" + nothing)),
        "international text of 200 MB": png_with(chunk(b"iTXt", b"Comment\0\1\0\0\0" + nothing)),
        "truncated jpeg": photo[: len(photo) // 2],
        "truncated png": card("hello there")[:400],
        "jpeg with a web page after it": photo + b"<html><script>alert(1)</script></html>" * 100,
        "gif of 600 frames": animation(frames, duration=20),
        "eps called jpeg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1/"/></svg>',
        "tiff": plain(form="TIFF"),
        "bmp": plain(form="BMP"),
        "5000 x 20": plain((5_000, 20)),
        "cmyk": saved(Image.open(io.BytesIO(photo)).convert("CMYK"), "JPEG"),
        "one pixel": plain((1, 1)),
        "only the first bytes": b"\xff\xd8\xff\xe0",
        "text": b"not an image at all",
        "empty": b"",
    }
