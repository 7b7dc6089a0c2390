"""What speaks for a violation: how strongly, where, and on what ground.

Owns that value and the one form that detectors have. Refuses to know principles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.types import Span

MOST_PLACES = 4  # per detector; more would say the same


@dataclass(frozen=True, slots=True)
class Evidence:
    """`ground` is an id such as `coercion` or `examples`, never words of the text; the span is in the text given."""

    score: float
    span: Span
    ground: str


class Detector(Protocol):
    """Looks for one thing in a plain reading of a text."""

    def __call__(self, text: str) -> Sequence[Evidence]:
        """Evidence in the order of the text, none where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Pattern:
    """A wording and how strongly it speaks for a violation by itself."""

    score: float
    expression: re.Pattern[str]


def pattern(score: float, expression: str) -> Pattern:
    """A pattern over whole words, whatever their case."""
    return Pattern(score, re.compile(rf"(?<!\w)(?:{expression})(?!\w)", re.IGNORECASE))


def places(text: str, patterns: Iterable[Pattern], ground: str, signs: Sequence[str]) -> list[Evidence]:
    """Where the patterns stand: the strongest first, at most MOST_PLACES, none overlapping a stronger one.

    A text that holds none of the `signs` holds none of the patterns: looking for a few letters is much the cheaper.
    """
    text = text.replace("\u2019", "'")
    low = text.lower()
    if not any(sign in low for sign in signs):
        return []
    found: list[Evidence] = []
    hits = ((p.score, m.start(), m.end()) for p in patterns for m in p.expression.finditer(text))
    for score, start, end in sorted(hits, key=lambda hit: (-hit[0], hit[1])):
        if len(found) < MOST_PLACES and not any(start < e.span.end and e.span.start < end for e in found):
            found.append(Evidence(score, Span(start, end), ground))
    return found
