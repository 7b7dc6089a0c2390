"""The images of a prompt: loaded before it is judged, and put into the request as they were judged.

Owns what becomes of an image that cannot be loaded or is none, and that an address is not asked twice: the upstream is
sent the bytes that were looked at, since whoever owns the address could give it others. Refuses to know dialects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from service.api.image_input import ImageSource, check_count, load_images, named
from service.api.prompt_turns import Prompt
from service.errors import BadInput, TextTooLong
from service.images.data_url import is_data_url
from service.types import Content, Verdict

if TYPE_CHECKING:
    from service.runtime import Runtime

AT_ONCE = 2  # contents with images of one prompt: a long conversation must not fill the line of images by itself

Ask = Callable[[Content], Coroutine[Any, Any, Verdict]]
Judging = Callable[[], Coroutine[Any, Any, Verdict]]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a prompt as it is judged, where its images were, and whether it is of the newest turn."""

    content: Content
    sources: tuple[ImageSource, ...]
    newest: bool


async def load_prompt(
    runtime: Runtime, prompt: Prompt, policy: str, *, judge_system: bool, allow_unjudged: bool
) -> list[Part]:
    """What is to be judged, in the order of `Prompt.contents`.

    An image that cannot be loaded is left out where unjudged parts are allowed; else raises what `load_images` does.
    """
    loaded: dict[int, tuple[bytes, ...]] = {}
    kept: dict[int, tuple[ImageSource, ...]] = {}
    for place, sources in prompt.images.items():
        check_count(sources, runtime.settings.image_max_count)
        for source in sources:
            try:
                (data,) = await load_images(runtime, [source])
            except BadInput:
                if not allow_unjudged:
                    raise
                continue
            if source.pin is not None and not is_data_url(source.value):
                source.pin(data)
            loaded[place] = (*loaded.get(place, ()), data)
            kept[place] = (*kept.get(place, ()), source)
    contents = prompt.contents(policy, judge_system=judge_system, images=loaded)
    places = chain(prompt.order, repeat(-1))  # the system's words have no place among the turns
    parts = [
        Part(content, kept.get(place, ()), newest=n < prompt.newest)
        for n, (content, place) in enumerate(zip(contents, places, strict=False))
    ]
    # A turn of which all images were left out may have nothing else.
    return [part for part in parts if part.content.text or part.content.images]


def check_size(prompt: Prompt, most: int) -> None:
    """Raise TextTooLong for texts that no body without images could have held."""
    if prompt.size > most:
        raise TextTooLong(f"The texts are over {most} characters.")


def judging(asked: Sequence[tuple[Part, Ask]], *, allow_unjudged: bool) -> list[Judging]:
    """How each part is judged: as its `ask` does it, those with images a few at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def with_images(part: Part, ask: Ask) -> Verdict:
        async with gate:
            try:
                with named(part.sources):
                    return await ask(part.content)
            except BadInput:
                if not allow_unjudged:
                    raise
                return await ask(replace(part.content, images=()))

    return [
        partial(with_images, part, ask) if part.content.images else partial(ask, part.content) for part, ask in asked
    ]
