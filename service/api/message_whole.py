"""A message of Anthropic's that came in one piece: as the events that it could have come in, and back.

Owns both directions, so that a reply is judged in one way whether it is streamed or not. Refuses to judge.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from service.api.messages_events import DELTAS
from service.api.reply_steps import Event, MalformedEvent


def to_events(message: Event) -> Iterator[Event]:
    """The message as events. A block's text stands in its start; raises MalformedEvent for what is no message."""
    content = message.get("content")
    if message.get("type") != "message" or not isinstance(content, list):
        raise MalformedEvent("the reply is no message")
    yield {"type": "message_start", "message": {**message, "content": []}}
    for index, block in enumerate(content):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        signature = block.get("signature") if isinstance(block, dict) else None
        if block.get("type") == "thinking" if isinstance(block, dict) else False:
            delta = {"type": "signature_delta", "signature": signature}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {key: message.get(key) for key in ("stop_reason", "stop_sequence", "stop_details")}
    yield {"type": "message_delta", "delta": delta, "usage": message.get("usage")}
    yield {"type": "message_stop"}


def from_events(events: Iterable[Event]) -> Event:
    """The message that these events, which an editor wrote, amount to."""
    message: Event = {}
    for event in events:
        kind = event["type"]
        if kind == "message_start":
            message = dict(event["message"])
        elif kind == "content_block_start":
            message["content"].append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            _add(message["content"][event["index"]], event["delta"])
        elif kind == "message_delta":
            message.update(event["delta"])
            message["usage"] = {**message.get("usage", {}), **event["usage"]}
            if "x_weir" in event:
                message["x_weir"] = event["x_weir"]
    for block in message.get("content", ()):
        if isinstance(block.get("input"), str):
            block["input"] = _loaded(block["input"])
    return message


def _add(block: Event, delta: Event) -> None:
    kind = delta["type"]
    if kind == "citations_delta":
        block.setdefault("citations", []).append(delta["citation"])
    elif kind == "signature_delta":
        block["signature"] = delta["signature"]
    else:
        field = "input" if kind == "input_json_delta" else DELTAS[kind]
        block[field] = (block[field] or "") + delta[DELTAS[kind]]


def _loaded(text: str) -> Any:
    """A tool's input; what was cut in half by a stop, or altered out of its form, is no input any more."""
    try:
        return json.loads(text)
    except ValueError:
        return {}
