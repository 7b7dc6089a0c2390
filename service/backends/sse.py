"""Server-sent events out of a body that arrives in pieces (WHATWG HTML, section 9.2.6).

Owns lines, fields and the bound of an event. Refuses to know what an event says. What it raises quotes nothing of it.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field

MOST_CHARS = 1 << 20  # of one event: a whole reply stands in the last one of some dialects


class MalformedStream(Exception):
    """The bytes are no stream of events: not UTF-8, or an event without an end."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event. `name` is '' where the stream gave none."""

    name: str
    data: str = field(repr=False)


class EventReader:
    """Takes a body piece by piece, cut anywhere, and gives the events that are whole."""

    def __init__(self, most_chars: int = MOST_CHARS) -> None:
        self._most = most_chars
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._begun = False
        self._after_return = False  # a line ended with CR, so that an LF now belongs to it
        self._line: list[str] = []  # pieces of the line that has no end yet
        self._line_size = 0
        self._name = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """The events that this piece completes; MalformedStream where there can be none."""
        text = self._decode(piece, final=False)
        if not self._begun and text:
            self._begun = True
            text = text.removeprefix("\ufeff")
        if self._after_return and text:
            self._after_return = False
            text = text.removeprefix("\n")
        self._after_return = text.endswith("\r") or (self._after_return and not text)
        first, *lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._line.append(first)
        self._line_size += len(first)
        if lines:
            lines.insert(0, "".join(self._line))
            last = lines.pop()
            self._line, self._line_size = [last], len(last)
        for line in lines:
            event = self._read(line)
            if event is not None:
                yield event
        if self._line_size + self._size > self._most:
            raise MalformedStream("an event is too long")

    def finish(self) -> None:
        """The body has ended; MalformedStream where it ended within an event."""
        self._decode(b"", final=True)
        if "".join(self._line).strip() or self._data:
            raise MalformedStream("the stream ends within an event")

    def _decode(self, piece: bytes, *, final: bool) -> str:
        try:
            return self._decoder.decode(piece, final)
        except UnicodeDecodeError:
            raise MalformedStream("the stream is not UTF-8") from None

    def _read(self, line: str) -> ServerEvent | None:
        if not line:
            event = ServerEvent(self._name, "\n".join(self._data)) if self._data else None
            self._name, self._data, self._size = "", [], 0
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(value) + 1
            if self._size > self._most:
                raise MalformedStream("an event is too long")
        elif name == "event":
            self._name = value
        return None
