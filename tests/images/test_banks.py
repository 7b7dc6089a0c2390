"""Banks: which image is on which list, compared with a plain loop over all bits, and how lists change."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bank_records import Bank, Change, HashKind, KnownHash
from service.images.banks import MOST_DISTANCE, Banks, LoadedBank, nearest, to_words
from service.images.reading import Frame, Reading
from service.taxonomy import Action


def bank(name: str = "known", action: Action = Action.BLOCK, token: str = "t") -> Bank:
    return Bank(name, "violence/graphic", action, token)


def loaded(*values: bytes, kind: HashKind = "pdq", of: Bank | None = None) -> LoadedBank:
    changes = [Change(n, KnownHash(kind, value)) for n, value in enumerate(values, 1)]
    return LoadedBank(of or bank()).changed(changes)


def banks(*those: LoadedBank) -> Banks:
    return Banks({one.bank.name: one for one in those})


def reading(*frames: Frame, file: bytes = b"a file") -> Reading:
    return Reading(hashlib.sha256(file).digest(), 64, 64, "JPEG", frames)


def flipped(value: bytes, *bits: int) -> bytes:
    whole = int.from_bytes(value, "big")
    for bit in bits:
        whole ^= 1 << bit
    return whole.to_bytes(32, "big")


def far(n: int = 8) -> list[bytes]:
    return [hashlib.sha256(b"%d" % i).digest() for i in range(n)]


@given(st.data())
def test_the_scan_finds_what_a_plain_loop_finds(data: st.DataObject) -> None:
    one = st.binary(min_size=32, max_size=32)
    hashes = data.draw(st.lists(one, max_size=20))
    queries = data.draw(st.lists(one, min_size=1, max_size=3))
    if hashes and data.draw(st.booleans()):
        bits = data.draw(st.lists(st.integers(0, 255), max_size=40, unique=True))
        queries.append(flipped(data.draw(st.sampled_from(hashes)), *bits))
    distances = [(int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count() for a in hashes for b in queries]
    expected = min([*distances, MOST_DISTANCE + 1])
    assert nearest(to_words(hashes), to_words(queries)) == expected


def test_a_match_in_any_block_of_a_long_list_is_found() -> None:
    rng = np.random.default_rng(8)
    hashes = [row.tobytes() for row in rng.integers(0, 256, (20_000, 32), dtype=np.uint8)]
    for place in (0, 4095, 4096, 12_345, 19_999):
        assert nearest(to_words(hashes), to_words([flipped(hashes[place], *range(0, 62, 2))])) == 31


@pytest.mark.parametrize(("bits", "found"), [(0, True), (31, True), (32, False)])
@pytest.mark.parametrize("orientation", range(8))
def test_31_bits_are_a_match_in_every_orientation_and_32_are_none(bits: int, found: bool, orientation: int) -> None:
    known = hashlib.sha256(b"known").digest()
    hashes = far()
    hashes[orientation] = flipped(known, *range(100, 100 + bits))
    matches = banks(loaded(known)).match(reading(Frame(hashes=tuple(hashes), quality=100)))
    assert [(m.bank, m.kind, m.distance) for m in matches] == ([("known", "pdq", bits)] if found else [])


@pytest.mark.parametrize(("quality", "found"), [(49, 0), (50, 1)])
def test_a_flat_picture_is_like_none(quality: int, found: int) -> None:
    hashes = tuple(far())
    assert len(banks(loaded(hashes[0])).match(reading(Frame(hashes=hashes, quality=quality)))) == found


def test_the_same_file_is_found_whatever_it_shows() -> None:
    known = hashlib.sha256(b"a file").digest()
    same = banks(loaded(known, kind="sha256"))
    assert [(m.kind, m.distance) for m in same.match(reading())] == [("sha256", 0)]
    assert not same.match(reading(file=b"another"))
    assert not banks(loaded(known)).match(reading())  # a digest is no likeness


def test_any_frame_counts_and_the_strictest_bank_comes_first() -> None:
    hashes = far(3)
    mild = loaded(hashes[1], of=bank("a", Action.FLAG))
    strict = loaded(flipped(hashes[2], 7), of=bank("b", Action.BLOCK))
    frames = [Frame(hashes=(value,), quality=80) for value in hashes]
    matches = banks(mild, strict).match(reading(*frames))
    assert [(m.bank, m.action, m.distance) for m in matches] == [("b", Action.BLOCK, 1), ("a", Action.FLAG, 0)]


def test_hashes_come_and_go_and_the_version_with_them() -> None:
    first, second, third = far(3)
    one = loaded(first, second)
    later = one.changed([Change(3, KnownHash("pdq", first), removed=True), Change(4, KnownHash("pdq", third))])
    again = later.changed([Change(5, KnownHash("pdq", first)), Change(6, KnownHash("pdq", third))])
    nothing = again.changed([Change(n, KnownHash("pdq", v), removed=True) for n, v in enumerate(far(3), 7)])
    found = [
        [bool(banks(b).match(reading(Frame(hashes=(v,), quality=99)))) for v in far(3)] for b in (one, later, again)
    ]
    assert found == [[True, True, False], [False, True, True], [True, True, True]]
    assert [banks(b).hashes for b in (one, later, again, nothing)] == [2, 2, 3, 0]
    assert len({banks(b).version for b in (one, later, again, nothing)}) == 4
    assert banks(one).version != banks(loaded(first, second, of=bank(token="other"))).version
