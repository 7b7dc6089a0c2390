"""A chat completion that came in one piece: as the chunks that it could have come in, and back.

Owns both directions, so that a reply is judged in one way whether it is streamed or not. Refuses to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from service.api.chat_events import TEXTS
from service.api.reply_steps import DONE, Event, MalformedEvent, place


def to_events(reply: Event) -> Iterator[Event]:
    """The completion as chunks; raises MalformedEvent for what is none."""
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices:
        raise MalformedEvent("the reply has no choices")
    base = {key: value for key, value in reply.items() if key not in ("choices", "usage", "object")}
    for choice in choices:
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            raise MalformedEvent("a choice has no message")
        delta = {**message, "tool_calls": _numbered(message.get("tool_calls"))}
        said = {"index": choice.get("index"), "delta": delta, "logprobs": choice.get("logprobs")}
        yield {**base, "choices": [said]}
        yield {**base, "choices": [{"index": choice.get("index"), "finish_reason": choice.get("finish_reason")}]}
    yield {**base, "choices": [], "usage": reply.get("usage")}
    yield DONE


def from_events(events: Iterable[Event]) -> Event:
    """The completion that these chunks, which an editor wrote, amount to."""
    reply: Event = {}
    choices: dict[int, Event] = {}
    for event in events:
        if event is DONE:
            continue
        if not reply:
            reply = {**event, "object": "chat.completion", "usage": None}
        reply |= {key: event[key] for key in ("x_weir", "usage") if key in event}
        for chunk in event["choices"]:
            _add(choices.setdefault(chunk["index"], _empty(chunk["index"])), chunk)
    for choice in choices.values():
        message = choice["message"]
        if not message["content"] and (len(message) > 3 or choice["finish_reason"] == "content_filter"):
            message["content"] = None  # a tool was called, or nothing was released
    return {**reply, "choices": [choices[index] for index in sorted(choices)]}


def _numbered(calls: object) -> list[Any]:
    if not isinstance(calls, list):
        return []
    return [{**call, "index": number} if isinstance(call, dict) else call for number, call in enumerate(calls)]


def _empty(index: int) -> Event:
    message: Event = {"role": "assistant", "content": "", "refusal": None}
    return {"index": index, "message": message, "finish_reason": None, "logprobs": None}


def _add(choice: Event, chunk: Event) -> None:
    message, delta = choice["message"], chunk["delta"]
    for name in TEXTS:
        if delta.get(name):
            message[name] = (message.get(name) or "") + delta[name]
    for call in delta.get("tool_calls", ()):
        _add_call(message.setdefault("tool_calls", []), call)
    if "function_call" in delta:
        called = message.setdefault("function_call", {"name": "", "arguments": ""})
        called["name"] += delta["function_call"].get("name", "")
        called["arguments"] += delta["function_call"].get("arguments", "")
    if "audio" in delta:
        audio = message.setdefault("audio", {"transcript": ""})
        audio["transcript"] += delta["audio"]["transcript"]
    if "annotations" in delta:
        message.setdefault("annotations", []).extend(delta["annotations"])
    if chunk.get("logprobs"):
        choice["logprobs"] = choice["logprobs"] or {"content": None, "refusal": None}
        for kind, entries in chunk["logprobs"].items():
            choice["logprobs"][kind] = (choice["logprobs"][kind] or []) + (entries or [])
    if chunk["finish_reason"] is not None:
        choice["finish_reason"] = chunk["finish_reason"]


def _add_call(calls: list[Event], given: Event) -> None:
    number = place(given, "index")
    if number == len(calls):
        calls.append({k: dict(v) if isinstance(v, dict) else v for k, v in given.items() if k != "index"})
        return
    for kind, name in (("function", "arguments"), ("custom", "input")):
        if kind in given:
            calls[number][kind][name] += given[kind][name]
