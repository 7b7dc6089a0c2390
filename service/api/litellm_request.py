"""What LiteLLM's guardrail client posts, as turns to judge.

Owns the fields of the request, and which role said what. Refuses to know verdicts. LiteLLM sends every text twice: flat
in `texts`, and with its role in `structured_messages`; what stands in one of them alone is judged too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.image_input import ImageSource
from service.errors import BadInput
from service.types import ROLES, Turn

OPERATOR_ROLES = ("system", "developer")
TEXT_PARTS = ("text", "input_text", "output_text", "refusal")
IMAGE_PARTS = ("image_url", "input_image")


class GuardrailRequest(BaseModel):
    """One call. LiteLLM sends every field, null when it is empty, and later versions more of them."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"example": {"input_type": "request", "texts": ["How can I help you today?"]}},
    )

    input_type: Literal["request", "response"]
    texts: list[str] | None = None
    images: list[Any] | None = None
    tools: list[Any] | None = None
    tool_calls: list[Any] | None = None
    structured_messages: list[Any] | None = None
    additional_provider_specific_params: dict[str, Any] | None = Field(default=None)

    @property
    def policy(self) -> str | None:
        """The policy that the operator's configuration, or the request, asks for."""
        wanted = (self.additional_provider_specific_params or {}).get("policy")
        if wanted is not None and not isinstance(wanted, str):
            raise BadInput("This must be a string.", param="additional_provider_specific_params.policy")
        return wanted or None


@dataclass(frozen=True, slots=True)
class Conversation:
    """The request side: turns in order, what an operator wrote apart, and whether something in it cannot be judged.

    `newest` is where the turns after the last answer begin: they are what the model is about to answer. `images` are
    those of the turns in these places.
    """

    turns: tuple[Turn, ...]
    newest: int
    instructions: tuple[str, ...]
    unjudged: bool
    images: Mapping[int, tuple[ImageSource, ...]]


def to_conversation(request: GuardrailRequest) -> Conversation:
    """Every text and image with its role; those that no message holds are a user's."""
    messages = [message for message in request.structured_messages or () if isinstance(message, Mapping)]
    known = {text for message in messages for text in _texts_of(message)}
    spoken: list[tuple[Turn, list[str]]] = []
    for message in messages:
        spoken += _together(list(_texts_of(message)), images_of(message), _role(message))
    apart = {value for _, images in spoken for value in images}
    images = [value for value in request.images or () if isinstance(value, str) and value not in apart]
    spoken += _together([text for text in request.texts or () if text not in known], images, "user")
    calls = [text for text in tool_texts(request.tool_calls or ()) if text not in known]
    spoken += _together(calls, [], "assistant")
    judged = [(turn, of) for turn, of in spoken if turn.role not in OPERATOR_ROLES and (turn.text.strip() or of)]
    turns = tuple(turn for turn, _ in judged)
    answers = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
    instructions = [turn.text for turn, _ in spoken if turn.role in OPERATOR_ROLES]
    instructions += [text for tool in request.tools or () for text in _strings(tool)]
    unjudged = any(_has_other_parts(message) for message in messages)
    unjudged |= any(turn.role in OPERATOR_ROLES and of for turn, of in spoken)
    unjudged |= any(not isinstance(value, str) for value in request.images or ())
    return Conversation(
        turns,
        _newest(turns, answers),
        tuple(text for text in instructions if text.strip()),
        unjudged,
        {n: sources_of(of) for n, (_, of) in enumerate(judged) if of},
    )


def sources_of(images: Iterable[str]) -> tuple[ImageSource, ...]:
    """Data URLs and addresses, to be loaded."""
    return tuple(ImageSource(value, "images") for value in images)


def _together(texts: list[str], images: list[str], role: str) -> list[tuple[Turn, list[str]]]:
    """Texts, each a turn; with an image they are one, so that all of it is judged together."""
    return [(Turn("\n".join(texts), role), images)] if images else [(Turn(text, role), []) for text in texts]


def tool_texts(calls: Sequence[Any]) -> list[str]:
    """What each tool call would hand over: the strings of its arguments, or the arguments as they stand."""
    found = []
    for call in calls:
        function = call.get("function") if isinstance(call, Mapping) else None
        if function is None and isinstance(call, Mapping):
            function = call.get("custom")
        arguments = function.get("arguments", function.get("input")) if isinstance(function, Mapping) else None
        texts = [str(function.get("name") or "")] if isinstance(function, Mapping) else []
        texts += _strings(_parsed(arguments) if isinstance(arguments, str) else arguments)
        if any(text.strip() for text in texts):
            found.append("\n".join(texts))
    return found


def _parsed(arguments: str) -> Any:
    """Escapes in JSON hide words; what is no whole JSON is taken as text."""
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, keys included, in order."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            waiting.extend(part for key in reversed(list(item)) for part in (item[key], key))
        elif isinstance(item, Sequence):
            waiting.extend(reversed(item))


def _role(message: Mapping[str, Any]) -> str:
    role = message.get("role")
    return role if role in ROLES else "tool" if role == "function" else "user"


def _texts_of(message: Mapping[str, Any]) -> Iterator[str]:
    """A message's texts: its content, part by part, and the arguments of its tool calls."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping) and isinstance(text := part.get("text") or part.get("refusal"), str):
            yield text
    calls = message.get("tool_calls")
    called = message.get("function_call")  # as it was before there were tools
    yield from tool_texts([*(calls if isinstance(calls, list) else ()), *([{"function": called}] if called else ())])


def images_of(message: Mapping[str, Any]) -> list[str]:
    """A message's images: data URLs and addresses."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return [url for part in parts if isinstance(part, Mapping) and (url := _image_of(part)) is not None]


def _image_of(part: Mapping[str, Any]) -> str | None:
    if part.get("type") not in IMAGE_PARTS or part.get("file_id") is not None:
        return None
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, Mapping) else given
    return url if isinstance(url, str) else None


def _has_other_parts(message: Mapping[str, Any]) -> bool:
    """Whether a part of the message is neither text nor an image that can be had: sound, a file."""
    content = message.get("content")
    return isinstance(content, list) and any(
        isinstance(part, Mapping) and part.get("type", "text") not in TEXT_PARTS and _image_of(part) is None
        for part in content
    )


def _newest(turns: Sequence[Turn], answers: Sequence[int]) -> int:
    """The first turn after the last answer; all of the last turn where an answer ends the conversation."""
    after = answers[-1] + 1 if answers else 0
    return min(after, max(0, len(turns) - 1))
