"""What of a request to OpenAI's responses is judged: instructions, and every type of input item.

Owns the items of requests, and what of them reaches beyond this request and so is refused. Refuses to know how they
are judged. An item of an unknown type is read for every string in it.
"""

from __future__ import annotations

from typing import Any

from service.api.image_input import ImageSource
from service.api.prompt_turns import (
    Prompt,
    TurnReader,
    UnjudgedContent,
    is_image_string,
    is_list,
    is_object,
    to_prompt,
)
from service.api.responses_items import OPAQUE
from service.errors import BadInput
from service.images.data_url import to_data_url

_ROLES = ("user", "assistant", "system", "developer")
_TEXT_PARTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
_FILES = {"input_file": "files", "input_audio": "sound"}
_IMAGES = ("input_image", "computer_screenshot")
_OF_IMAGES = ("type", "image_url", "detail", "file_id")
# These name texts that lie with the upstream, which were not judged here as a whole, or would be read past Weir later.
_REACHING = {
    "previous_response_id": "an earlier response that lies with the upstream",
    "conversation": "a conversation that lies with the upstream",
    "prompt": "a prompt that lies with the upstream",
}
# Fields that say nothing to the model.
_SETTINGS = frozenset(
    {"model", "stream", "stream_options", "include", "background", "max_output_tokens", "max_tool_calls", "metadata"}
    | {"parallel_tool_calls", "prompt_cache_key", "prompt_cache_retention", "reasoning", "safety_identifier", "store"}
    | {"service_tier", "temperature", "top_p", "top_logprobs", "tool_choice", "truncation", "user", "moderation"}
    | {"context_management"}
)
_READ = frozenset({"instructions", "tools", "text", "input"} | _REACHING.keys())


class BackgroundRefused(BadInput):
    """A response that would be written and fetched past Weir."""

    code = "background_unsupported"


def read_prompt(body: dict[str, Any], *, allow_unjudged: bool) -> Prompt:
    """The texts and images of a request; raises BadInput, and UnjudgedContent for what cannot be judged."""
    if body.get("background"):
        raise BackgroundRefused("A response in the background cannot be judged; ask without it.", param="background")
    for key, what in _REACHING.items():
        if body.get(key) is not None and not allow_unjudged:
            raise UnjudgedContent(f"This deployment does not judge {what}; send the turns as input.", param=key)
    system = TurnReader(allow_unjudged=allow_unjudged)
    if body.get("instructions") is not None:
        system.add(body["instructions"], "system", "instructions")
    # Definitions of tools and formats steer the model as its instructions do.
    system.add_all([body.get("tools", []), body.get("text", {})], "system", OPAQUE)
    reader = TurnReader(allow_unjudged=allow_unjudged)
    # An upstream may put a field of an unknown name before the model.
    unknown = {key: value for key, value in body.items() if key not in _SETTINGS | _READ}
    reader.add_all(unknown, "user", frozenset())
    given = body.get("input", "")
    if isinstance(given, str):
        reader.add(given, "user", "input")
        return to_prompt(reader, system.turns, 0)
    newest_from = 0
    for place, entry in enumerate(is_list(given, "input")):
        before = len(reader.turns)
        _read_item(is_object(entry, f"input[{place}]"), f"input[{place}]", reader)
        reader.end_message(before)
        said = reader.turns[before:]
        # An assistant's turn that is the last one is what the reply goes on from: it is judged as the newest.
        if place < len(given) - 1 and said and all(turn.role == "assistant" for turn in said):
            newest_from = len(reader.turns)
    return to_prompt(reader, system.turns, newest_from)


def _read_item(item: dict[str, Any], param: str, reader: TurnReader) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        role = item.get("role")
        if role not in _ROLES:
            raise BadInput(f"A role must be one of {', '.join(_ROLES)}.", param=f"{param}.role")
        _read_parts(item.get("content"), role, f"{param}.content", reader)
    elif kind == "item_reference":
        reader.leave_out("an item that lies with the upstream", param)
    elif kind in ("function_call_output", "custom_tool_call_output", "computer_call_output"):
        _read_parts(item.get("output"), "tool", f"{param}.output", reader)
    elif kind == "image_generation_call":
        if item.get("result"):
            result = is_image_string(item["result"], f"{param}.result")
            reader.add_image(ImageSource(result, f"{param}.result", bare=True), "assistant")
        reader.add_all(item.get("revised_prompt"), "assistant", OPAQUE)
    else:
        if kind in _IMAGES:
            _read_image(item, "user", param, reader)
            return
        if kind in _FILES:
            reader.leave_out(_FILES[kind], param)
        spoken_by = "tool" if str(kind).endswith("_output") else "assistant"
        reader.add_all(item, spoken_by, OPAQUE)


def _read_parts(content: object, role: str, param: str, reader: TurnReader) -> None:
    if isinstance(content, str):
        reader.add(content, role, param)
        return
    parts = content if isinstance(content, list) else [is_object(content, param)]
    for place, entry in enumerate(parts):
        part, where = is_object(entry, f"{param}[{place}]"), f"{param}[{place}]"
        kind = part.get("type")
        if kind in _TEXT_PARTS:
            reader.add(part.get("text"), role, f"{where}.text")
            reader.add_all(part.get("annotations"), role, OPAQUE)
        elif kind == "refusal":
            reader.add(part.get("refusal"), role, f"{where}.refusal")
        elif kind in _IMAGES:
            _read_image(part, role, where, reader)
        elif kind in _FILES:
            reader.leave_out(_FILES[kind], where)
        else:
            reader.add_all(part, role, OPAQUE)


def _read_image(part: dict[str, Any], role: str, param: str, reader: TurnReader) -> None:
    """An image's address, and whatever else the part says; a file that lies with the upstream cannot be judged."""
    if part.get("file_id") is not None:
        reader.leave_out("an image that lies with the upstream", f"{param}.file_id")
    else:

        def pin(data: bytes) -> None:
            part["image_url"] = to_data_url(data)

        where = f"{param}.image_url"
        reader.add_image(ImageSource(is_image_string(part.get("image_url"), where), where, pin=pin), role)
    reader.add_all({name: value for name, value in part.items() if name not in _OF_IMAGES}, role, OPAQUE)
