"""Milder forms of a text: words masked, sentences taken out, and in the end a refusal in the right tone.

Owns how a text is made milder, and what is said instead of it. Refuses to decide whether that is mild enough: every
candidate is judged again by whoever asked for it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from service.constitution.opinion import Breach
from service.constitution.principles import Constitution, Register
from service.sentences import sentences
from service.types import Span

MASK = "[removed]"
MOST_SENTENCES = 64  # that a text is cut into
_WORD = re.compile(r"\S+")
_MASKS = re.compile(r"\[removed\](?:\s+\[removed\])+")

_REFUSALS: Mapping[Register, str] = {
    "plain": "I would rather not put it that way. I am glad to talk about the matter itself.",
    "firm": "I can't help with that. I am glad to help with something that puts nobody in danger.",
    "caring": (
        "I'm really glad that you said something. What you feel matters, and you don't have to get through it alone. "
        "Please talk to someone you trust today, or call a crisis line: in most countries there is one that is free "
        "and answers day and night, and your local emergency number helps at once."
    ),
    "factual": "I can't say that with confidence. I am glad to say what is known, and how sure one can be of it.",
}
_PLAINEST = "I can't help with that."


def refusals(constitution: Constitution, found: Sequence[Breach]) -> tuple[str, ...]:
    """What to say instead of the whole text, the tone that the breaches ask for first."""
    return (_REFUSALS[register(constitution, found)], _PLAINEST)


def register(constitution: Constitution, found: Sequence[Breach]) -> Register:
    """The tone that is due: care where anything asks for it, else what the gravest breach asks for."""
    asked = [principle.register for breach in found if (principle := constitution.get(breach.principle)) is not None]
    return "caring" if "caring" in asked else asked[0] if asked else "plain"


def words(text: str) -> list[Span]:
    """The words of a text: what stands between white space."""
    return [Span(*match.span()) for match in _WORD.finditer(text)]


def mask(text: str, spans: Collection[Span]) -> str:
    """The text with each span replaced by MASK; masks beside one another become one."""
    pieces: list[str] = []
    position = 0
    for span in sorted(spans, key=lambda one: one.start):
        if span.start >= position:
            pieces += [text[position : span.start], MASK]
            position = span.end
    pieces.append(text[position:])
    return _MASKS.sub(MASK, "".join(pieces))


def sentences_of(text: str, spans: Sequence[Span]) -> list[Span]:
    """The sentences that the spans touch."""
    return [
        sentence
        for sentence in sentences(text, MOST_SENTENCES)
        if any(span.start < sentence.end and sentence.start < span.end for span in spans)
    ]
