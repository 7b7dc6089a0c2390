"""What of a request to OpenAI's chat completions is judged: turns, parts of their content, and definitions of tools.

Owns the messages of requests. Refuses to know how they are judged. Sound, files and parts of an unknown type
are refused as unjudged unless the policy allows them; a field of an unknown name is read for every string in it, since
an upstream may put it before the model (documents, a template).
"""

from __future__ import annotations

from typing import Any

from service.api.chat_events import OPAQUE
from service.api.image_input import ImageSource
from service.api.prompt_turns import Prompt, TurnReader, is_image_string, is_list, is_object, to_prompt
from service.errors import BadInput
from service.images.data_url import to_data_url

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "developer", "tool": "tool"}
_OLD_ROLES = {"function": "tool"}
_OPERATOR = ("system", "developer")
_FILES = {"input_audio": "sound", "file": "files"}
_STEERING = ("tools", "functions", "response_format", "prediction")  # they steer the model as its instructions do
_SETTINGS = frozenset(
    (
        "model",
        "stream",
        "stream_options",
        "n",
        "seed",
        "stop",
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "max_completion_tokens",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "frequency_penalty",
        "presence_penalty",
        "tool_choice",
        "function_call",
        "parallel_tool_calls",
        "modalities",
        "audio",
        "store",
        "metadata",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "verbosity",
        "service_tier",
        "web_search_options",
        "moderation",
    )
)  # fields that say nothing to the model
_OF_IMAGES = ("type", "image_url", "url", "detail")
_SAID = ("content", "refusal", "reasoning_content", "reasoning")


def read_prompt(body: dict[str, Any], *, allow_unjudged: bool) -> Prompt:
    """The texts and images of a request; raises BadInput, and UnjudgedContent for what cannot be judged."""
    system = TurnReader(allow_unjudged=allow_unjudged)
    system.add_all([body.get(key) for key in _STEERING], "system", OPAQUE)
    reader = TurnReader(allow_unjudged=allow_unjudged)
    messages = is_list(body.get("messages"), "messages")
    newest_from = 0
    unknown = {key: value for key, value in body.items() if key not in {*_SETTINGS, *_STEERING, "messages"}}
    reader.add_all(unknown, "user", frozenset())
    for place, entry in enumerate(messages):
        param = f"messages[{place}]"
        message = is_object(entry, param)
        role = {**_ROLES, **_OLD_ROLES}.get(str(message.get("role")))
        if role is None:
            raise BadInput(f"A role must be one of {', '.join(_ROLES)}.", param=f"{param}.role")
        spoken_to = system if role in _OPERATOR else reader
        begun = len(spoken_to.turns)
        _read_message(message, role, param, spoken_to)
        spoken_to.end_message(begun)
        if role == "assistant" and place < len(messages) - 1:  # the last one is what the reply goes on from
            newest_from = len(reader.turns)
    return to_prompt(reader, system.turns, newest_from)


def _read_message(message: dict[str, Any], role: str, param: str, reader: TurnReader) -> None:
    for name in _SAID:
        if message.get(name) is not None:
            _read_content(message[name], role, f"{param}.{name}", reader)
    if isinstance(message.get("audio"), dict) and set(message["audio"]) - {"id"}:
        reader.leave_out("sound", f"{param}.audio")
    rest = {key: value for key, value in message.items() if key not in (*_SAID, "role", "audio")}
    reader.add_all(rest, role, OPAQUE | {"tool_call_id"})


def _read_content(content: object, role: str, param: str, reader: TurnReader) -> None:
    if isinstance(content, str):
        reader.add(content, role, param)
        return
    for place, entry in enumerate(is_list(content, param)):
        part, where = is_object(entry, f"{param}[{place}]"), f"{param}[{place}]"
        kind = str(part.get("type"))
        if kind in _FILES:
            reader.leave_out(_FILES[kind], where)
        elif kind in ("text", "refusal"):
            reader.add(part.get(kind), role, f"{where}.{kind}")
        elif kind == "image_url":
            _read_image(part, role, where, reader)
        else:
            reader.leave_out("parts of this type", where)


def _read_image(part: dict[str, Any], role: str, param: str, reader: TurnReader) -> None:
    """An image's address, as OpenAI has it, or alone, as some servers take it; and whatever else the part says."""
    given = part.get("image_url")
    holder, key = (given, "url") if isinstance(given, dict) else (part, "image_url")
    where = f"{param}.image_url.url" if isinstance(given, dict) else f"{param}.image_url"

    def pin(data: bytes) -> None:
        holder[key] = to_data_url(data)

    reader.add_image(ImageSource(is_image_string(holder.get(key), where), where, pin=pin), role)
    rest = {name: value for name, value in {**holder, **part}.items() if name not in _OF_IMAGES}
    reader.add_all(rest, role, OPAQUE)
