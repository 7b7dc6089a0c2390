"""What LiteLLM's guardrail client posts, as turns to judge.

Owns the fields of the request, and which role said what. Refuses to know verdicts. LiteLLM sends every text twice: flat
in `texts`, and with its role in `structured_messages`; what stands in one of them alone is judged too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.errors import BadInput
from service.types import ROLES, Turn

OPERATOR_ROLES = ("system", "developer")
TEXT_PARTS = ("text", "input_text", "output_text", "refusal")


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
    """The request side: turns in order, what an operator wrote apart, and whether something in it has no text.

    `newest` is where the turns after the last answer begin: they are what the model is about to answer.
    """

    turns: tuple[Turn, ...]
    newest: int
    instructions: tuple[str, ...]
    unjudged: bool


def to_conversation(request: GuardrailRequest) -> Conversation:
    """Every text with its role; texts that no message holds are a user's."""
    messages = [message for message in request.structured_messages or () if isinstance(message, Mapping)]
    spoken = [Turn(text, _role(message)) for message in messages for text in _texts_of(message)]
    known = {turn.text for turn in spoken}
    spoken += [Turn(text, "user") for text in request.texts or () if text not in known]
    spoken += [Turn(text, "assistant") for text in tool_texts(request.tool_calls or ()) if text not in known]
    turns = tuple(turn for turn in spoken if turn.role not in OPERATOR_ROLES and turn.text.strip())
    answers = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
    instructions = [turn.text for turn in spoken if turn.role in OPERATOR_ROLES]
    instructions += [text for tool in request.tools or () for text in _strings(tool)]
    unjudged = bool(request.images) or any(_has_other_parts(message) for message in messages)
    return Conversation(
        turns,
        _newest(turns, answers),
        tuple(text for text in instructions if text.strip()),
        unjudged,
    )


def tool_texts(calls: Sequence[Any]) -> list[str]:
    """What each tool call would hand over: the strings of its arguments, or the arguments as they stand."""
    found = []
    for call in calls:
        function = call.get("function") if isinstance(call, Mapping) else None
        arguments = function.get("arguments") if isinstance(function, Mapping) else None
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
    yield from tool_texts(message.get("tool_calls") or ())


def _has_other_parts(message: Mapping[str, Any]) -> bool:
    """Whether a part of the message is neither text nor refusal: an image, sound, a file."""
    content = message.get("content")
    return isinstance(content, list) and any(
        isinstance(part, Mapping) and part.get("type", "text") not in TEXT_PARTS for part in content
    )


def _newest(turns: Sequence[Turn], answers: Sequence[int]) -> int:
    """The first turn after the last answer; all of the last turn where an answer ends the conversation."""
    after = answers[-1] + 1 if answers else 0
    return min(after, max(0, len(turns) - 1))
