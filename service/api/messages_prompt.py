"""What of a request to Anthropic's messages is judged: system, turns, and every type of content block.

Owns the blocks of requests. Refuses to know how they are judged. A block of an unknown type is read for every string
in it; what is a file is refused as unjudged unless the policy allows it.
"""

from __future__ import annotations

import base64
from typing import Any

from service.api.image_input import ImageSource
from service.api.prompt_turns import Prompt, TurnReader, is_image_string, is_list, is_object, to_prompt
from service.errors import BadInput
from service.images.data_url import media_type_of

# Names, and what is readable to nobody; a thinking block comes back as the upstream signed it.
_OPAQUE = frozenset(
    {"type", "id", "tool_use_id", "signature", "encrypted_content", "encrypted_index", "cache_control", "media_type"}
)
_OF_IMAGES = ("source", "data", "url", "file_id")
_BINARY_SOURCES = {"base64": "images and files", "url": "what an address holds", "file": "files"}
# Fields that say nothing to the model.
_SETTINGS = frozenset(
    {"model", "stream", "max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "tool_choice"}
    | {"thinking", "service_tier", "container", "mcp_servers", "context_management", "betas", "inference_geo", "speed"}
    | {"cache_control"}
)
_STEERING = ("tools", "output_format", "output_config")  # they steer the model as its instructions do


def read_prompt(body: dict[str, Any], *, allow_unjudged: bool) -> Prompt:
    """The texts and images of a request; raises BadInput, and UnjudgedContent for what cannot be judged."""
    system = TurnReader(allow_unjudged=allow_unjudged)
    if "system" in body:
        _read_content(body["system"], "system", "system", system)
    system.add_all([body.get(key) for key in _STEERING], "system", _OPAQUE)
    reader = TurnReader(allow_unjudged=allow_unjudged)
    # An upstream may put a field of an unknown name before the model.
    known = {*_SETTINGS, *_STEERING, "system", "messages"}
    reader.add_all({key: value for key, value in body.items() if key not in known}, "user", frozenset())
    messages = is_list(body.get("messages"), "messages")
    newest_from = 0
    for place, entry in enumerate(messages):
        message = is_object(entry, f"messages[{place}]")
        role = message.get("role")
        if role not in ("user", "assistant", "system"):
            raise BadInput("A role must be user or assistant.", param=f"messages[{place}].role")
        begun = len(reader.turns)
        _read_content(message.get("content"), role, f"messages[{place}].content", reader)
        reader.end_message(begun)
        if role == "assistant" and place < len(messages) - 1:  # the last one is what the reply goes on from
            newest_from = len(reader.turns)
    return to_prompt(reader, system.turns, newest_from)


def _read_content(content: object, role: str, param: str, reader: TurnReader) -> None:
    if isinstance(content, str):
        reader.add(content, role, param)
        return
    for place, entry in enumerate(is_list(content, param)):
        _read_block(is_object(entry, f"{param}[{place}]"), role, f"{param}[{place}]", reader)


def _read_block(block: dict[str, Any], role: str, param: str, reader: TurnReader) -> None:
    kind = block.get("type")
    if kind == "redacted_thinking":
        return
    if kind == "text":
        reader.add(block.get("text"), role, f"{param}.text")
        reader.add_all(block.get("citations"), role, _OPAQUE)
        return
    if kind == "image":
        _read_image(block, role, param, reader)
        return
    if kind == "container_upload":
        reader.leave_out("files", param)
        return
    if kind == "tool_result":
        content = block.get("content")
        if content is not None:
            _read_content(content, "tool", f"{param}.content", reader)
        return
    # A tool's input only looks like a source where it has such a type: nobody fetches it.
    sources = [] if str(kind).endswith("tool_use") else list(_sources(block))
    for source in sources:
        what = _BINARY_SOURCES.get(str(source.get("type")))
        if what is not None:
            reader.leave_out(what, param)
    spoken_by = "tool" if str(kind).endswith("_result") or kind == "document" else role
    reader.add_all(_without(block, sources), spoken_by, _OPAQUE)


def _read_image(block: dict[str, Any], role: str, param: str, reader: TurnReader) -> None:
    """An image in base64 or at an address, and whatever else the block says."""
    source, where = is_object(block.get("source"), f"{param}.source"), f"{param}.source"

    def pin(data: bytes) -> None:
        encoded = base64.b64encode(data).decode("ascii")
        block["source"] = {"type": "base64", "media_type": media_type_of(data), "data": encoded}

    if source.get("type") == "base64":
        data = is_image_string(source.get("data"), f"{where}.data")
        reader.add_image(ImageSource(data, f"{where}.data", bare=True), role)
    elif source.get("type") == "url":
        url = is_image_string(source.get("url"), f"{where}.url")
        reader.add_image(ImageSource(url, f"{where}.url", pin=pin), role)
    else:
        reader.leave_out("an image that lies with the upstream", where)
    rest = {name: value for name, value in {**source, **block}.items() if name not in _OF_IMAGES}
    reader.add_all(rest, role, _OPAQUE)


def _sources(value: object) -> Any:
    """Every object in a value that tells where bytes come from."""
    if isinstance(value, dict):
        if value.get("type") in _BINARY_SOURCES:
            yield value
        for entry in value.values():
            yield from _sources(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _sources(entry)


def _without(value: Any, sources: list[dict[str, Any]]) -> Any:
    if isinstance(value, dict):
        if any(value is source for source in sources):
            return None
        return {key: _without(entry, sources) for key, entry in value.items()}
    return [_without(entry, sources) for entry in value] if isinstance(value, list) else value
