"""What of a request to a language model is text or an image, in the order in which it was said.

Owns the one shape that both dialects' requests are read into, and the error for what nobody has judged. Refuses to
know dialects, and how text is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.api.image_input import ImageSource
from service.api.reply_steps import MalformedEvent, texts_in
from service.errors import BadInput
from service.types import Content, Turn

OPERATOR_ROLES = ("system", "developer")


class UnjudgedContent(BadInput):
    """A part of the prompt that this deployment cannot judge, such as a file."""

    code = "unjudged_content"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request's texts, oldest first. `newest`: how many at the end belong to the turn that is answered.

    `images` are those of the turns in these places; the text of such a turn may be empty.
    """

    turns: tuple[Turn, ...] = field(repr=False)
    newest: int
    system: tuple[Turn, ...] = field(default=(), repr=False)
    images: Mapping[int, tuple[ImageSource, ...]] = field(default_factory=dict, repr=False)

    @property
    def order(self) -> tuple[int, ...]:
        """The places of the turns in the order in which they are judged: those of the newest turn first."""
        before = len(self.turns) - self.newest
        return (*range(before, len(self.turns)), *range(before))

    @property
    def size(self) -> int:
        """Characters of all texts."""
        return sum(len(turn.text) for turn in (*self.turns, *self.system))

    def contents(
        self, policy: str, *, judge_system: bool, images: Mapping[int, tuple[bytes, ...]] | None = None
    ) -> list[Content]:
        """What is to be judged, the newest turn first, each of its texts with the turns before it.

        `images` are the files of the turns in these places. Where the user's newest turn has several texts, they are
        judged together too, at the end: a phrase may be split over two parts.
        """
        images = images or {}
        before = len(self.turns) - self.newest
        earlier = tuple(turn for turn in self.turns[:before] if turn.text)
        made = []
        for place in self.order:
            turn = self.turns[place]
            # Earlier turns are judged as they were then, alone: their scores are in the cache.
            context = earlier if place >= before else ()
            made.append(Content(turn.text, context, turn.role, policy, images=images.get(place, ())))
        made += [Content(turn.text, (), turn.role, policy) for turn in self.system if judge_system]
        said = [turn.text for turn in self.turns[before:] if turn.role == "user" and turn.text]
        return [*made, Content("\n".join(said), earlier, "user", policy)] if len(said) > 1 else made


class TurnReader:
    """Collects texts of one request, and refuses what cannot be judged unless that is allowed."""

    def __init__(self, *, allow_unjudged: bool) -> None:
        self._allow = allow_unjudged
        self._waiting: list[tuple[str, ImageSource]] = []
        self.turns: list[Turn] = []
        self.images: dict[int, tuple[ImageSource, ...]] = {}

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

    def add_image(self, source: ImageSource, role: str) -> None:
        """An image of the message that is being read; one in an operator's words is left out."""
        if role in OPERATOR_ROLES:
            self.leave_out("images in instructions", source.param)
        else:
            self._waiting.append((role, source))

    def end_message(self, begun: int) -> None:
        """Join the images of a message that began at this turn with its texts, so that they are judged together."""
        said = self.turns[begun:]
        roles = dict.fromkeys(role for role, _ in self._waiting)
        if roles:
            self.turns[begun:] = [turn for turn in said if turn.role not in roles]
        for role in roles:
            self.images[len(self.turns)] = tuple(source for spoken_by, source in self._waiting if spoken_by == role)
            self.turns.append(Turn("\n".join(turn.text for turn in said if turn.role == role), role))
        self._waiting.clear()

    def leave_out(self, what: str, param: str) -> None:
        """A part that is not text: UnjudgedContent, unless the policy lets it pass unjudged."""
        if not self._allow:
            raise UnjudgedContent(f"This deployment does not judge {what}.", param=param)


def to_prompt(reader: TurnReader, system: Sequence[Turn], newest_from: int) -> Prompt:
    """A prompt of which the texts from `newest_from` on are the newest turn."""
    return Prompt(tuple(reader.turns), len(reader.turns) - newest_from, tuple(system), reader.images)


def is_image_string(value: object, param: str) -> str:
    """The value as an image's address, or BadInput."""
    if not isinstance(value, str):
        raise BadInput("This must be a data URL or an address.", param=param)
    return value


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
