"""Text inside text: entities, percent escapes, tag characters, base64, hex, escapes and overridden direction.

Owns how each carrier is recognised and read, as edits in code points. stdlib only. A carrier is opened only when
what is inside is text that a person could read; anything else stays as it stands. Refuses to judge what is inside.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Callable
from html.entities import html5

from service.view import Edit

_ENTITY = re.compile(
    r"&(?:(?:amp|AMP|#0{0,5}38|#[xX]0{0,5}26);)*"
    r"(?:#0*+(?P<decimal>\d{1,7})(?![\d]);?|#[xX]0*+(?P<hex>[0-9a-fA-F]{1,6})(?![0-9a-fA-F]);?|(?P<name>[A-Za-z]{2,31}\d{0,2};))"
)
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})++")
_FORMAT = re.compile(r"%\d[acdef]$")
_TAGS = re.compile(
    "(?P<flag>\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{4,6}\U000e007f)|[\U000e0000-\U000e007f]{2,}"
)
_SMUGGLERS = re.compile("[\ufe00-\ufe0f\U000e0000-\U000e01ef]")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{3,}")
_OVERRIDE = re.compile("\u202e([^\u202a-\u202e\u2066-\u2069\n]{2,2000})[\u202c\u2069]?")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_=\-])[A-Za-z0-9+/_\-]{7,}+={0,2}(?![A-Za-z0-9+/_=])")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:0x)?(?:(?:[0-9a-f]{2}){4,}+|(?:[0-9A-F]{2}){4,}+)(?![0-9A-Za-z])")
_HEX_APART = re.compile(
    r"(?<![0-9A-Za-z])(?:0x)?[0-9A-Fa-f]{2}(?:[\s:,]{1,2}(?:0x)?[0-9A-Fa-f]{2}(?![0-9A-Za-z])){3,}+"
)
_BINARY = re.compile(r"(?<![0-9A-Za-z])[01]{8}(?:\s?[01]{8}){2,}+")
_ESCAPES = re.compile(r"(?:\\x[0-9a-fA-F]{2}|\\u\{[0-9a-fA-F]{2}\}){2,}+")
_JSON_ESCAPES = re.compile(r"(?:\\u00[2-7][0-9a-fA-F])++")
_PAIR = re.compile(r"(?:0x|\\x|\\u\{)?([0-9A-Fa-f]{2})")
# Printable ASCII in hex starts each byte with a digit; base64 of text has a digit or a capital inside.
_HEX_GATE = re.compile(r"[0-7][0-9A-Fa-f]")
_BASE64_GATE = re.compile(r"[0-9A-Z](?<=[A-Za-z0-9+/_\-].)")


def escape_edits(text: str) -> list[Edit]:
    """Edits for HTML entities and percent escapes that stand for something printable; "100%" and "AT&T" stay."""
    edits: list[Edit] = []
    if "&" in text:
        for match in _ENTITY.finditer(text):
            new = _entity(match)
            if new and new != match.group():
                edits.append((match.start(), match.end(), new))
    if "%" in text:
        edits = sorted(edits + _percent_edits(text))
    return edits


def _entity(match: re.Match[str]) -> str | None:
    if match["name"]:
        return html5.get(match["name"])
    point = int(match["decimal"]) if match["decimal"] else int(match["hex"], 16)
    if point > 0x10FFFF:
        return None
    sign = chr(point)
    # What is not seen is put in too: the folding of invisible characters takes it out again.
    return sign if sign.isprintable() or point in (9, 10, 13, 0xA0) or unicodedata.category(sign) == "Cf" else None


def _percent_edits(text: str) -> list[Edit]:
    edits: list[Edit] = []
    for match in _PERCENT.finditer(text):
        start, end = match.span()
        new = _utf8(binascii.unhexlify(match.group().replace("%", "")))
        before, after = text[start - 1 : start], text[end : end + 1]
        if new is None or not all(letter.isprintable() or letter in "\n\t" for letter in new):
            continue
        lone = end - start == 3
        if lone and (before.isdigit() or not (before.isalpha() or after.isalpha())):
            continue
        if lone and (_FORMAT.match(match.group()) or not (new.isalnum() or new in " '%/?&=.,!:")):
            continue
        edits.append((start, end, new))
    return edits


def smuggled_edits(text: str) -> list[Edit]:
    """Edits that show what tag characters and variation selectors spell (Unicode TR36; PUA-free byte smuggling)."""
    edits: list[Edit] = []
    if text.isascii() or not _SMUGGLERS.search(text):
        return edits
    for match in _TAGS.finditer(text):
        if match["flag"]:
            continue
        spelled = "".join(chr(ord(tag) - 0xE0000) for tag in match.group() if 0xE0020 <= ord(tag) < 0xE007F)
        if spelled:
            edits.append(_set_off(text, match, spelled))
    for match in _SELECTORS.finditer(text):
        points = [ord(selector) for selector in match.group()]
        inside = _utf8(bytes(p - 0xFE00 if p < 0xFE10 else p - 0xE0100 + 16 for p in points))
        if inside is not None and is_readable(inside, 0.5):
            edits.append(_set_off(text, match, inside))
    return sorted(edits)


def _set_off(text: str, match: re.Match[str], inside: str) -> Edit:
    start, end = match.span()
    lead = " " if start and not text[start - 1].isspace() else ""
    tail = " " if end < len(text) and not text[end].isspace() else ""
    return start, end, lead + inside + tail


def direction_edits(text: str) -> list[Edit]:
    """Edits that put what stands under a right-to-left override in the order in which it is seen."""
    if "\u202e" not in text:
        return []
    found = ((match.start(), match.end(), match.group(1)[::-1]) for match in _OVERRIDE.finditer(text))
    return [(start, end, seen) for start, end, seen in found if re.search(r"[^\W\d_]{2}", seen)]


def payload_edits(text: str) -> list[Edit]:
    """Edits that open base64, hex, binary and backslash escapes, all of them: none is longer opened than closed."""
    found: list[Edit] = []
    for gate, pattern, opened in _CARRIERS:
        if not gate(text):
            continue
        for match in pattern.finditer(text):
            inside = opened(match.group())
            if inside is not None:
                found.append((match.start(), match.end(), inside))
    edits: list[Edit] = []
    for edit in sorted(found):
        if not edits or edit[0] >= edits[-1][1]:
            edits.append(edit)
    return edits


def _from_base64(token: str) -> str | None:
    body = token.rstrip("=").replace("-", "+").replace("_", "/")
    if len(body) % 4 == 1 or len(body) < (7 if token.endswith("=") else 12) or body.isdigit():
        return None
    if body.islower() or (body.isupper() and body.isalpha()):
        return None  # an ordinary word: text in base64 has both cases
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (ValueError, binascii.Error):
        return None
    # Nine bytes of chance letters can be valid UTF-8 by accident, but hardly ASCII as well.
    return _readable(raw, 0.8) if len(raw) >= 24 or raw.isascii() else None


def _from_pairs(token: str) -> str | None:
    return _readable(binascii.unhexlify("".join(_PAIR.findall(token.removeprefix("0x")))), 0.8)


def _from_json(token: str) -> str | None:
    """Any letter of JSON may be written so, one in a word as well: arguments of tools are judged as they came."""
    spelled = "".join(chr(int(code, 16)) for code in token.split("\\u00")[1:])
    return spelled if spelled.isprintable() else None


def _from_binary(token: str) -> str | None:
    bits = re.sub(r"\s", "", token)
    return _readable(bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)), 0.8)


def _may_hold_base64(text: str) -> bool:
    """Whether there is a word as long as `_from_base64` wants it, and a sign of both cases."""
    longest = max(map(len, text.split()), default=0)
    return (longest >= 12 or (longest >= 8 and "=" in text)) and _BASE64_GATE.search(text) is not None


def _may_hold(first: re.Pattern[str]) -> Callable[[str], object]:
    return lambda text: _HEX_GATE.search(text) and first.search(text)


# A gate is true of every text in which its carrier stands, and cheap on those in which it does not.
_CARRIERS: tuple[tuple[Callable[[str], object], re.Pattern[str], Callable[[str], str | None]], ...] = (
    (re.compile(r"\\[xu]").search, _ESCAPES, _from_pairs),
    (re.compile(r"\\u00").search, _JSON_ESCAPES, _from_json),
    (_may_hold(re.compile("[01]{8}")), _BINARY, _from_binary),
    (_may_hold(re.compile(r"[0-9A-Fa-f]{2}[\s:,]{1,2}(?:0x)?[0-9A-Fa-f]{2}[\s:,]")), _HEX_APART, _from_pairs),
    (_may_hold(re.compile("[0-9A-Fa-f]{8}")), _HEX, _from_pairs),
    (_may_hold_base64, _BASE64, _from_base64),
)


def _utf8(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _readable(raw: bytes, share: float) -> str | None:
    text = _utf8(raw)
    if text is None:
        return None
    return text if is_readable(text, share) or _BASE64.fullmatch(text) else None


def is_readable(text: str, share: float) -> bool:
    """Whether a decoded text is printable and at least `share` of it letters and spaces, four letters or more."""
    if not all(letter.isprintable() or letter in "\n\t\r" for letter in text):
        return False
    letters = sum(letter.isalpha() for letter in text)
    spaces = sum(letter.isspace() for letter in text)
    return letters >= 4 and len(set(text)) >= 3 and (letters + spaces) >= share * len(text)
