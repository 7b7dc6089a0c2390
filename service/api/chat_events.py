"""The chunks of one reply in OpenAI's chat dialect: what of them is text, and how the reply ends.

Owns the fields of chunks. Refuses to know how text is judged, and HTTP.

Every choice's content, refusal, reasoning, tool arguments and transcript are voices of their own. Names of tools and
annotations come whole and are judged whole. Log probabilities leave with the tokens that they belong to, and not at all
where the text was altered. A field of an unknown name is dropped, as is audio, since nobody judges it. A verdict that
stops one choice stops the reply: the others were drawn from the same prompt.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from service.api.chat_logprobs import Logprobs
from service.api.reply_steps import (
    DONE,
    Close,
    Ending,
    Event,
    MalformedEvent,
    Say,
    Send,
    Step,
    Voice,
    part,
    place,
    string,
    texts_in,
)

TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
FINISHES = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
OPAQUE = frozenset({"type", "id", "file_id"})
_TOOLS = {"function": "arguments", "custom": "input"}  # a tool call's kind, and its field that is spoken
_BASE = ("id", "model", "system_fingerprint", "service_tier")


class ChatEditor:
    """Edits one streamed completion."""

    def __init__(self, request: Event) -> None:
        """`request` is the caller's: for a completion that has not begun, and for its usage."""
        choices = request.get("n")
        self._choices = choices if isinstance(choices, int) and 0 < choices <= 128 else 1
        options = request.get("stream_options")
        self._wants_usage = isinstance(options, dict) and bool(options.get("include_usage"))
        self._base: Event = {"id": "chatcmpl-weir", "model": request.get("model", "")}
        self._created = int(time.time())
        self._voices: dict[int, list[Voice]] = {}  # by choice, in the order in which they began
        self._closed: set[Voice] = set()
        self._named: set[tuple[int, int]] = set()
        self._finished: set[int] = set()
        self._logprobs: dict[int, Logprobs] = {}
        self._usage: Any = None
        self.ended = False

    def read(self, event: Event) -> Iterator[Step]:
        """Steps for one chunk of the upstream."""
        if event.get("type") == DONE["type"]:
            if not self._voices or set(self._voices) - self._finished:
                raise MalformedEvent("the stream was done before its choices were")
            self.ended = True
            yield Send(DONE)
            return
        choices = event.get("choices")
        if not isinstance(choices, list):
            raise MalformedEvent("a chunk has no choices")
        self._base |= {key: event[key] for key in _BASE if isinstance(event.get(key), str)}
        if isinstance(event.get("created"), int):
            self._created = event["created"]
        for choice in choices:
            if not isinstance(choice, dict):
                raise MalformedEvent("a choice is no object")
            yield from self._read_choice(place(choice, "index"), choice)
        if isinstance(event.get("usage"), dict):
            self._usage = _numbers(event["usage"])
            yield Send(self._chunk([], usage=self._usage))

    def write(self, voice: Voice, text: str) -> Event:
        """The chunk that releases this text."""
        index, kind = int(voice.key[0]), str(voice.key[1])
        if kind in TEXTS:
            found = self._logprobs[index].release(kind, text) if index in self._logprobs else None
            return self._choice(index, {kind: text}, logprobs=found)
        if kind == "audio":
            return self._choice(index, {"audio": {"transcript": text}})
        if kind == "function_call":
            return self._choice(index, {"function_call": {"arguments": text}})
        call = {"index": voice.key[2], kind: {_TOOLS[kind]: text}}
        return self._choice(index, {"tool_calls": [call]})

    def stop(self, ending: Ending) -> list[Event]:
        """End every open choice as filtered."""
        self.ended = True
        unbegun = range(0 if self._voices else self._choices)
        events = [self._choice(index, {"role": "assistant", "content": ""}) for index in unbegun]
        open_ones = sorted({*self._voices, *unbegun} - self._finished)
        events += [self._choice(index, {}, finish="content_filter") for index in open_ones]
        if ending.facts and events:
            events[-1]["x_weir"] = {**ending.facts, "explanation": ending.explanation}
        if self._wants_usage and self._usage is None:
            events.append(self._chunk([], usage=None))
        return [*events, DONE]

    def fail(self, code: str, message: str) -> list[Event]:
        """An explicit error, which the client raises."""
        self.ended = True
        return [{"error": {"message": message, "type": "upstream_error", "param": None, "code": code}}]

    def frame(self, event: Event) -> bytes:
        """The event without a name, as this dialect has it. Half a surrogate pair leaves escaped."""
        if event is DONE:
            return b"data: [DONE]\n\n"
        return f"data: {json.dumps(event, separators=(',', ':'))}\n\n".encode("ascii")

    def _read_choice(self, index: int, choice: Event) -> Iterator[Step]:
        if index in self._finished:
            return
        delta = part(choice, "delta") if choice.get("delta") is not None else {}
        if index not in self._voices:
            self._voices[index] = []
            yield Send(self._choice(index, {"role": "assistant", "content": ""}))
        if isinstance(choice.get("logprobs"), dict):
            self._logprobs.setdefault(index, Logprobs()).add(choice["logprobs"])
        for name in TEXTS:
            yield from self._say(Voice((index, name)), string(delta, name))
        yield from self._read_calls(index, delta)
        if isinstance(delta.get("audio"), dict):
            yield from self._say(Voice((index, "audio")), string(delta["audio"], "transcript"))
        if isinstance(delta.get("annotations"), list) and delta["annotations"]:
            notes = delta["annotations"]
            yield Send(self._choice(index, {"annotations": notes}), texts_in(notes, OPAQUE))
        if choice.get("finish_reason"):  # some servers say '' until there is one
            yield from self._finish(index, choice["finish_reason"])

    def _read_calls(self, index: int, delta: Event) -> Iterator[Step]:
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if not isinstance(call, dict):
                raise MalformedEvent("a tool call is no object")
            yield from self._read_call(index, call)
        if isinstance(delta.get("function_call"), dict):
            called = delta["function_call"]
            if string(called, "name"):
                named = {"function_call": {"name": called["name"], "arguments": ""}}
                yield Send(self._choice(index, named), (called["name"],))
            yield from self._say(Voice((index, "function_call")), string(called, "arguments"))

    def _read_call(self, index: int, call: Event) -> Iterator[Step]:
        number = place(call, "index")
        kind = "custom" if isinstance(call.get("custom"), dict) else "function"
        called = call.get(kind) if isinstance(call.get(kind), dict) else {}
        assert isinstance(called, dict)
        if (index, number) not in self._named:
            self._named.add((index, number))
            name = string(called, "name")
            start: Event = {"index": number, "type": kind, kind: {"name": name, _TOOLS[kind]: ""}}
            if string(call, "id"):
                start["id"] = call["id"]
            yield Send(self._choice(index, {"tool_calls": [start]}), (name,) if name else ())
        yield from self._say(Voice((index, kind, number)), string(called, _TOOLS[kind]))

    def _say(self, voice: Voice, text: str) -> Iterator[Step]:
        """A voice that begins ends the one before it; one that comes back stays open, so that turns hide nothing."""
        if not text:
            return
        begun = self._voices[int(voice.key[0])]
        if voice not in begun:
            if begun and begun[-1] not in self._closed:
                self._closed.add(begun[-1])
                yield Close(begun[-1])
            begun.append(voice)
        self._closed.discard(voice)
        if voice.key[1] in TEXTS and int(voice.key[0]) in self._logprobs:
            self._logprobs[int(voice.key[0])].say(str(voice.key[1]), text)
        yield Say(voice, text)

    def _finish(self, index: int, reason: object) -> Iterator[Step]:
        for voice in self._voices[index]:
            if voice not in self._closed:
                self._closed.add(voice)
                yield Close(voice)
        self._finished.add(index)
        last = self._choice(index, {}, finish=reason if reason in FINISHES else "stop")
        over = len(self._finished) >= self._choices and self._finished >= set(self._voices)
        yield Send(last, facts_in=last if over else None)

    def _choice(self, index: int, delta: Event, *, finish: object = None, logprobs: Event | None = None) -> Event:
        choice: Event = {"index": index, "delta": delta, "finish_reason": finish}
        if logprobs is not None:
            choice["logprobs"] = logprobs
        return self._chunk([choice])

    def _chunk(self, choices: list[Event], **more: Any) -> Event:
        return {**self._base, "object": "chat.completion.chunk", "created": self._created, "choices": choices, **more}


def _numbers(usage: Event) -> Event:
    """Usage as the upstream counted it: numbers, and groups of numbers."""
    kept: Event = {}
    for key, value in usage.items():
        if isinstance(value, dict):
            kept[key] = _numbers(value)
        elif value is None or isinstance(value, int | float):
            kept[key] = value
    return kept
