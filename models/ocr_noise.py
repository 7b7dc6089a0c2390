"""What reading a text out of an image does to it, for augmentation and for measuring what that costs. stdlib only.

Owns the slips of today's readers, as measured on rendered lines: spaces lost between words, lines broken anywhere,
capitals, and now and then a sign taken for one of its shape. Refuses to know any reader: scanners' garbling is
`obfuscation.ocr_noise`.
"""

from __future__ import annotations

from random import Random

LOST_SPACE = 0.06  # of spaces within a line; one in fifty words was read as part of its neighbour
LIKE = {"0": "O", "O": "0", "l": "I", "I": "l", "1": "l", "5": "S", "o": "0", "i": "ı", "'": "’", ".": ",", "e": "c"}
MISTAKEN = 0.01  # of the signs that have a like one
LINE = (12, 32)  # characters in a line of a picture
CAPITALS = 0.5  # of pictures with writing


def read_from_image(text: str, rng: Random) -> str:
    """The text as a reader may give it back; the same for the same state of `rng`. Never empty unless `text` is."""
    if rng.random() < CAPITALS:
        text = text.upper()
    width = rng.randint(*LINE)
    made: list[str] = []
    length = 0
    for word in text.split():
        if made and length + len(word) > width:
            made.append("\n")
            length = 0
        elif made:
            made.append("" if rng.random() < LOST_SPACE else " ")
        made.append("".join(_taken(sign, rng) for sign in word))
        length += len(word) + 1
    return "".join(made) or text


def _taken(sign: str, rng: Random) -> str:
    return LIKE[sign] if sign in LIKE and rng.random() < MISTAKEN else sign
