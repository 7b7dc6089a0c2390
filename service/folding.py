"""The foldings that are safe on any text: what a reader sees is kept, how it was encoded is not. stdlib only.

Owns invisible characters, stacked marks, compatibility forms, white space and long repeats. Each function gives
the edits for one pass over a text, in code points. Refuses to guess: what could be meant two ways is left alone.
"""

from __future__ import annotations

import re
import unicodedata

from service import confusables as c
from service.view import Edit

# The first alternative is a flag of a region, whose tags are spelled on purpose; it is matched to be kept.
_HIDDEN = re.compile(
    "(?P<keep>\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{4,6}\U000e007f)"
    f"|[{c.INVISIBLE}\U000e0000-\U000e007f]+"
    f"|(?<![{c.JOINING}])(?:\u200c|(?<![{c.PICTURES}\ufe0f])\u200d|\u200d(?![{c.PICTURES}]))"
    f"|(?<![{c.JOINING}{c.PICTURES}{c.IDEOGRAPHS}])(?:[\ufe00-\ufe0e]|\ufe0f(?!\u20e3)|(?<![0-9#*])\ufe0f)"
    f"|(?<![{c.IDEOGRAPHS}])[\U000e0100-\U000e01ef]"
)
_BLANK = re.compile("[\u115f\u1160\u3164\uffa0]")  # fillers of Hangul, which take the room of a letter and show none
_HIDDEN_GATE = re.compile(f"[{c.INVISIBLE}\u200c\u200d\ufe00-\ufe0f\U000e0000-\U000e01ef]")
_MARKED_WORD = re.compile(rf"(?:[^\W_][{c.LOOSE_MARKS}]*+)++")
_LOOSE = re.compile(f"[{c.LOOSE_MARKS}]+")
_MARKED_LETTER = re.compile(rf"[^\W_][{c.LOOSE_MARKS}]+")
_MARKED_ELSE = re.compile(rf"(?<![^\W_{c.LOOSE_MARKS}])[{c.LOOSE_MARKS}]{{3,}}")
_TOWER = re.compile(f"[{c.MARKS}]{{9,}}")
_MARK_GATES = (re.compile(f"[{c.LOW_MARKS}]"), re.compile("[\U00010000-\U0001ffff]"))
_OVERLAYS = re.compile("[\u0334-\u0338\u0488\u0489\u20d2\u20d3\u20d8-\u20da\u20dd-\u20e2\u20e4\u20e5\u20ea\u20eb]")
# A lone jamo (U+3131-318E), as in Korean laughter, is left: NFKC makes it one that waits for a vowel.
_SEGMENT = re.compile(
    f"(?:[^\x00-\x7f\u3131-\u318e{c.EXTENDERS}](?![{c.EXTENDERS}]))+|[^{c.EXTENDERS}]?[{c.EXTENDERS}]+"
)
_EXTENDER = re.compile(f"[{c.EXTENDERS}]")
_FANCY = re.compile("[\U0001f150-\U0001f189]")
_SPACE = re.compile("\r\n?|[\u2028\u2029]|[^\\S\r\n\u2028\u2029]{2,}|[^\\S \t\r\n\u2028\u2029]|\u2800|\n{3,}")
_SPACE_GATE = re.compile(
    "[\r\v\f\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\u2800]|[ \t]{2}|\n{3}"
)
_REPEAT = re.compile(r"([^\W\d_])(?i:\1){2,}+")
_ALL_CAPITALS = re.compile(r"[IVXLCDM]{2,9}|([A-Z])\1{2}|www|WWW")
_WORD_CHARS = re.compile(r"\w*")

MAX_EXPANSION = 8  # NFKC turns U+FDFA into eighteen letters; such a ligature is left, so that texts stay bounded.


def hidden_edits(text: str) -> list[Edit]:
    """Edits that drop what is not seen, save joiners and selectors where a script or an emoji needs them.

    Fillers are seen as spaces, and become spaces.
    """
    if not _HIDDEN_GATE.search(text):
        return []
    found = (match for match in _HIDDEN.finditer(text) if not match.group("keep"))
    return [(m.start(), m.end(), " " if _BLANK.search(m.group()) else "") for m in found]


