"""Hashes of real pictures: the same in every orientation, near after resizing, far for others, none for flat ones."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pdqhash")

from service.images.banks import MOST_DISTANCE, nearest, to_words
from service.images.hashing import hash_frame

Picture = NDArray[np.uint8]


def picture(seed: int, height: int = 300, width: int = 400) -> Picture:
    """Blurred noise in three sizes, which has the smooth spectrum of a photo."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    whole = np.zeros((height, width, 3))
    for side, weight in ((4, 4.0), (16, 2.0), (48, 1.0)):
        noise = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        whole += weight * np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))
    return (whole / 7).astype(np.uint8)


def turns(rgb: Picture) -> list[Picture]:
    return [np.rot90(side, quarters) for side in (rgb, rgb[:, ::-1]) for quarters in range(4)]


def distance(known: Picture, seen: Picture) -> int:
    """Of what a list would hold of one, in any orientation of the other."""
    return nearest(to_words(hash_frame(known)[0][:1]), to_words(hash_frame(seen)[0]))


def test_eight_hashes_and_a_quality() -> None:
    hashes, quality = hash_frame(picture(1))
    assert len(set(hashes)) == 8 and {len(value) for value in hashes} == {32}
    assert 50 <= quality <= 100
    assert hash_frame(picture(1)) == (hashes, quality)


@pytest.mark.parametrize("seed", range(4))
def test_a_turned_or_mirrored_picture_is_the_same(seed: int) -> None:
    rgb = picture(seed)
    distances = [distance(rgb, turned) for turned in turns(rgb)]
    assert distances[0] == 0 and max(distances) <= MOST_DISTANCE // 2


def test_a_smaller_picture_is_near_and_another_one_is_not() -> None:
    assert distance(picture(1, 900, 1200), picture(1, 900, 1200)[::2, ::2]) <= MOST_DISTANCE // 2
    assert all(distance(picture(1), picture(seed)) > MOST_DISTANCE for seed in range(2, 12))


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 20, 3), (20, 1, 3), (64, 64, 3)])
def test_a_flat_or_tiny_picture_has_no_quality(shape: tuple[int, int, int]) -> None:
    hashes, quality = hash_frame(np.full(shape, 127, dtype=np.uint8))
    assert quality < 50 and len(hashes) == 8


def test_the_hash_is_near_to_what_others_compute() -> None:
    """Lists that are shared hold PDQ of the whole picture."""
    import pdqhash

    for seed in range(6):
        rgb = picture(seed, 480, 640)
        bits, _ = pdqhash.compute(rgb)
        theirs = np.packbits(np.asarray(bits, dtype=np.uint8)).tobytes()
        assert nearest(to_words([theirs]), to_words(hash_frame(rgb)[0][:1])) <= MOST_DISTANCE // 2
