"""The events of one reply in Anthropic's dialect: what of them is text, and how the reply ends.

Owns the types of events and content blocks, and their numbering. Refuses to know how text is judged, and HTTP.

Text, thinking and tool input are voices. A block that comes whole (results of the server's tools) is judged whole.
Thinking is stopped, never altered, for its signature would not fit; what is encrypted passes, since nobody can read
it. Citations wait for the end of their text, and are dropped where it was altered. An event or delta of an unknown type
is dropped: it could hold anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from service.api.reply_steps import (
    Close,
    Ending,
    Event,
    MalformedEvent,
    Say,
    Send,
    Step,
    Voice,
    named_frame,
    part,
    place,
    string,
    texts_in,
)

# What a string under one of these keys says is chosen by the server, or is readable to nobody.
OPAQUE = frozenset({"type", "id", "tool_use_id", "signature", "encrypted_content", "encrypted_index", "file_id"})
# Of a block that is spoken: which of its fields is said, and which delta says it.
SPOKEN = {
    "text": "text",
    "thinking": "thinking",
    "tool_use": "input",
    "server_tool_use": "input",
    "mcp_tool_use": "input",
}
DELTAS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_DELTA_OF = {"text": "text_delta", "thinking": "thinking_delta", "input": "input_json_delta"}
_SAID_BY = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "input"}
_STOP_REASONS = frozenset(
    {"end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded"}
)
_MESSAGE_KEYS = ("id", "type", "role", "model", "usage")


@dataclass(slots=True)
class _Block:
    """One open block: its own number in what leaves, its voice, and what waits for the end of its text."""

    index: int
    voice: Voice | None
    said: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    waiting: list[Event] = field(default_factory=list)


class MessageEditor:
    """Edits one streamed message. Blocks are numbered anew, so that what is dropped leaves no gap."""

    def __init__(self, model: str) -> None:
        """`model` is what the caller asked for, for a message that has not begun."""
        self._model = model
        self._blocks: dict[int, _Block] = {}
        self._count = 0
        self._begun = False
        self._usage: Event = {"output_tokens": 0}
        self._final = False
        self.ended = False

    def read(self, event: Event) -> Iterator[Step]:
        """Steps for one event of the upstream."""
        kind = event.get("type")
        if kind == "ping":
            yield Send({"type": "ping"})
        elif kind == "message_start":
            yield from self._start(part(event, "message"))
        elif not self._begun:
            raise MalformedEvent("an event came before message_start")
        elif kind == "content_block_start":
            yield from self._open(place(event, "index"), part(event, "content_block"))
        elif kind == "content_block_delta":
            yield from self._delta(self._blocks.get(place(event, "index")), part(event, "delta"))
        elif kind == "content_block_stop":
            yield from self._close(place(event, "index"))
        elif kind == "message_delta":
            yield from self._finish(event)
        elif kind == "message_stop":
            if not self._final:
                raise MalformedEvent("message_stop came before message_delta")
            self.ended = True
            yield Send({"type": "message_stop"})

    def write(self, voice: Voice, text: str) -> Event:
        """The delta that releases this text."""
        block = next(block for block in self._blocks.values() if block.voice == voice)
        block.released.append(text)
        kind = _DELTA_OF[str(voice.key[1])]
        return {"type": "content_block_delta", "index": block.index, "delta": {"type": kind, DELTAS[kind]: text}}

    def stop(self, ending: Ending) -> list[Event]:
        """Close what is open, and end with a refusal."""
        details = {"type": "refusal", "category": "general_harms", "explanation": ending.explanation}
        last: Event = {
            "type": "message_delta",
            "delta": {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details},
            "usage": self._usage,
        }
        if ending.facts:
            last["x_weir"] = dict(ending.facts)
        return [*self._begin(), *self._close_all(), last, self._end()]

    def fail(self, code: str, message: str) -> list[Event]:
        """An explicit error, which the client raises."""
        self.ended = True
        return [{"type": "error", "error": {"type": "api_error", "message": message, "code": code}}]

    def frame(self, event: Event) -> bytes:
        """The event with its name, which this dialect's client needs."""
        return named_frame(event)

    def _begin(self) -> list[Event]:
        """A message that the upstream had not begun."""
        if self._begun:
            return []
        self._begun = True
        usage = {"input_tokens": 0, "output_tokens": 0}  # nothing was asked of the upstream
        return [{"type": "message_start", "message": _message({"id": "msg_weir", "model": self._model}, usage)}]

    def _start(self, message: Event) -> Iterator[Step]:
        if self._begun:
            raise MalformedEvent("message_start came twice")
        self._begun = True
        usage = message.get("usage")
        usage = _numbers(usage) if isinstance(usage, dict) else {"input_tokens": 0, "output_tokens": 0}
        self._usage = {"output_tokens": usage.get("output_tokens", 0)}
        yield Send({"type": "message_start", "message": _message(message, usage)})
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else []):
            if not isinstance(block, dict):
                raise MalformedEvent("a content block is no object")
            yield from self._open(index, block)
            yield from self._close(index)

    def _open(self, index: int, block: Event) -> Iterator[Step]:
        """Announce a block, emptied. It counts as open only once it was sent: a stop closes what was opened."""
        if index in self._blocks:
            raise MalformedEvent("a content block was opened twice")
        kind = string(block, "type")
        said = SPOKEN.get(kind)
        if said is None:
            opaque = OPAQUE | {"data"} if kind == "redacted_thinking" else OPAQUE
            kept = without_binaries(block)
            yield Send(self._block_start(kept), texts_in(kept, opaque))
            self._add(index, None)
            return
        rest = {key: value for key, value in block.items() if key not in (said, "citations")}
        if kind == "thinking":
            rest["signature"] = ""  # it comes when all that it vouches for has been released
        yield Send(self._block_start({**rest, said: {} if said == "input" else ""}), texts_in(rest, OPAQUE))
        opened = self._add(index, Voice((self._count, said), whole=said == "thinking"))
        citations = block.get("citations")
        for citation in citations if isinstance(citations, list) else ():
            opened.waiting.append({"type": "citations_delta", "citation": citation})
        text = _text_of(block.get(said))
        if text and opened.voice is not None:
            opened.said.append(text)
            yield Say(opened.voice, text)

    def _add(self, index: int, voice: Voice | None) -> _Block:
        self._blocks[index] = added = _Block(self._count, voice)
        self._count += 1
        return added

    def _block_start(self, block: Event) -> Event:
        return {"type": "content_block_start", "index": self._count, "content_block": block}

    def _delta(self, block: _Block | None, delta: Event) -> Iterator[Step]:
        if block is None:
            raise MalformedEvent("a delta belongs to no open block")
        kind = string(delta, "type")
        if kind in DELTAS:
            if block.voice is None or block.voice.key[1] != _SAID_BY[kind]:
                raise MalformedEvent("a delta is of another type than its block")
            text = string(delta, DELTAS[kind])
            if text:
                block.said.append(text)
                yield Say(block.voice, text)
        elif kind == "citations_delta":
            block.waiting.append({"type": kind, "citation": part(delta, "citation")})
        elif kind == "signature_delta":
            block.waiting.append({"type": kind, "signature": string(delta, "signature")})

    def _close(self, index: int) -> Iterator[Step]:
        block = self._blocks.get(index)
        if block is None:
            raise MalformedEvent("a block that is not open was stopped")
        if block.voice is not None:
            yield Close(block.voice)
            if "".join(block.released) == "".join(block.said):
                for delta in block.waiting:
                    event = {"type": "content_block_delta", "index": block.index, "delta": delta}
                    yield Send(event, texts_in(delta, OPAQUE))
        del self._blocks[index]
        yield Send({"type": "content_block_stop", "index": block.index})

    def _close_all(self) -> list[Event]:
        stops: list[Event] = [{"type": "content_block_stop", "index": b.index} for b in self._blocks.values()]
        self._blocks.clear()
        return stops

    def _finish(self, event: Event) -> Iterator[Step]:
        for index in list(self._blocks):
            yield from self._close(index)
        delta, usage = part(event, "delta"), event.get("usage")
        if isinstance(usage, dict):
            self._usage = {**self._usage, **_numbers(usage)}
        reason = delta.get("stop_reason")
        if reason is not None and reason not in _STOP_REASONS:
            reason = "end_turn"
        kept: Event = {"stop_reason": reason, "stop_sequence": delta.get("stop_sequence")}
        if isinstance(delta.get("stop_details"), dict):
            kept["stop_details"] = delta["stop_details"]
        self._final = True
        last: Event = {"type": "message_delta", "delta": kept, "usage": self._usage}
        yield Send(last, texts_in({k: v for k, v in kept.items() if k != "stop_reason"}, OPAQUE), last)

    def _end(self) -> Event:
        self.ended = True
        return {"type": "message_stop"}


def without_binaries(value: Any) -> Any:
    """The value with every base64 source emptied: an image or a PDF that a server's tool has fetched is not judged."""
    if isinstance(value, list):
        return [without_binaries(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    kept = {key: without_binaries(entry) for key, entry in value.items()}
    return {**kept, "data": ""} if value.get("type") == "base64" else kept


def _message(message: Event, usage: Event) -> Event:
    """A message that has no content yet, with nothing in it but names and numbers."""
    kept: Event = {"id": "msg_weir", "type": "message", "role": "assistant"}
    kept.update({key: message[key] for key in _MESSAGE_KEYS if isinstance(message.get(key), str)})
    return {**kept, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}


def _numbers(usage: Event) -> Event:
    """Usage as the upstream counted it: numbers, groups of numbers and the name of the tier."""
    kept: Event = {}
    for key, value in usage.items():
        if isinstance(value, dict):
            kept[key] = _numbers(value)
        elif value is None or isinstance(value, int | float) or key == "service_tier":
            kept[key] = value
    return kept


def _text_of(value: Any) -> str:
    """What a block holds before its first delta: text, or a tool's input as JSON."""
    if isinstance(value, str):
        return value
    if not value:
        return ""

    return json.dumps(value, ensure_ascii=False)