def mark_edits(text: str) -> list[Edit]:
    """Edits that drop stacks of marks: more than two on a letter that do not compose, overlays, endless towers.

    Marks that compose, as in decomposed Vietnamese and polytonic Greek, and marks that belong to a script, as
    Hebrew points do, stay.
    """
    if not any(gate.search(text) for gate in _MARK_GATES):
        return []
    towers = [(m.start() + 8, m.end(), "") for m in _TOWER.finditer(text)]
    if towers:
        return towers
    if not _LOOSE.search(text):
        return []
    edits = [(m.start(), m.end(), "") for m in _MARKED_ELSE.finditer(text)]
    for word in _MARKED_WORD.finditer(text):
        if _is_stacked(word.group()):
            at = word.start()
            edits += [(at + m.start(), at + m.end(), "") for m in _LOOSE.finditer(word.group())]
    return sorted(edits)


def _is_stacked(word: str) -> bool:
    stray = 0
    for match in _MARKED_LETTER.finditer(word):
        cluster = match.group()
        if _OVERLAYS.search(cluster):
            return True
        left = len(unicodedata.normalize("NFC", cluster)) - 1
        if left and len(cluster) > 3:
            return True
        stray += left > 0 and cluster[0].isascii()
    return stray >= 2


def compatibility_edits(text: str) -> list[Edit]:
    """Edits that give Unicode's NFKC, cluster by cluster, so that each has its own place in the original."""
    if unicodedata.is_normalized("NFKC", text) and not _FANCY.search(text):
        return []
    edits: list[Edit] = []
    memo: dict[str, str] = {}
    for match in _SEGMENT.finditer(text):
        segment = match.group()
        new = _compatible(segment)
        if new == segment:
            continue
        if len(new) == len(segment) or _EXTENDER.search(segment):
            if _is_acceptable(segment, new):
                edits.append((match.start(), match.end(), new))
            continue
        # Nothing here composes with its neighbour, so letter by letter gives the same text and a finer map.
        for offset, letter in enumerate(segment, match.start()):
            one = memo.get(letter) or memo.setdefault(letter, _compatible(letter))
            if one != letter and _is_acceptable(letter, one):
                edits.append((offset, offset + 1, one))
    return edits


def _compatible(segment: str) -> str:
    return unicodedata.normalize("NFKC", segment.translate(c.FANCY) if _FANCY.search(segment) else segment)


def _is_acceptable(old: str, new: str) -> bool:
    # A spacing accent would become a space and a mark, which is further from what is seen than the accent.
    return len(new) < MAX_EXPANSION * len(old) and not (new[0] == " " and len(new) > 1 and len(old) == 1)


def space_edits(text: str) -> list[Edit]:
    """Edits that make runs of spaces one space, odd spaces plain ones, and more than two newlines two."""
    if not _SPACE_GATE.search(text):
        return []
    edits: list[Edit] = []
    for match in _SPACE.finditer(text):
        run = match.group()
        line = run[0] in "\r\n\u2028\u2029"
        edits.append((match.start(), match.end(), ("\n\n" if run[0] == "\n" else "\n") if line else " "))
    return edits


def repeat_edits(text: str) -> list[Edit]:
    """Edits that leave two of a letter that stands three times or more; "III", "AAA" and "www" stay."""
    edits: list[Edit] = []
    for match in _REPEAT.finditer(text):
        start, end = match.span()
        if end - start == 3 and _is_symbol(text, start, end):
            continue
        edits.append((start, end, match.group()[:2]))
    return edits


def _is_symbol(text: str, start: int, end: int) -> bool:
    low = start
    while low and start - low < 12 and (text[low - 1].isalnum() or text[low - 1] in "_#"):
        low -= 1
    found = _WORD_CHARS.match(text, end, end + 12)
    word = text[low : found.end() if found else end]
    return bool(_ALL_CAPITALS.fullmatch(word)) or word[0] == "#" or any(letter.isdigit() for letter in word)
