"""What of a request to OpenAI's chat completions is text: turns, parts of their content, and definitions of tools.

Owns the messages of requests. Refuses to know how they are judged. A part of an unknown type is read for every string
in it; images, sound and files are refused as unjudged unless the policy allows them.
"""

from __future__ import annotations

from typing import Any

from service.api.chat_events import OPAQUE
from service.api.prompt_turns import Prompt, TurnReader, is_list, is_object, to_prompt
from service.errors import BadInput

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "developer", "tool": "tool"}
_OLD_ROLES = {"function": "tool"}
_OPERATOR = ("system", "developer")
_FILES = {"image_url": "images", "input_audio": "sound", "file": "files"}
_STEERING = ("tools", "functions", "response_format", "prediction")  # they steer the model as its instructions do
_SAID = ("content", "refusal", "reasoning_content", "reasoning")


def read_prompt(body: dict[str, Any], *, allow_unjudged: bool) -> Prompt:
    """The texts of a request; raises BadInput, and UnjudgedContent for what cannot be judged."""
    system = TurnReader(allow_unjudged=allow_unjudged)
    system.add_all([body.get(key) for key in _STEERING], "system", OPAQUE)
    reader = TurnReader(allow_unjudged=allow_unjudged)
    messages = is_list(body.get("messages"), "messages")
    newest_from = 0
    for place, entry in enumerate(messages):
        param = f"messages[{place}]"
        message = is_object(entry, param)
        role = {**_ROLES, **_OLD_ROLES}.get(str(message.get("role")))
        if role is None:
            raise BadInput(f"A role must be one of {', '.join(_ROLES)}.", param=f"{param}.role")
        _read_message(message, role, param, system if role in _OPERATOR else reader)
        if role == "assistant" and place < len(messages) - 1:  # the last one is what the reply goes on from
            newest_from = len(reader.turns)
    return to_prompt(reader.turns, system.turns, newest_from)


def _read_message(message: dict[str, Any], role: str, param: str, reader: TurnReader) -> None:
    for name in _SAID:
        if message.get(name) is not None:
            _read_content(message[name], role, f"{param}.{name}", reader)
    if isinstance(message.get("audio"), dict) and set(message["audio"]) - {"id"}:
        reader.leave_out("sound", f"{param}.audio")
    rest = {key: value for key, value in message.items() if key not in (*_SAID, "role", "audio", "tool_call_id")}
    reader.add_all(rest, role, OPAQUE)


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
        else:
            reader.add_all(part, role, OPAQUE)
