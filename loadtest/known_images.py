"""Are known images found again, and others left alone? PDQ over real photos, and what a million hashes cost.

Owns the variants and the table. Refuses to judge: it prints figures and the aims beside them. Photos are those of
`images-benign-cc0.tar`: 200 of them are put on a list, from their files as they are; variants of each are looked for,
and 3,000 photos that are not on it. All is decoded, hashed and compared by the service's own parts. As the rule of
PDQ has it, only queries of a quality of at least 50 count; how many are under it is told.

`shrunk`: half as wide and high, written as JPEG of quality 85. `captioned`: white capitals with a black outline across
the lowest fifth. Turned and mirrored ones are written as PNG, so that nothing else changes. `theirs`: the list holds
what `pdqhash` makes of the whole photo, as a list that others share would, in place of what the service makes of it.

The photos are 192 pixels wide at most, which is harder for PDQ than larger ones are: the blur spans fewer of them.

    python -m loadtest.known_images --photos FILE.tar [--listed N] [--others N] [--scan N]
"""

from __future__ import annotations

import argparse
import io
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pdqhash
from PIL import Image, ImageDraw, ImageFont

from service.images.banks import LEAST_QUALITY, MOST_DISTANCE, Words, nearest, to_words
from service.images.decoding import decode
from service.images.hashing import hash_frame
from service.images.limits import Limits

SEED = 8


def _saved(image: Image.Image, form: str = "JPEG", quality: int = 85) -> bytes:
    file = io.BytesIO()
    image.save(file, form, quality=quality)
    return file.getvalue()


def _captioned(image: Image.Image) -> bytes:
    drawn = image.copy()
    size = max(8, image.height // 8)
    font = ImageFont.load_default(size=size)
    place = (image.width // 20, image.height * 4 // 5)
    ImageDraw.Draw(drawn).text(place, "WHEN IT IS MONDAY", fill="white", font=font, stroke_width=2, stroke_fill="black")
    return _saved(drawn)


VARIANTS: Mapping[str, Callable[[Image.Image], bytes]] = {
    "as it is": lambda image: _saved(image, "PNG"),
    "JPEG 30": lambda image: _saved(image, quality=30),
    "shrunk": lambda image: _saved(image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)),
    "enlarged": lambda image: _saved(image.resize((image.width * 4, image.height * 4), Image.Resampling.BICUBIC)),
    "brighter": lambda image: _saved(image.point(lambda level: min(255, level * 6 // 5))),
    "captioned": _captioned,
    "mirrored": lambda image: _saved(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"),
    "turned": lambda image: _saved(image.transpose(Image.Transpose.ROTATE_90), "PNG"),
    "upside down": lambda image: _saved(image.transpose(Image.Transpose.ROTATE_180), "PNG"),
    "turned, mirrored": lambda image: _saved(image.transpose(Image.Transpose.TRANSVERSE), "PNG"),
    "cropped 5 %": lambda image: _saved(
        image.crop((image.width // 40, image.height // 40, image.width * 39 // 40, image.height * 39 // 40))
    ),
}


def photos(tar: Path) -> Iterator[bytes]:
    """The photos of a tar, in its order."""
    with tarfile.open(tar) as archive:
        for member in archive:
            if member.name.endswith(".jpg") and (file := archive.extractfile(member)) is not None:
                yield file.read()


def hashed(data: bytes) -> tuple[tuple[bytes, ...], int]:
    """Hashes and quality, as the service makes them of a file."""
    return hash_frame(decode(data, Limits()).frames[0])


def theirs(data: bytes) -> bytes:
    """PDQ of the whole photo, as others make it."""
    bits, _ = pdqhash.compute(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    return np.packbits(np.asarray(bits, dtype=np.uint8)).tobytes()


def found(data: bytes, *lists: Words) -> tuple[int, list[bool]]:
    """The quality of a query, and on which of the lists it is."""
    hashes, quality = hashed(data)
    return quality, [nearest(one, to_words(hashes)) <= MOST_DISTANCE for one in lists]


def show(name: str, rows: list[tuple[int, list[bool]]]) -> None:
    """A row of the table, over queries whose quality counts."""
    good = [hits for quality, hits in rows if quality >= LEAST_QUALITY]
    counts = "".join(f"{sum(hits[n] for hits in good):>10}" for n in range(len(rows[0][1])))
    print(f"{name:<18}{len(good):>10}{counts}{len(rows) - len(good):>12}")


def scan(hashes: int) -> None:
    """What a comparison with so many costs, in processor time."""
    rng = np.random.default_rng(SEED)
    words = to_words([row.tobytes() for row in rng.integers(0, 256, (hashes, 32), dtype=np.uint8)])
    queries = to_words([row.tobytes() for row in rng.integers(0, 256, (8, 32), dtype=np.uint8)])
    for orientations in (1, 8):
        times = []
        for _ in range(15):
            start = time.process_time()
            nearest(words, queries[:, :orientations])
            times.append((time.process_time() - start) * 1e3 / orientations)
        print(f"{hashes:,} hashes, {orientations} orientations: {np.median(times):.1f} ms CPU each (aim: at most 40)")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--listed", type=int, default=200)
    parser.add_argument("--others", type=int, default=3_000)
    parser.add_argument("--scan", type=int, default=1_000_000)
    given = parser.parse_args()
    everything = list(photos(given.photos))
    order = np.random.default_rng(SEED).permutation(len(everything))
    listed = [everything[n] for n in order[: given.listed]]
    others = [everything[n] for n in order[given.listed : given.listed + given.others]]
    own = to_words([hashed(data)[0][0] for data in listed])
    shared = to_words([theirs(data) for data in listed])
    start = time.process_time()
    for data in listed:
        hashed(data)
    print(f"decoding and eight hashes: {(time.process_time() - start) * 1e3 / len(listed):.1f} ms CPU a photo\n")
    print(f"{'variant':<18}{'queries':>10}{'found':>10}{'theirs':>10}{'quality <50':>12}")
    for name, make in VARIANTS.items():
        rows = [found(make(Image.open(io.BytesIO(data)).convert("RGB")), own, shared) for data in listed]
        show(name, rows)
    show("others", [found(data, own, shared) for data in others])
    print("aims: JPEG 30 and shrunk at least 98 %, others 0\n")
    scan(given.scan)


if __name__ == "__main__":
    main()
