"""Spaces that a reader of images lost between words, put back as one more view of a text. stdlib only.

Owns where a run of letters is cut. Refuses to know what is harmful. A run that is itself a word is never cut, nor one
that is not made of known words alone, so that no word is found inside another: "therapist" stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from service import vocabulary
from service.view import Edit, View

LEAST = 7  # letters of a run that is cut
_LEAST_HARSH = 12  # letters of one that is cut into harsh words: rarer words than are known here hold them
_HOLDS = re.compile(r"therap|assass|analy|cockt|scunth")  # stems of such words that are longer
_MOST = 80
_LONGEST = 17  # letters of a word
_SHORT = frozenset("a i u of to in it is on no so do we he my me be by go up us or as at an if am".split())  # noqa: SIM905
_RUN = re.compile(rf"[A-Za-z]{{{LEAST},{_MOST}}}")


def with_spaces(read: Callable[[str], Sequence[View]]) -> Callable[[str], Sequence[View]]:
    """A reading of texts that came out of images: the views of `read`, and one with lost spaces put back."""

    def readings(text: str) -> Sequence[View]:
        found = read(text)
        spaced = found[0].rewritten(space_edits(found[0].text))
        return found if spaced is found[0] else (*found, spaced.named("spaced"))

    return readings


def space_edits(text: str) -> list[Edit]:
    """Edits that cut runs of letters which are no word into the words that they are made of."""
    edits: list[Edit] = []
    for match in _RUN.finditer(text):
        words = _cut(match[0].lower())
        if len(words) > 1:
            edits.append((match.start(), match.end(), " ".join(_as_written(match[0], words))))
    return edits


def _cut(run: str) -> Sequence[str]:
    """The most frequent words that a run of lower-case letters is made of; itself where it is one, or made of none."""
    ranks = vocabulary.ranks()
    if (
        _HOLDS.search(run)
        or _is_word(run)
        or any(_is_word(run.removesuffix(end)) for end in ("s", "es", "ed", "ing", "er", "ly"))
    ):
        return (run,)
    best: list[tuple[float, tuple[str, ...]] | None] = [(0.0, ()), *[None] * len(run)]
    for end in range(1, len(run) + 1):
        for start in range(max(0, end - _LONGEST), end):
            before, word = best[start], run[start:end]
            if before is None or not _is_word(word):
                continue
            cost = before[0] + 1.0 + ranks.get(word, 3_000) / 12_000
            held = best[end]
            if held is None or cost < held[0]:
                best[end] = (cost, (*before[1], word))
    found = best[-1]
    if found is None or (len(run) < _LEAST_HARSH and any(word in vocabulary.DISGUISED for word in found[1])):
        return (run,)
    return found[1]


def _is_word(word: str) -> bool:
    if len(word) < 3:
        return word in _SHORT
    return vocabulary.is_known(word) or word in vocabulary.ranks()


def _as_written(run: str, words: Sequence[str]) -> Iterator[str]:
    start = 0
    for word in words:
        yield run[start : start + len(word)]
        start += len(word)
