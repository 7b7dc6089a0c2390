"""What an edited reply is made of: steps that a dialect asks for, in order, and the editor that asks.

Owns the seam between a dialect's events and the judgement of their text. Refuses to know how text is judged, and HTTP.
An editor's `read` is a generator, and whoever drives it carries out each step before asking for the next: so what
follows a `Close` may tell what was released.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Event = dict[str, Any]

DONE: Event = {"type": "[DONE]"}  # the word that ends a stream where the dialect has one
MOST_DEPTH = 64  # of nested JSON in which strings are looked for; deeper is refused as malformed


class MalformedEvent(Exception):
    """An upstream's event that is not what its dialect promises. Carries nothing of it."""


@dataclass(frozen=True, slots=True)
class Voice:
    """One run of text that is judged by itself. `key` is the editor's own name for it.

    `whole`: it must not be altered, only stopped, since something outside of it (a signature) vouches for it.
    """

    key: tuple[str | int, ...]
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Say:
    """Text of a voice: to be judged, and handed to `write` as it is released."""

    voice: Voice
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Close:
    """The voice has ended: everything of it is to be released now, or stopped."""

    voice: Voice


@dataclass(frozen=True, slots=True)
class Send:
    """An event that goes out as it is, once every one of `texts` was judged and none of them blocked.

    `facts_in`: this is the last event, and what Weir says of the whole reply is put into this part of it, as `x_weir`.
    """

    event: Event = field(repr=False)
    texts: tuple[str, ...] = field(default=(), repr=False)
    facts_in: Event | None = field(default=None, repr=False)


Step = Say | Close | Send


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a reply is stopped, in words that hold nothing of it."""

    explanation: str
    facts: Mapping[str, Any] = field(default_factory=dict)  # what stands under `x_weir` of the last event


class ReplyEditor(Protocol):
    """One reply of a dialect, as it comes and as it leaves."""

    @property
    def ended(self) -> bool:
        """Whether the last event of the reply has been written."""
        ...

    def read(self, event: Event) -> Iterator[Step]:
        """What is to be done with one event of the upstream; raises MalformedEvent."""
        ...

    def write(self, voice: Voice, text: str) -> Event:
        """The event that releases this text."""
        ...

    def stop(self, ending: Ending) -> list[Event]:
        """What ends the reply here, because of a verdict."""
        ...

    def fail(self, code: str, message: str) -> list[Event]:
        """What ends the reply here, because of a fault."""
        ...

    def frame(self, event: Event) -> bytes:
        """An event as server-sent bytes; called once for each, in the order of leaving."""
        ...


def strings_in(value: object, ignored: frozenset[str] = frozenset(), depth: int = 0) -> Iterator[str]:
    """Every string in a JSON value, keys of objects included, without names and seals under an ignored key."""
    if depth > MOST_DEPTH:
        raise MalformedEvent("an event is nested too deeply")
    if isinstance(value, str):
        if value and not value.isspace():
            yield value
    elif isinstance(value, list):
        for entry in value:
            yield from strings_in(entry, ignored, depth + 1)
    elif isinstance(value, dict):
        for key, entry in value.items():
            if key not in ignored:
                yield key
                yield from strings_in(entry, ignored, depth + 1)
                continue
            # Whoever writes the request chooses what stands there too, and a model may be shown it.
            yield from (text for text in strings_in(entry, depth=depth + 1) if len(text.split()) > 1)


def texts_in(value: object, ignored: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The strings of a value as one text, so that a phrase cannot hide between two of them; none is no text."""
    found = list(strings_in(value, ignored))
    return ("\n".join(found),) if found else ()


def place(event: Event, name: str) -> int:
    """A place such as `index`; raises MalformedEvent unless it is a whole number that is not negative."""
    value = event.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedEvent(f"an event has no {name}")
    return value


def part(event: Event, name: str) -> Event:
    """An object inside an event; raises MalformedEvent where there is none."""
    value = event.get(name)
    if not isinstance(value, dict):
        raise MalformedEvent(f"an event has no {name}")
    return value


def string(event: Event, name: str) -> str:
    """A string inside an event, '' where it is absent; raises MalformedEvent for anything else."""
    value = event.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedEvent(f"an event's {name} is no string")
    return value


def named_frame(event: Event) -> bytes:
    """An event with its `event:` line. Half a surrogate pair leaves escaped."""
    body = json.dumps(event, ensure_ascii=True, separators=(",", ":"))
    return f"event: {event['type']}\ndata: {body}\n\n".encode("ascii")
