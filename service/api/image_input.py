"""From what a request says of its images to their bytes, whatever the dialect.

Owns how many images there may be, which of their forms is which, and the path of the field that an error names. Refuses
to know what the bytes are, and how an address is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from service.api.body import each
from service.errors import BadInput, Unsupported, WeirError
from service.images.data_url import from_base64, from_data_url, is_data_url
from service.images.errors import ImageUrlRefused, TooManyImages
from service.types import Content

if TYPE_CHECKING:
    from service.runtime import Runtime


@dataclass(frozen=True, slots=True)
class ImageSource:
    """One image of a request: a data URL, an http(s) address, or, where `bare`, base64 alone. `param` is its place.

    `pin` puts an image's bytes into the request in place of its address.
    """

    value: str = field(repr=False)
    param: str
    bare: bool = False
    pin: Callable[[bytes], None] | None = field(default=None, repr=False)


class ImageInput(BaseModel):
    """An image, as base64 (alone or as a data URL) or as an address."""

    model_config = ConfigDict(extra="forbid", strict=True)

    data: str | None = None
    url: str | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.data is None) == (self.url is None):
            raise PydanticCustomError("image", "An image needs either data or url.")
        return self

    def source(self, param: str) -> ImageSource:
        """What is to be loaded."""
        if self.data is None:
            return ImageSource(self.url or "", f"{param}.url")
        return ImageSource(self.data, f"{param}.data", bare=not is_data_url(self.data))


async def with_images(runtime: Runtime, content: Content, sources: Sequence[ImageSource]) -> Content:
    """The content with its images loaded; raises what `load_images` does."""
    return replace(content, images=await load_images(runtime, sources)) if sources else content


async def load_images(runtime: Runtime, sources: Sequence[ImageSource]) -> tuple[bytes, ...]:
    """The bytes of one content's images, in order.

    Raises TooManyImages, ImageTooLarge, ImageUrlRefused, ImageNotFetched, Unsupported, and BadInput for what is no
    data URL; each names the image's place in the request.
    """
    check_count(sources, runtime.settings.image_max_count)
    if sources and not runtime.sees_images:
        raise Unsupported("This deployment judges text only: it lacks the extra `images`.", param=sources[0].param)
    return tuple(await each([partial(_load, runtime, source) for source in sources]))


def check_count(sources: Sequence[ImageSource], most: int) -> None:
    """Raise TooManyImages, naming the first that is over the limit."""
    if len(sources) > most:
        raise TooManyImages(f"There are over {most} images.", param=sources[most].param)


@contextmanager
def named(sources: Sequence[ImageSource]) -> Iterator[None]:
    """Have an error of the image in a place (`images.0`) name its field in the request instead."""
    try:
        yield
    except BadInput as error:
        kind, _, place = (error.param or "").rpartition(".")
        if kind != "images" or not place.isdigit() or int(place) >= len(sources):
            raise
        # Another one: whoever waited for the same content has this one.
        raise type(error)(error.message, sources[int(place)].param) from None


async def _load(runtime: Runtime, source: ImageSource) -> bytes:
    most = runtime.settings.image_max_bytes
    try:
        if source.bare:
            return from_base64(source.value, most)
        if is_data_url(source.value):
            return from_data_url(source.value, most)
        if runtime.image_fetcher is None:
            raise ImageUrlRefused("Images are not fetched from this address; send a data URL.")
        return await runtime.image_fetcher.fetch(source.value)
    except WeirError as error:
        error.param = error.param or source.param
        raise
