"""From the bytes of a body to checked values, and from a failed check to an error that quotes nothing.

Owns reading, decoding and the types of text that every dialect takes. Refuses to know the dialects' fields.
"""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Annotated, Any, Never, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError
from starlette.requests import ClientDisconnect, Request

from service.api.image_bodies import size_without_images
from service.config import CONCURRENT_ITEMS
from service.errors import BadInput, BodyTooLarge, EmptyInput, InvalidJson, TextTooLong, Unsupported

Model = TypeVar("Model", bound=BaseModel)
Result = TypeVar("Result")


class TextPart(BaseModel):
    """One part of a text that was sent in parts."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: str
    text: str


def _to_parts(value: object) -> object:
    """A plain string as one part; a part that is not text is refused by what it is, not by the fields it lacks."""
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    if not isinstance(value, list):
        raise PydanticCustomError("text_type", "This must be a string or a list of text parts.")
    for part in value:
        if not isinstance(part, dict):
            raise PydanticCustomError("text_type", "Each part must be an object with a type and a text.")
        if part.get("type", "text") != "text":
            raise PydanticCustomError(
                "unsupported_input", "Only parts of type text stand here; images go into `images`."
            )
    return value


_PARTS_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "text"],
                "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
            },
        },
    ]
}

Parts = Annotated[list[TextPart], FailFast(), BeforeValidator(_to_parts), WithJsonSchema(_PARTS_SCHEMA)]
"""A text, as a string or as text parts."""


def join(parts: Sequence[TextPart]) -> str:
    """Parts as the one text that is judged. Spans are offsets into it."""
    return parts[0].text if len(parts) == 1 else "\n".join(part.text for part in parts)


def check_text(text: str, limit: int, param: str, *, may_be_empty: bool = False) -> str:
    """The text, if there is something in it, or something else beside it, and not too much."""
    if len(text) > limit:
        raise TextTooLong(f"The text is over {limit} characters.", param=param)
    if not may_be_empty and (not text or text.isspace()):
        raise EmptyInput("There is no text to judge.", param=param)
    return text


async def read_json(request: Request) -> Any:
    """The body as JSON, whatever its Content-Type says. Half a surrogate pair is taken: it is judged, not refused."""
    raw = await request.body()
    most: int = request.app.state.runtime.settings.max_body_bytes
    if len(raw) > most and size_without_images(raw, most) > most:
        raise body_too_large(most, "without its images")
    try:
        return json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise InvalidJson("The body is not UTF-8.") from None
    except RecursionError:
        raise InvalidJson("The body is nested too deeply.") from None
    except ValueError:  # also integers of more digits than Python converts
        raise InvalidJson("The body is not JSON.") from None


def parse(model: type[Model], value: Any) -> Model:
    """The value as this model, or BadInput with the path of the first field that is wrong."""
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        raise _bad_input(exc, model) from None


async def each(items: Sequence[Callable[[], Coroutine[Any, Any, Result]]]) -> list[Result]:
    """Run all, a few at a time; results in order. The first failure stops the rest."""
    if len(items) == 1:
        return [await items[0]()]
    gate = asyncio.Semaphore(CONCURRENT_ITEMS)

    async def run(item: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        async with gate:
            return await item()

    tasks = [asyncio.ensure_future(run(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def while_connected(request: Request, work: Awaitable[Result]) -> Result:
    """The work's result; the work is cancelled when the caller leaves, so that nobody's answer takes up the model.

    Nobody watches the caller before the work first has to wait, since what is at hand is done by then.
    """
    watch = _Watch(request)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.took_back():
            raise ClientDisconnect from None
        raise
    finally:
        watch.end()


class _Watch:
    """Cancels the task that made it when the caller leaves."""

    def __init__(self, request: Request) -> None:
        here = asyncio.current_task()
        assert here is not None
        self._request, self._here = request, here
        self._before = here.cancelling()
        self._task: asyncio.Task[None] | None = None
        self._left = False
        self._soon = asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._until_left())

    async def _until_left(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._left = True
        self._here.cancel()

    def took_back(self) -> bool:
        """Whether it was this that cancelled the task, and nobody else did as well."""
        return self._left and self._here.uncancel() <= self._before

    def end(self) -> None:
        self._soon.cancel()
        if self._task is not None:
            self._task.cancel()


def body_too_large(limit: int, of_what: str = "") -> BodyTooLarge:
    """The error for a body over the limit, or for that part of it."""
    return BodyTooLarge(f"The body is over {limit} bytes{of_what and ' '}{of_what}.")


def _refuse_constant(name: str) -> Never:
    raise ValueError("NaN and Infinity are not JSON")


def _bad_input(exc: ValidationError, model: type[BaseModel]) -> BadInput:
    """The first error. An unknown field is not named, since its name is the caller's text; the nearest known one is."""
    errors = exc.errors(include_url=False, include_input=False, include_context=False)
    # A misspelt field is also a missing one; to name the misspelling helps more.
    error = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    path = error["loc"]
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1])[:64], model.model_fields, n=1)
        hint = f" Did you mean {near[0]!r}?" if near and len(path) == 1 else ""
        return BadInput(f"There is a field that is not known here.{hint}", param=_dotted(path[:-1]))
    if error["type"] == "unsupported_input":
        return Unsupported(error["msg"], param=_dotted(path))
    if error["type"] in ("model_type", "model_attributes_type"):
        return BadInput("This must be a JSON object.", param=_dotted(path))
    message = "This field is required." if error["type"] == "missing" else f"{error['msg'].rstrip('.')}."
    return BadInput(message, param=_dotted(path))


def _dotted(path: Sequence[str | int]) -> str | None:
    return ".".join(str(step) for step in path) or None
