"""The body of a plain stream as it comes in: bytes to pieces of text, whatever they are wrapped in.

Owns the three wrappings (text, JSON lines, server-sent events) and their bounds. Refuses to know what becomes of the
text. Every reader takes bytes cut anywhere, also inside a character, and says at the end whether something was cut.
"""

from __future__ import annotations

import codecs
import json
from typing import Protocol

from service.errors import BadInput, InvalidJson

MOST_LINE_BYTES = 1 << 17  # of one line or event that is held until it is whole
DONE = "[DONE]"


class UnsupportedMediaType(BadInput):
    """A body of a kind that is not streamed here."""

    status = 415
    code = "unsupported_media_type"


class TextReader(Protocol):
    """Turns bytes into pieces of text; raises BadInput for what it cannot read."""

    def feed(self, data: bytes) -> list[str]:
        """The pieces that these bytes complete."""
        ...

    def close(self) -> list[str]:
        """The pieces that the end of the body completes."""
        ...


def reader_for(content_type: str) -> TextReader:
    """The reader of a body of this type; text where none is named."""
    kind, _, parameters = content_type.lower().partition(";")
    charset = parameters.partition("charset=")[2].partition(";")[0].strip(' "')
    if charset and charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType("The text must be UTF-8.", param="content-type")
    kind = kind.strip()
    if kind in ("", "text/plain", "application/octet-stream"):
        return PlainReader()
    if kind in ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines"):
        return LineReader()
    if kind == "text/event-stream":
        return EventReader()
    raise UnsupportedMediaType(
        "The body must be text/plain, application/x-ndjson or text/event-stream.", param="content-type"
    )


def text_of(message: str | bytes) -> str:
    """The text of one message: {"text": "..."}, or a JSON string."""
    try:
        found = json.loads(message)
    except (ValueError, RecursionError):
        raise InvalidJson("A message is not JSON.") from None
    text = found.get("text") if isinstance(found, dict) and set(found) == {"text"} else found
    if not isinstance(text, str):
        raise BadInput('A message must be {"text": "..."} or a JSON string.', param="text")
    return text


class PlainReader:
    """The body is the text."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def feed(self, data: bytes) -> list[str]:
        """Every whole character at once."""
        return self._decode(data, final=False)

    def close(self) -> list[str]:
        """Nothing, unless a character was cut."""
        return self._decode(b"", final=True)

    def _decode(self, data: bytes, *, final: bool) -> list[str]:
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError:
            raise BadInput("The body is not UTF-8, or ends inside a character.") from None
        return [text] if text else []


class _Lines:
    """Bytes as lines, without their ends: LF, CRLF or CR; a CR may be the first half of a CRLF that was cut."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._after_return = False

    def feed(self, data: bytes) -> list[bytes]:
        if self._after_return and data[:1] == b"\n":
            data = data[1:]
        if data:
            self._after_return = data[-1:] == b"\r"
        parts = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._waiting += parts[0]
        if len(self._waiting) > MOST_LINE_BYTES or max(map(len, parts)) > MOST_LINE_BYTES:
            raise BadInput(f"A line is over {MOST_LINE_BYTES} bytes.")
        if len(parts) == 1:
            return []
        lines = [bytes(self._waiting), *parts[1:-1]]
        self._waiting = bytearray(parts[-1])
        return lines

    def rest(self) -> bytes:
        return bytes(self._waiting)


class LineReader:
    """JSON lines, a message each; empty lines keep the connection alive."""

    def __init__(self) -> None:
        self._lines = _Lines()

    def feed(self, data: bytes) -> list[str]:
        """The text of every line that is whole."""
        return [text_of(line) for line in self._lines.feed(data) if line.strip()]

    def close(self) -> list[str]:
        """The last line, which may lack its end; half a message is no JSON."""
        rest = self._lines.rest()
        return [text_of(rest)] if rest.strip() else []


class EventReader:
    """Server-sent events whose data is a message each; comments and other fields are passed over, [DONE] ends."""

    def __init__(self) -> None:
        self._lines = _Lines()
        self._data: list[bytes] = []
        self._size = 0
        self._done = False

    def feed(self, data: bytes) -> list[str]:
        """The text of every event that is whole."""
        found: list[str] = []
        for line in self._lines.feed(data):
            if not line:
                found.extend(self._event())
            elif line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._size += len(line)
                if self._size > MOST_LINE_BYTES:
                    raise BadInput(f"An event is over {MOST_LINE_BYTES} bytes.")
        return found

    def close(self) -> list[str]:
        """Nothing: an event that no empty line has ended was cut."""
        if self._data or self._lines.rest().strip():
            raise BadInput("The body ends inside an event.")
        return []

    def _event(self) -> list[str]:
        message = b"\n".join(self._data)
        self._data, self._size = [], 0
        if not message or self._done:
            return []
        if message == DONE.encode():
            self._done = True
            return []
        return [text_of(message)]
