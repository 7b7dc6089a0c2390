"""What of a request to a language model is text, in the order in which it was said.

Owns the one shape that both dialects' requests are read into, and the error for what nobody has judged. Refuses to
know dialects, and how text is judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from service.api.reply_steps import MalformedEvent, texts_in
from service.errors import BadInput
from service.types import Content, Turn


class UnjudgedContent(BadInput):
    """A part of the prompt that this deployment cannot judge, such as an image or a file."""

    code = "unjudged_content"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request's texts, oldest first. `newest`: how many at the end belong to the turn that is answered."""

    turns: tuple[Turn, ...] = field(repr=False)
    newest: int
    system: tuple[Turn, ...] = field(default=(), repr=False)

    def contents(self, policy: str, *, judge_system: bool) -> list[Content]:
        """What is to be judged, the newest turn first, each of its texts with the turns before it."""
        earlier = self.turns[: len(self.turns) - self.newest]
        latest = self.turns[len(earlier) :]
        # Earlier turns are judged as they were then, alone: their scores are in the cache.
        alone = (*earlier, *(self.system if judge_system else ()))
        with_context = [Content(turn.text, earlier, turn.role, policy) for turn in latest]
        return with_context + [Content(turn.text, (), turn.role, policy) for turn in alone]


class TurnReader:
    """Collects texts of one request, and refuses what cannot be judged unless that is allowed."""

    def __init__(self, *, allow_unjudged: bool) -> None:
        self._allow = allow_unjudged
        self.turns: list[Turn] = []

    def add(self, text: object, role: str, param: str) -> None:
        """A text; empty ones say nothing. Raises BadInput for what is no string."""
        if not isinstance(text, str):
            raise BadInput("This must be a string.", param=param)
        if text and not text.isspace():
            self.turns.append(Turn(text, role))

    def add_all(self, value: Any, role: str, ignored: frozenset[str]) -> None:
        """Every string of a structure, as one text. Raises BadInput for one that is nested too deeply."""
        try:
            texts = texts_in(value, ignored)
        except MalformedEvent:
            raise BadInput("The request is nested too deeply.") from None
        self.turns.extend(Turn(text, role) for text in texts)

    def leave_out(self, what: str, param: str) -> None:
        """A part that is not text: UnjudgedContent, unless the policy lets it pass unjudged."""
        if not self._allow:
            raise UnjudgedContent(f"This deployment does not judge {what}.", param=param)


def to_prompt(turns: Sequence[Turn], system: Sequence[Turn], newest_from: int) -> Prompt:
    """A prompt of which the texts from `newest_from` on are the newest turn."""
    return Prompt(tuple(turns), len(turns) - newest_from, tuple(system))


def is_object(value: object, param: str) -> dict[str, Any]:
    """The value as an object, or BadInput."""
    if not isinstance(value, dict):
        raise BadInput("This must be an object.", param=param)
    return value


def is_list(value: object, param: str) -> list[Any]:
    """The value as a list, or BadInput."""
    if not isinstance(value, list):
        raise BadInput("This must be a list.", param=param)
    return value
