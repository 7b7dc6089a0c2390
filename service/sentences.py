"""Sentences of a text, offsets in UTF-16, and HTML as the text that a reader sees. Pure.

Owns where a sentence begins and ends. Refuses to know scores. All ranges are code points of the text that is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import unescape

from service.types import Span
from service.view import Edit, View, original

# Only where a run of marks begins, and never giving back: a text of nothing but marks is looked at once.
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]]*+(?=\s)|[。！？]++|\n++")
_MARKUP = re.compile(
    r"<!--.*?(?:-->|$)|</?[a-zA-Z][^<>]*>|&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,31});", re.DOTALL
)
_INLINE = re.compile(
    r"</?(?:a|abbr|b|bdi|bdo|cite|code|em|i|mark|q|s|small|span|strong|sub|sup|u|wbr)\b", re.IGNORECASE
)


def sentences(text: str, most: int) -> list[Span]:
    """The sentences, without the white space between them; of more than `most`, neighbours are joined."""
    ends = [match.end() for match in _END.finditer(text) if not _abbreviates(match)]
    found: list[Span] = []
    begin = 0
    for end in (*ends, len(text)):
        piece = text[begin:end]
        if piece.strip():
            found.append(Span(end - len(piece.lstrip()), begin + len(piece.rstrip())))
        begin = end
    size = -(-len(found) // most)
    return [
        Span(group[0].start, group[-1].end) for group in (found[n : n + size] for n in range(0, len(found), size or 1))
    ]


def _abbreviates(match: re.Match[str]) -> bool:
    """Whether this is the full stop of a lone letter, as in a name, which ends no sentence."""
    start, text = match.start(), match.string
    return (
        match.group() == "." and text[start - 1 : start].isalpha() and not text[max(0, start - 2) : start - 1].isalnum()
    )


def utf16_offsets(text: str, places: Iterable[int]) -> dict[int, int]:
    """UTF-16 code units before each of these code-point offsets."""
    offsets: dict[int, int] = {}
    units = last = 0
    for place in sorted(set(places)):
        units += sum(2 if character > "\uffff" else 1 for character in text[last:place])
        offsets[place] = units
        last = place
    return offsets


def from_html(text: str) -> View:
    """HTML as a reader sees it: no tags, no comments, entities as characters, each with its place."""
    return original(text).rewritten((_edit(match) for match in _MARKUP.finditer(text)), coarse=True)


def _edit(match: re.Match[str]) -> Edit:
    found = match.group()
    if found.startswith("&"):
        return (match.start(), match.end(), unescape(found))
    return (match.start(), match.end(), "" if _INLINE.match(found) else "\n")
