"""The items of OpenAI's responses: which of their fields are spoken, and what each is before anything was said.

Owns the shapes of items and parts. Refuses to know events and judgement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from service.api.reply_steps import Event, Voice

# What stands under these keys is a name that the server chose, or is readable to nobody.
OPAQUE = frozenset(
    {"type", "id", "call_id", "status", "role", "phase", "encrypted_content", "approval_request_id", "fingerprint"}
    | {"container_id", "file_id", "item_id"}
)
# Item type -> the field that is spoken beside its parts, and the deltas that say it.
SPOKEN = {
    "function_call": "arguments",
    "mcp_call": "arguments",
    "custom_tool_call": "input",
    "code_interpreter_call": "code",
}
# Type of a delta -> (field that it says, list of parts that the field is in or '', key of the part's place).
DELTAS = {
    "response.output_text.delta": ("text", "content", "content_index"),
    "response.refusal.delta": ("refusal", "content", "content_index"),
    "response.reasoning_text.delta": ("text", "content", "content_index"),
    "response.reasoning_summary_text.delta": ("text", "summary", "summary_index"),
    "response.function_call_arguments.delta": ("arguments", "", ""),
    "response.mcp_call_arguments.delta": ("arguments", "", ""),
    "response.custom_tool_call_input.delta": ("input", "", ""),
    "response.code_interpreter_call_code.delta": ("code", "", ""),
}
DONES = {name.removesuffix("delta") + "done": name for name in DELTAS}
DELTA_OF_PART = {
    "output_text": "response.output_text.delta",
    "refusal": "response.refusal.delta",
    "reasoning_text": "response.reasoning_text.delta",
    "summary_text": "response.reasoning_summary_text.delta",
}
DELTA_OF_ITEM = {
    "function_call": "response.function_call_arguments.delta",
    "mcp_call": "response.mcp_call_arguments.delta",
    "custom_tool_call": "response.custom_tool_call_input.delta",
    "code_interpreter_call": "response.code_interpreter_call_code.delta",
}
# Events that hold nothing but places; each with the one key it needs beside the item's.
SILENT = frozenset(
    f"response.{call}.{state}"
    for call, states in {
        "file_search_call": ("in_progress", "searching", "completed"),
        "web_search_call": ("in_progress", "searching", "completed"),
        "image_generation_call": ("in_progress", "generating", "completed"),
        "code_interpreter_call": ("in_progress", "interpreting", "completed"),
        "mcp_call": ("in_progress", "completed", "failed"),
        "mcp_list_tools": ("in_progress", "completed", "failed"),
    }.items()
    for state in states
)
_ECHOED = ("tools", "tool_choice", "instructions", "metadata", "text", "reasoning", "previous_response_id", "user")
_COUNTED = ("created_at", "completed_at", "parallel_tool_calls", "temperature", "top_p", "max_output_tokens", "store")
_NAMED = ("id", "model", "service_tier", "truncation")


@dataclass(slots=True)
class Speech:
    """One voice of an item: the delta that says it ('' once it has ended), where it stands, and what waits for its end.

    `target` is the item or part that its text belongs to.
    """

    voice: Voice
    delta: str
    places: Event
    target: Event
    said: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    annotations: list[Event] = field(default_factory=list)
    logprobs: list[Event] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether all that was said was released as it was."""
        return "".join(self.said) == "".join(self.released)


@dataclass(slots=True)
class Item:
    """One open item: its own place, what has left of it, and its voices by list of parts and the upstream's place."""

    index: int
    shape: Event
    speeches: dict[tuple[str, int], Speech] = field(default_factory=dict)


def unspoken(item: Event) -> Event:
    """The item with nothing said yet. An image's bytes are taken out: they are not judged."""
    kind = item.get("type")
    empty = dict(item)
    if kind in SPOKEN:
        empty[SPOKEN[kind]] = ""
        for late in ("output", "outputs", "error"):
            empty.pop(late, None)
    elif kind == "message":
        empty = {key: item[key] for key in ("id", "type", "phase") if isinstance(item.get(key), str)}
        empty.update(role="assistant", content=[])
    elif kind == "reasoning":
        empty["summary"] = []
        empty.pop("content", None)
    elif kind == "image_generation_call":
        empty["result"] = None
    if kind in SPOKEN or kind in ("message", "reasoning"):
        empty["status"] = "in_progress"
    return empty


def unspoken_part(part: Event) -> Event | None:
    """A part with nothing said yet; None for a type that is not known."""
    kind = part.get("type")
    if kind == "output_text":
        return {"type": kind, "text": "", "annotations": []}
    if kind == "refusal":
        return {"type": kind, "refusal": ""}
    return {"type": kind, "text": ""} if kind in ("reasoning_text", "summary_text") else None


def envelope(response: Event, request: Event) -> Event:
    """A response without output: the upstream's names and numbers, and what the caller itself had asked for."""
    kept: Event = {"id": "resp_weir", "object": "response", "created_at": 0, "model": request.get("model")}
    kept.update({key: response[key] for key in _NAMED if isinstance(response.get(key), str)})
    kept.update({key: response[key] for key in _COUNTED if isinstance(response.get(key), int | float)})
    kept.update({"parallel_tool_calls": True, "tools": [], "tool_choice": "auto"} | kept)
    kept.update({key: request[key] for key in _ECHOED if key in request})
    kept.update(status="in_progress", error=None, incomplete_details=None, output=[])
    usage = response.get("usage")
    kept["usage"] = _numbers(usage) if isinstance(usage, dict) else None
    return kept


def _numbers(usage: dict[str, Any]) -> Event:
    kept = {key: _numbers(value) if isinstance(value, dict) else value for key, value in usage.items()}
    return {key: value for key, value in kept.items() if isinstance(value, dict | int | float)}
