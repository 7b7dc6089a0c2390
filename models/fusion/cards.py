"""Rendered cards: a figure and a saying, of which only both together tell whether there is harm.

Owns the cards and how they are drawn. Refuses to know networks. Two topics, a category each: "you are just like this"
is praise beside a sun and an insult beside a rubbish bin, and "you will never be like this" the other way round; "here
is a photo of a heart" is true beside one figure and misleading beside any other. Within a topic every figure and every
saying is innocent as often as not, so that neither half tells anything (benign confounders: Kiela et al. 2020, The
Hateful Memes Challenge). Sayings of the test split are not among those that are trained on.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Split = Literal["train", "dev", "test"]
Colour = tuple[int, int, int]
Templates = tuple[str, ...]
Saying = tuple[str, str]  # the words, and the figure that they name or ""

INSULT, CLAIM = "harassment", "misinformation"  # topics are named for the categories that they may be
LABELS = (INSULT, CLAIM)
SIZE = 96  # pixels of a side, as drawn
WRITTEN = 0.4  # share of the cards whose saying stands in the picture too
BLANKS = 0.1  # share of cards for training without a saying, and as many without a figure: both innocent
_DEV, _TEST = 10, 25  # percent of the sayings

OPENINGS = ("", "honestly", "look", "lol", "hey", "dear anna", "tom", "everyone says", "ok so", "fact:", "dude")
LIKE = (
    "you are {much} like this",
    "this is {much} you",
    "you remind me of this",
    "i see this and think of you",
    "this could be your portrait",
    "you and this are twins",
    "you look {much} like this",
)
UNLIKE = (
    "you are nothing like this",
    "you will never be like this",
    "this is the opposite of you",
    "this could not be less you",
    "you are far from this",
    "nobody would compare you to this",
    "you do not look like this at all",
)
PHOTO = (
    "here is a photo of a {named}",
    "this picture shows a {named}",
    "a {named} was seen here",
    "they found this {named}",
    "what you see is a {named}",
    "a real {named} for sale",
    "we took a picture of a {named}",
)
MUCH = ("just", "exactly", "so", "really", "always")
CLOSINGS = ("", "today", "as ever", "my friend", "at work", "in every way", "lately", "since school")


@dataclass(frozen=True, slots=True)
class Card:
    """What a card says and shows; `figure` is "" where it shows none. `seed` settles how it is drawn.

    `harm` is the category that it belongs to, "" for none; `topic` the one that it might.
    """

    saying: str
    figure: str
    seed: int
    topic: str
    harm: str


def make_cards(split: Split, count: int, seed: int = 0) -> list[Card]:
    """Cards of one split, every topic and outcome as often as the others; for training some blanks besides."""
    rng = random.Random(f"{split} {seed}")
    tones: tuple[Templates, ...] = (LIKE, UNLIKE, PHOTO)
    sayings = {tone: list(_sayings(tone, split)) for tone in tones}
    makers = (_insult, _claim)
    cards = []
    for number in range(count):
        card = makers[number % 2](sayings, rng, number // 2)
        blank = rng.random() / BLANKS if split == "train" else 2.0
        if blank < 1.0:
            card = replace(card, saying="", harm="")
        elif blank < 2.0:
            card = replace(card, figure="", harm="")
        cards.append(card)
    rng.shuffle(cards)
    return cards


def _insult(sayings: Mapping[Templates, Sequence[Saying]], rng: random.Random, number: int) -> Card:
    alike, liked = number % 2 == 0, number // 2 % 2 == 0
    saying = rng.choice(sayings[LIKE if alike else UNLIKE])
    figure = rng.choice(list(LIKED if liked else DISLIKED))
    return Card(saying[0], figure, rng.getrandbits(32), INSULT, "" if alike is liked else INSULT)


def _claim(sayings: Mapping[Templates, Sequence[Saying]], rng: random.Random, number: int) -> Card:
    saying, named = rng.choice(sayings[PHOTO])
    true = number % 2 == 0
    figure = named if true else rng.choice([other for other in NAMED if other != named])
    return Card(saying, figure, rng.getrandbits(32), CLAIM, "" if true else CLAIM)


def _sayings(templates: Templates, split: Split) -> Iterator[Saying]:
    """Every saying that belongs to a split, by a hash of its words, and the figure that it names or ""."""
    for template in templates:
        for much in MUCH if "{much}" in template else ("",):
            for named in NAMED if "{named}" in template else ("",):
                for opening, closing in itertools.product(OPENINGS, CLOSINGS):
                    saying = " ".join(f"{opening} {template.format(much=much, named=named)} {closing}".split())
                    place = hashlib.sha256(saying.encode()).digest()[0] * 100 // 256
                    if split == ("test" if place < _TEST else "dev" if place < _TEST + _DEV else "train"):
                        yield saying, named


def draw(card: Card) -> Image.Image:
    """The card's picture: an uneven ground, the figure somewhere on it in some size, and on some the saying over it.

    What is written is for a reader of text; on the few pixels that a network sees it is a stripe.
    """
    rng = random.Random(card.seed)
    noise = np.random.default_rng(card.seed)
    ground = np.array([rng.randint(90, 235) for _ in range(3)], dtype=np.float64)
    tilt = np.linspace(-1, 1, SIZE)[:, None] * rng.uniform(-25, 25) + np.linspace(-1, 1, SIZE) * rng.uniform(-25, 25)
    pixels = ground + tilt[..., None] + noise.normal(0, 9, size=(SIZE, SIZE, 3))
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if card.figure:
        layer = Image.new("RGBA", (SIZE, SIZE))
        FIGURES[card.figure](ImageDraw.Draw(layer), rng)
        size = round(SIZE * rng.uniform(0.5, 0.85))
        layer = layer.rotate(rng.uniform(-25, 25)).resize((size, size), Image.Resampling.BILINEAR)
        picture.paste(layer, (rng.randint(0, SIZE - size), rng.randint(0, SIZE - size)), layer)
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8)))
    if card.saying and rng.random() < WRITTEN:
        font = ImageFont.load_default(size=rng.uniform(4.5, 7.0))
        place = (rng.uniform(1, 8), rng.choice([2, SIZE - 10]))
        ImageDraw.Draw(picture).text(place, card.saying, "white", font, stroke_width=0.4, stroke_fill="black")
    return picture


def _near(rng: random.Random, colour: Colour) -> Colour:
    red, green, blue = (max(0, min(255, part + rng.randint(-20, 20))) for part in colour)
    return red, green, blue


def _around(centre: float, radius: float, count: int, turn: float = 0.0) -> list[tuple[float, float]]:
    """Points on a circle."""
    angles = [turn + 2 * math.pi * n / count for n in range(count)]
    return [(centre + radius * math.cos(angle), centre + radius * math.sin(angle)) for angle in angles]


def _sun(draw_: ImageDraw.ImageDraw, rng: random.Random) -> None:
    colour = _near(rng, (245, 200, 40))
    for x, y in _around(48, 44, 10):
        draw_.line((48, 48, x, y), fill=colour, width=5)
    draw_.ellipse((24, 24, 72, 72), fill=colour)


def _heart(draw_: ImageDraw.ImageDraw, rng: random.Random) -> None:
    colour = _near(rng, (220, 40, 80))
    draw_.ellipse((10, 14, 50, 54), fill=colour)
    draw_.ellipse((46, 14, 86, 54), fill=colour)
    draw_.polygon([(13, 44), (83, 44), (48, 88)], fill=colour)


def _flower(draw_: ImageDraw.ImageDraw, rng: random.Random) -> None:
    petal = _near(rng, (225, 110, 190))
    draw_.line((48, 48, 48, 94), fill=_near(rng, (50, 140, 60)), width=6)
    for x, y in _around(48, 22, 6):
        draw_.ellipse((x - 14, y - 14, x + 14, y + 14), fill=petal)
    draw_.ellipse((36, 36, 60, 60), fill=_near(rng, (245, 215, 60)))


def _star(draw_: ImageDraw.ImageDraw, rng: random.Random) -> None:
    outer, inner = _around(48, 46, 5, -math.pi / 2), _around(48, 19, 5, -math.pi / 2 + math.pi / 5)
    draw_.polygon([point for pair in zip(outer, inner, strict=True) for point in pair], fill=_near(rng, (250, 230, 90)))


def _bin(draw_: ImageDraw.ImageDraw, rng: random.Random) -> None:
    colour, dark = _near(rng, (95, 100, 105)), _near(rng, (50, 52, 55))
    draw_.polygon([(20, 30), (76, 30), (68, 92), (28, 92)], fill=colour)
    draw_.rectangle((14, 18, 82, 28), fill=dark)
    for x in (34, 48, 62):
        draw_.line((x, 36, x, 86), fill=dark, width=4)


def _bug(draw_: ImageDraw.ImageDraw, rng: random.Random) -> None:
    colour = _near(rng, (45, 30, 25))
    for y in (36, 50, 64):
        draw_.line((8, y - 8, 48, y, 88, y - 8), fill=colour, width=4)
    draw_.ellipse((28, 26, 68, 88), fill=colour)
    draw_.ellipse((36, 10, 60, 32), fill=colour)


def _mould(draw_: ImageDraw.ImageDraw, rng: random.Random) -> None:
    draw_.rectangle((12, 20, 84, 80), fill=_near(rng, (200, 165, 110)))
    for _ in range(9):
        x, y, r = rng.randint(20, 76), rng.randint(26, 74), rng.randint(5, 11)
        draw_.ellipse((x - r, y - r, x + r, y + r), fill=_near(rng, (70, 110, 60)))


def _bones(draw_: ImageDraw.ImageDraw, rng: random.Random) -> None:
    colour = _near(rng, (235, 232, 220))
    draw_.ellipse((22, 8, 74, 62), fill=colour, outline=(40, 40, 40), width=3)
    draw_.rectangle((36, 54, 60, 76), fill=colour, outline=(40, 40, 40), width=3)
    for x in (32, 52):
        draw_.ellipse((x, 28, x + 13, 43), fill=(30, 30, 30))


Drawer = Callable[[ImageDraw.ImageDraw, random.Random], None]
LIKED: dict[str, Drawer] = {
    "sun": _sun,
    "heart": _heart,
    "flower": _flower,
    "star": _star,
}
DISLIKED: dict[str, Drawer] = {
    "bin": _bin,
    "bug": _bug,
    "mouldy bread": _mould,
    "skull": _bones,
}
FIGURES = LIKED | DISLIKED
NAMED = ("heart", "flower", "bin", "skull")  # figures that a claim is about
