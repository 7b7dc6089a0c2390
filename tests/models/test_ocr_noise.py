"""What reading out of an image does to a text."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from models.ocr_noise import read_from_image


@given(st.text(max_size=200), st.integers(0, 1000))
def test_the_same_seed_gives_the_same_text_and_words_are_never_lost(text: str, seed: int) -> None:
    noisy = read_from_image(text, Random(seed))
    assert noisy == read_from_image(text, Random(seed))
    assert bool(noisy) == bool(text)
    if text.split():
        assert len("".join(noisy.split())) >= len("".join(text.split()))


def test_spaces_are_lost_more_often_than_letters() -> None:
    text = "nobody asked the old man where he was going " * 200
    noisy = read_from_image(text, Random(3))
    lost = len(text.split()) - len(noisy.split())
    changed = sum(a != b for a, b in zip("".join(text.split()).lower(), "".join(noisy.split()).lower(), strict=True))
    assert 0.02 < lost / len(text.split()) < 0.08
    assert 0 < changed < 0.01 * len(text)
