"""Slips of the keyboard: two letters swapped, one left out, one doubled. stdlib only.

Owns the edits that put such words right. Refuses to touch a text with few of them, since names and words that are not
in the vocabulary look like slips too.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from itertools import islice

from service import vocabulary
from service.view import Edit

LEAST_SLIPS = 2  # words put right; one alone is as likely a name
LEAST_SHARE = 0.15  # of the words of a text
MOST_WORDS = 200  # looked at; a longer text is not typed in haste from beginning to end
_WORD = re.compile(r"(?<![\w'@#/.-])[A-Za-z][a-z]{3,13}(?![\w'@/-])")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def slip_edits(text: str) -> list[Edit]:
    """Edits for words that are one slip away from a frequent word, where there are enough of them."""
    ranks = vocabulary.ranks()
    odd = [
        (match.start(), match.end(), word)
        for match in islice(_WORD.finditer(text), MOST_WORDS)
        if (word := match[0].lower()) not in ranks and not vocabulary.is_known(word) and not _is_inflected(word, ranks)
    ]
    # Guessing is what costs, and most texts have too few odd words for it to matter.
    if len(odd) < LEAST_SLIPS or len(odd) < (least := LEAST_SHARE * len(text.split(maxsplit=MOST_WORDS))):
        return []
    edits: list[Edit] = []
    for start, end, word in odd:
        found = ranks.keys() & _one_slip_away(word)
        if found:
            edits.append((start, end, min(found, key=ranks.__getitem__)))
    return edits if len(edits) >= max(LEAST_SLIPS, least) else []


def _is_inflected(word: str, ranks: Container[str]) -> bool:
    """Whether it is a frequent word with a regular ending."""
    for ending in ("s", "es", "ed", "d", "ing", "er", "ers", "ly", "y"):
        stem = word.removesuffix(ending)
        if stem != word and any(base in ranks for base in (stem, stem + "e", stem[:-1])):
            return True
    return False


def _one_slip_away(word: str) -> Iterator[str]:
    """What the word may have been, its first letter kept: people rarely slip there."""
    for at in range(1, len(word)):
        if at + 1 < len(word):
            yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        if word[at] == word[at - 1]:
            yield word[:at] + word[at + 1 :]
        for letter in _LETTERS:
            yield word[:at] + letter + word[at:]
