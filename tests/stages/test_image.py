"""What the stage of images makes of readings: findings, places, and what could not be looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from service.errors import BadInput, DeadlineExceeded, Overloaded
from service.images.errors import ImageFailed, ImageTooLarge, TooManyImages, UnsupportedImage
from service.images.limits import Undecodable, Why
from service.images.reading import Frame, Line, Reading
from service.metrics import Metrics
from service.stages.image import ImageStage
from service.stages.image_text import lines_of
from service.taxonomy import Action
from service.types import Box, Content, Finding, Span

BOXES = (Box(0, 0, 90, 20), Box(0, 30, 90, 20))


def reading(*texts: str, partial: bool = False, unread: bool = False) -> Reading:
    lines = [Line(text, box, 0.99) for text, box in zip(texts, BOXES, strict=False)]
    lines += [Line("", BOXES[1], 0.1, readable=False)] * unread
    return Reading(bytes(32), 100, 100, "PNG", (Frame(tuple(lines)),), partial)


@dataclass
class Words:
    """Finds words where they stand: (word, category, score)."""

    known: Sequence[tuple[str, str, float]]
    asked: list[str] = field(default_factory=list)
    name: str = "semantic"

    async def inspect(self, content: Content, so_far: Sequence[Finding]) -> list[Finding]:
        self.asked.append(content.text)
        assert not content.images
        return [
            Finding(category, score, self.name, "model:words", Span(place, place + len(word)))
            for word, category, score in self.known
            if (place := content.text.find(word)) >= 0
        ]


@dataclass(frozen=True)
class Entry:
    bank: str
    category: str
    action: Action


class Bank:
    async def match(self, reading: Reading) -> Sequence[Entry]:
        return [Entry("known", "hate", Action.REVIEW)]


class Eye:
    """Sees one thing, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.asked = error, list[str]()

    async def see(self, reading: Reading, text: str, image: int) -> list[Finding]:
        self.asked.append(text)
        if self.error is not None:
            raise self.error
        return [Finding("violence/graphic", 0.8, "visual", "model:eye", image=image)]


def stage(looked: dict[bytes, Reading | Exception], words: Words | None = None, **more: object) -> ImageStage:
    async def look(data: bytes, scope: str | None) -> Reading:
        found = looked[data]
        if isinstance(found, Exception):
            raise found
        return found

    def language_of(text: str) -> tuple[str, bool]:
        return ("fr", False) if "bonjour" in text else ("en", True)

    readers = () if words is None else (words,)
    return ImageStage(look, readers, language_of, Metrics(), most_images=4, **more)  # type: ignore[arg-type]


def missing(findings: Sequence[Finding]) -> list[tuple[str, int | None]]:
    return [(found.missing, found.image) for found in findings if found.missing]


def harm(findings: Sequence[Finding]) -> list[Finding]:
    return [found for found in findings if found.category]


async def test_what_is_written_in_an_image_is_judged_and_placed_by_its_line() -> None:
    words = Words([("glorp", "hate", 0.9)])
    made = stage({b"a": reading("hello"), b"b": reading("you are", "a glorp")}, words)
    (found,) = harm(await made.inspect(Content("", images=(b"a", b"b")), ()))
    assert found == Finding("hate", 0.9, "image", "model:words", None, final=True, image=1, box=BOXES[1])
    assert words.asked == ["hello", "you are a glorp", "hello you are a glorp"]


async def test_what_post_and_image_say_together_counts_where_it_goes_beyond_each() -> None:
    words = Words([("all zorks must go", "hate", 0.9), ("zorks", "harassment", 0.4)])
    made = stage({b"a": reading("must go")}, words)
    content = Content("all zorks", images=(b"a",))
    found = harm(await made.inspect(content, [Finding("harassment", 0.4, "semantic", "model:words")]))
    assert [(one.category, one.image, one.box, one.span) for one in found] == [("hate", 0, BOXES[0], Span(0, 9))]
    turned = stage({b"a": reading("all zorks")}, words)
    (_, other) = harm(await turned.inspect(Content("must go", images=(b"a",)), ()))
    assert (other.category, other.box, other.span) == ("hate", BOXES[0], Span(0, 7))


async def test_what_was_not_seen_is_said() -> None:
    made = stage({b"a": reading("hi", partial=True), b"b": Undecodable("damaged"), b"c": reading("hi", unread=True)})
    found = await made.inspect(Content("", images=(b"a", b"b", b"c")), ())
    expected = [("image:partial", 0), ("image:undecodable", 1), ("image:unread", 2), ("visual:not_scanned", None)]
    assert missing(found) == expected


async def test_an_image_that_failed_costs_the_others_nothing() -> None:
    words = Words([("glorp", "hate", 0.9)])
    made = stage({b"a": ImageFailed(), b"b": reading("glorp")}, words)
    found = await made.inspect(Content("", images=(b"a", b"b")), ())
    assert ("image", 0) in missing(found) and [one.image for one in harm(found)] == [1]


@pytest.mark.parametrize(
    ("why", "error"),
    [
        ("empty", UnsupportedImage),
        ("format", UnsupportedImage),
        ("shape", UnsupportedImage),
        ("bytes", ImageTooLarge),
        ("pixels", ImageTooLarge),
    ],
)
async def test_what_is_no_image_is_the_caller_s_error(why: Why, error: type[BadInput]) -> None:
    made = stage({b"a": reading("hi"), b"b": Undecodable(why)})
    with pytest.raises(error) as refused:
        await made.inspect(Content("", images=(b"a", b"b")), ())
    assert refused.value.param == "images.1"
    with pytest.raises(TooManyImages):
        await made.inspect(Content("", images=(b"a",) * 5), ())


async def test_no_room_is_said_at_once_and_nothing_is_left_running() -> None:
    with pytest.raises(Overloaded):
        await stage({b"a": Overloaded("full"), b"b": reading("hi")}).inspect(Content("", images=(b"b", b"a")), ())
    assert len(asyncio.all_tasks()) == 1


async def test_a_text_in_an_unmeasured_language_is_noted() -> None:
    found = await stage({b"a": reading("bonjour")}, Words([])).inspect(Content("", images=(b"a",)), ())
    assert ("language:fr", None) in missing(found)


async def test_a_known_image_calls_for_its_list_s_action() -> None:
    found = harm(await stage({b"a": reading()}, known=Bank()).inspect(Content("", images=(b"a",)), ()))
    assert [(one.category, one.calls_for, one.reason, one.final) for one in found] == [
        ("hate", Action.REVIEW, "bank:known", True)
    ]


async def test_a_classifier_sees_the_image_beside_all_words() -> None:
    eye = Eye()
    found = await stage({b"a": reading("two", "three")}, classifier=eye).inspect(Content("one", images=(b"a",)), ())
    assert eye.asked == ["one two three"] and not missing(found)
    assert [(one.category, one.stage, one.final) for one in harm(found)] == [("violence/graphic", "visual", True)]
    failed = stage({b"a": reading()}, classifier=Eye(DeadlineExceeded()))
    assert missing(await failed.inspect(Content("", images=(b"a",)), ())) == [("visual", 0)]
    with pytest.raises(Overloaded):
        await stage({b"a": reading()}, classifier=Eye(Overloaded())).inspect(Content("", images=(b"a",)), ())


def test_a_line_that_is_readable_in_a_later_frame_only_counts() -> None:
    frames = tuple(Frame((Line("go home", BOXES[0], score, readable=score > 0.8),)) for score in (0.6, 0.9, 0.95))
    assert [line.confidence for line in lines_of(Reading(bytes(32), 9, 9, "GIF", frames))] == [0.9]
