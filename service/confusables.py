"""Lookalike letters and the classes of characters that hide, stack or join. Data, and the folding of lookalikes.

Owns which letter passes for which (a working subset of Unicode TR39's confusables, with the looser pairs that
people in fact use) and which code points are invisible. Refuses to know views, offsets and what is harmful.
"""

from __future__ import annotations

import re
import unicodedata

# Latin letter, then what passes for it in other scripts: Cyrillic, Greek, Armenian, Cherokee, Lisu, Coptic.
_LOOKALIKES = """
a аα|b вьβᏏ|c сϲⲥ|d ԁ|e еєεҽ|f ғϝ|g ցԍ|h һнհ|i іїιⲓ|j јϳյ|k кκⲕ|l ӏլ|m м|n пηո|o оοσօⲟס|p рρⲣ|q ԛզ
r г|s ѕ|t тτ|u υսμц|v ѵν|w ԝѡшщω|x хχ|y уүγᎩ|A АΑᎪꓮ|B ВΒᏴꓐ|C СᏟꓚ|D ᎠꓓⅮ|E ЕΕᎬꓰ|F Ғꓝ|G ԌᏀꓖ|H НΗᎻꓧ|I ІΙꓲ
J ЈᎫꓙ|K КΚᏦꓗ|L ᏞꓡԼ|M МΜᎷꓟ|N ΝꓠП|O ОΟꓳՕ|P РΡᏢꓑ|Q Ԛ|R ᏒꓣᎡ|S ЅᏚꓢՏ|T ТΤᎢꓔ|U Սꓴ|V ѴᏙꓦ|W ԜᎳꓪШЩ|X ХΧꓫ|Y ҮΥꓬУ|Z ΖᏃꓜ
"""
# Latin script already, so no mixture of scripts shows them up; they are folded by the word.
_SMALL_CAPITALS = dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢɑɡɩ", "abcdefghijklmnoprstuvwyzagi", strict=True))
_TO_LATIN = {other: entry[0] for entry in re.split(r"[|\n]", _LOOKALIKES.strip()) for other in entry[2:]}
_LATIN_TABLE = str.maketrans(_TO_LATIN | _SMALL_CAPITALS)
# Only pairs that are true twins go back to Cyrillic: a stray Latin letter in a Russian word.
_TO_CYRILLIC = dict(zip("aceopxykABCEHKMOPTXYisj", "асеорхукАВСЕНКМОРТХУіѕј", strict=True))
_CYRILLIC_TABLE = str.maketrans(_TO_CYRILLIC)
# Negative circled and negative squared capitals have no compatibility mapping in Unicode.
FANCY = {0x1F150 + n: chr(65 + n) for n in range(26)} | {0x1F170 + n: chr(65 + n) for n in range(26)}

_OTHERS = "".join(_TO_LATIN)
_MIXED = re.compile(rf"[A-Za-z0-9\u00c0-\u024f][{_OTHERS}]|[{_OTHERS}][A-Za-z0-9\u00c0-\u024f]")
_FOREIGN = re.compile(f"[{_OTHERS}{''.join(_SMALL_CAPITALS)}]")
_SMALL = re.compile(f"[{''.join(_SMALL_CAPITALS)}]")
_WORD = re.compile(r"[^\W_]+")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
_CYRILLIC = re.compile(r"[\u0400-\u052f]")


def folded_word(word: str) -> str:
    """A word whose letters come from several scripts, in the one script it is meant to be read in; else as it is.

    Source: Unicode TR39, mixed-script detection. A pair such as "Δv" and a symbol such as "TNFα" are left alone.
    """
    if not _FOREIGN.search(word):
        return word
    in_latin = word.translate(_LATIN_TABLE)
    if in_latin.isascii() and sum(letter in _SMALL_CAPITALS for letter in word) >= 2:
        return in_latin
    latin = _LATIN.findall(word)
    foreign = [c for c in word if not c.isascii() and c.isalpha() and not _LATIN.match(c)]
    if not latin or not foreign:
        return word
    cyrillic = any(_CYRILLIC.match(c) for c in foreign)
    if all(c in _TO_LATIN or c in _SMALL_CAPITALS for c in foreign):
        science = "".join(latin).isupper() and "".join(foreign).islower() and not cyrillic
        too_short = len(latin) + len(foreign) < (2 if cyrillic else 3)
        return word if science or too_short else in_latin
    if cyrillic and len(foreign) > len(latin) and all(c in _TO_CYRILLIC for c in latin):
        return word.translate(_CYRILLIC_TABLE)
    return word


def mixed_script_edits(text: str) -> list[tuple[int, int, str]]:
    """Edits that bring each word of mixed scripts into one; offsets in code points, equal lengths."""
    if text.isascii() or not _FOREIGN.search(text) or not (_MIXED.search(text) or _SMALL.search(text)):
        return []
    edits = []
    for match in _WORD.finditer(text):
        new = folded_word(match.group())
        if new != match.group():
            edits.append((match.start(), match.end(), new))
    return edits


def as_latin(word: str) -> str | None:
    """A word that is wholly made of lookalikes of Latin letters, in Latin; None for any other word."""
    if word.isascii() or not all(letter in _TO_LATIN for letter in word):
        return None
    return word.translate(_LATIN_TABLE)


def _class_of(points: list[int]) -> str:
    spans: list[list[int]] = []
    for point in points:
        if spans and spans[-1][1] == point - 1:
            spans[-1][1] = point
        else:
            spans.append([point, point])
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in spans)


# Everything that can compose with, reorder around or stack on what comes before it. Marks above U+1FFFF are the
# variation selectors, which have their own rules.
_MARK_POINTS = [point for point in range(0x300, 0x20000) if unicodedata.category(chr(point))[0] == "M"]
MARKS = _class_of(_MARK_POINTS)
# `re` looks a class up in a table only where all of it is below U+10000; a text without marks should cost little.
LOW_MARKS = _class_of([point for point in _MARK_POINTS if point < 0x10000])
EXTENDERS = MARKS + "\u1160-\u11ff\uff9e\uff9f\uffa0-\uffdc"
# Diacritics that belong to no script in particular, less the keycap's: what Zalgo text stacks.
LOOSE_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20e2\u20e4-\u20f0\ufe20-\ufe2f"
# Scripts in which the joiners change what is written (Unicode TR31 2.3): Arabic to Myanmar, Khmer, Mongolian...
JOINING = (
    "\u0600-\u109f\u1780-\u18af\u1900-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc"
    "\U00010a00-\U00011fff\U0001e900-\U0001e95f"
)
PICTURES = "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
IDEOGRAPHS = "\u3000-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Default-ignorable code points, bidi controls and controls that are not white space (Unicode TR36, DerivedCoreProps).
INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U0001bca0-\U0001bca3"
)
