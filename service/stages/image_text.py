"""The texts that an image and its post make together, and the way back from a place in one to a place in an image.

Owns how lines become texts and what a finding in one says of the image. Pure. Refuses to know how lines were read, and
who looks for what in the texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from service.images.reading import Line, Reading
from service.types import Box, Finding, Span


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a passage: of the post where `image` is None, else a line of the image in that place."""

    start: int
    text: str
    image: int | None = None
    box: Box | None = None

    @property
    def end(self) -> int:
        """One beyond its last character."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Passage:
    """A text made of lines of images, perhaps with the post before or after them."""

    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """What is judged."""
        made: list[str] = []
        length = 0
        for piece in self.pieces:
            made += [" " * (piece.start - length), piece.text]
            length = piece.end
        return "".join(made)

    def placed(self, finding: Finding, stage: str) -> Finding:
        """A finding in this text, as one in the content: by an image and a line's box, or by a span of the post."""
        images = [piece.image for piece in self.pieces if piece.image is not None]
        placed = replace(finding, stage=stage, span=None, image=images[0], final=True)
        if finding.span is None:
            return placed
        found = finding.span
        pieces = [piece for piece in self.pieces if piece.start < found.end and found.start < piece.end]
        line = next((piece for piece in pieces if piece.image is not None), None)
        post = next((piece for piece in pieces if piece.image is None), None)
        if line is not None:
            placed = replace(placed, image=line.image, box=line.box)
        if post is not None:
            start, end = max(found.start, post.start), min(found.end, post.end)
            placed = replace(placed, span=Span(start - post.start, end - post.start))
        return placed


def lines_of(reading: Reading) -> list[Line]:
    """The readable lines of all frames; a line that stands in several frames counts once."""
    seen: set[str] = set()
    found: list[Line] = []
    for frame in reading.frames:
        found += [line for line in frame.lines if line.readable and line.text.strip() and line.text not in seen]
        seen.update(line.text for line in frame.lines if line.readable)
    return found


def passage(parts: Iterable[Sequence[Piece]]) -> Passage:
    """Pieces put one after the other, a space between them."""
    placed: list[Piece] = []
    position = 0
    for piece in chain.from_iterable(parts):
        placed.append(replace(piece, start=position))
        position = placed[-1].end + 1
    return Passage(tuple(placed))


def passages(post: str, images: Sequence[tuple[int, Sequence[Line]]]) -> tuple[list[Passage], list[Passage]]:
    """The texts of the images one by one, and those of all together with the post: it first, and it last.

    `images`: the place of each in its content, and its lines.
    """
    read = [[Piece(0, line.text, n, line.box) for line in lines] for n, lines in images if lines]
    alone = [passage([pieces]) for pieces in read]
    if not read or (not post.strip() and len(read) < 2):
        return alone, []
    if not post.strip():
        return alone, [passage(read)]
    own = [Piece(0, post)]
    return alone, [passage([own, *read]), passage([*read, own])]
