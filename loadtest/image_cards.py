"""Photos with writing on them, as people make them.

Owns how a text is set on a photo. Refuses to know where texts and photos come from.
"""

from __future__ import annotations

import io
import textwrap

from PIL import Image, ImageDraw, ImageFont

SIDE = 512  # pixels
_LARGE, _SMALL = 40, 20  # pixels of a letter's height


def captioned(photo: bytes, text: str) -> bytes:
    """A JPEG of SIDE x SIDE: the photo with the text in white, outlined, above and below its middle."""
    with Image.open(io.BytesIO(photo)) as opened:
        image = opened.convert("RGB").resize((SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    for size in range(_LARGE, _SMALL - 1, -2):
        font = ImageFont.load_default(size=size)
        lines = textwrap.wrap(text, max(8, int(SIDE * 0.92 / (size * 0.56))))
        if len(lines) * size * 1.35 < SIDE * 0.85:
            break
    top = (len(lines) + 1) // 2
    for n, line in enumerate(lines):
        y = 16 + n * size * 1.35 if n < top else SIDE - 16 - (len(lines) - n) * size * 1.35
        width = draw.textlength(line, font=font)
        place = ((SIDE - width) / 2, y)
        draw.text(place, line, font=font, fill="white", stroke_width=2, stroke_fill="black")
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def halves(text: str) -> tuple[str, str]:
    """A text cut in the middle, between two words."""
    words = text.split()
    return " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])
