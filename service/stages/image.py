"""The stage of images: what is known of them, what is written in them, and what that means beside the post.

Owns how an image's reading becomes findings, and what is said where an image could not be looked at. Refuses to know
decoding, recognition and thresholds: the text in an image goes through the detectors that texts go through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Protocol

from service.errors import BadInput, DeadlineExceeded, ScorerFailed
from service.images.errors import ImageFailed, ImageTooLarge, TooManyImages, UnsupportedImage
from service.images.limits import Undecodable, Why
from service.images.reading import Reading
from service.metrics import Metrics
from service.stages.image_text import Passage, lines_of, passages
from service.taxonomy import Action
from service.types import Content, Finding, Stage

STAGE = "image"
NOT_SCANNED = "visual:not_scanned"  # nothing looks for nudity or gore
UNDECODABLE = "image:undecodable"  # damaged
UNREAD = "image:unread"  # there is writing that could not be read
PARTIAL = "image:partial"  # an animation has frames that were not looked at
LEAST_GAIN = 0.02  # in a category, by which post and image together must go beyond each of them


class Look(Protocol):
    """Looks at an image; `scope` names the caller, None where nothing may be kept.

    Raises Undecodable, Overloaded and ImageFailed.
    """

    def __call__(self, data: bytes, scope: str | None) -> Awaitable[Reading]: ...  # noqa: D102


class KnownImage(Protocol):
    """An entry of a list of known images that an image matches."""

    @property
    def bank(self) -> str: ...  # noqa: D102
    @property
    def category(self) -> str: ...  # noqa: D102
    @property
    def action(self) -> Action: ...  # noqa: D102


class Known(Protocol):
    """Compares images with lists of known ones."""

    @property
    def version(self) -> str:
        """Another one after every change of a list: what is kept of findings hangs on it."""
        ...

    async def match(self, reading: Reading) -> Sequence[KnownImage]:
        """What it is like, the best match of each list."""
        ...


class See(Protocol):
    """Classifies what is to be seen in an image, beside the words of the post and of the image."""

    async def see(self, reading: Reading, text: str, image: int) -> list[Finding]:
        """Findings in the image in this place. Raises Overloaded, DeadlineExceeded and ScorerFailed."""
        ...


class LanguageOf(Protocol):
    """Names the language of a text, and whether the model was measured on it."""

    def __call__(self, text: str) -> tuple[str, bool]: ...  # noqa: D102


class ImageStage:
    """A detector. Findings in an image are final: whoever weighs a text by its context has not seen the image."""

    name = STAGE

    def __init__(
        self,
        look: Look,
        readers: Sequence[Stage],
        language_of: LanguageOf,
        metrics: Metrics,
        *,
        most_images: int,
        known: Known | None = None,
        classifier: See | None = None,
    ) -> None:
        """`readers`: the detectors of texts, in order; each sees what those before it found in the same text."""
        self._look = look
        self._readers = tuple(readers)
        self._language_of = language_of
        self._metrics = metrics
        self._most_images = most_images
        self._known = known
        self._classifier = classifier

    async def inspect(self, content: Content, so_far: Sequence[Finding]) -> list[Finding]:
        """Look at all images at once, then at the texts that they make. Raises BadInput and Overloaded."""
        if len(content.images) > self._most_images:
            raise TooManyImages(f"There are over {self._most_images} images.", param="images")
        tasks = [asyncio.create_task(self._reading(n, data, content)) for n, data in enumerate(content.images)]
        try:
            looked = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        findings = [note for _, notes in looked for note in notes]
        readings = [(n, reading) for n, (reading, _) in enumerate(looked) if reading is not None]
        findings += [one for n, reading in readings for one in await self._compare(n, reading)]
        findings += await self._see(content, readings)
        return findings + await self._read(content, readings, so_far)

    async def _reading(self, n: int, data: bytes, content: Content) -> tuple[Reading | None, list[Finding]]:
        """What was found in an image, and what could not be."""
        try:
            reading = await self._look(data, content.cache_scope)
        except Undecodable as undecodable:
            self._metrics.images_refused.labels(undecodable.why).inc()
            if undecodable.why == "damaged":
                return None, [_missing(UNDECODABLE, n)]
            raise refused(undecodable.why, n) from None
        except ImageFailed:  # the others were looked at all the same
            return None, [_missing(STAGE, n)]
        self._metrics.images_looked_at.labels(reading.format).inc()
        unread = any(not line.readable for frame in reading.frames for line in frame.lines)
        notes = [_missing(UNREAD, n)] if unread else []
        return reading, [*notes, _missing(PARTIAL, n)] if reading.partial else notes

    async def _compare(self, n: int, reading: Reading) -> list[Finding]:
        """The lists of known images that an image is on; where it stands there is no matter of degree."""
        matches = [] if self._known is None else await self._known.match(reading)
        return [
            Finding(found.category, 1.0, STAGE, f"bank:{found.bank}", final=True, calls_for=found.action, image=n)
            for found in matches
        ]

    async def _see(self, content: Content, readings: Sequence[tuple[int, Reading]]) -> list[Finding]:
        """What the visual classifier sees; that nobody looked, where there is none."""
        if self._classifier is None:
            return [_missing(NOT_SCANNED)]
        found: list[Finding] = []
        for n, reading in readings:
            words = " ".join(line.text for line in lines_of(reading))
            try:
                found += await self._classifier.see(reading, f"{content.text} {words}".strip(), n)
            except (DeadlineExceeded, ScorerFailed):
                found.append(_missing("visual", n))
        return [replace(one, final=bool(one.category)) for one in found]

    async def _read(
        self, content: Content, readings: Sequence[tuple[int, Reading]], so_far: Sequence[Finding]
    ) -> list[Finding]:
        """Judge what is written in the images, alone and with the post."""
        alone, together = passages(content.text, [(n, lines_of(reading)) for n, reading in readings])
        judged = await asyncio.gather(*(self._judge(content, one) for one in (*alone, *together)))
        found = [finding for findings in judged[: len(alone)] for finding in findings]
        best: dict[str, float] = {}
        for finding in (*so_far, *found):
            best[finding.category] = max(best.get(finding.category, 0.0), finding.score)
        for findings in judged[len(alone) :]:
            found += [one for one in findings if one.score >= best.get(one.category, 0.0) + LEAST_GAIN]
        return found

    async def _judge(self, content: Content, one: Passage) -> list[Finding]:
        derived = replace(content, text=one.text, images=(), context=())
        found: list[Finding] = []
        for reader in self._readers:
            found += await reader.inspect(derived, tuple(found))
        placed = [one.placed(finding, self.name) for finding in found if finding.score > 0.0]
        language, measured = self._language_of(one.text)
        return placed if measured else [*placed, _missing(f"language:{language}")]


def refused(why: Why, n: int) -> BadInput:
    """The error for an image that is refused."""
    param = f"images.{n}"
    if why == "bytes":
        return ImageTooLarge("The image has too many bytes.", param=param)
    if why == "pixels":
        return ImageTooLarge("The image has too many pixels.", param=param)
    if why == "shape":
        return UnsupportedImage("The image is too long and narrow.", param=param)
    return UnsupportedImage("This is no JPEG, PNG, WEBP or GIF.", param=param)


def _missing(what: str, image: int | None = None) -> Finding:
    return Finding("", 0.0, STAGE, what, image=image, missing=what)
