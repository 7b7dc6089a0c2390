"""What passes between the service and the process that looks at images."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.images.limits import WHYS
from service.images.message import BadMessage, pack, refusal, unpack
from service.images.reading import Frame, Line, Reading
from service.types import Box

boxes = st.builds(Box, *[st.integers(0, 20_000)] * 4)
lines = st.builds(Line, st.text(), boxes, st.floats(0, 1), st.booleans())
hashes = st.lists(st.binary(min_size=32, max_size=32), max_size=8).map(tuple)
frames = st.builds(Frame, st.lists(lines, max_size=3).map(tuple), hashes, st.integers(0, 100), st.binary(max_size=99))
readings = st.builds(
    Reading,
    st.binary(min_size=32, max_size=32),
    st.integers(1, 10_000),
    st.integers(1, 10_000),
    st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]),
    st.lists(frames, min_size=1, max_size=4).map(tuple),
    st.booleans(),
)


@given(readings)
def test_a_reading_arrives_as_it_was_sent(reading: Reading) -> None:
    assert unpack(pack(reading)) == reading


@given(st.binary(max_size=300) | readings.map(lambda reading: pack(reading)[:-1]))
def test_what_is_no_reading_is_refused(payload: bytes) -> None:
    with pytest.raises(BadMessage):
        unpack(payload)


@pytest.mark.parametrize(
    "change",
    [
        {"frames": []},
        {"frames": [{"lines": [], "hashes": [], "quality": -1, "pixels": 0}]},
        {"frames": [{"lines": [], "hashes": ["00"], "quality": 1, "pixels": 0}]},
        {"frames": [{"lines": [], "hashes": [], "quality": 1, "pixels": 10**9}]},
        {"width": "wide"},
        {"sha256": "no"},
    ],
)
def test_a_reading_of_wrong_values_is_refused(change: dict[str, object]) -> None:
    payload = pack(Reading(bytes(32), 1, 1, "PNG", (Frame(),)))
    (size,) = struct.unpack_from("!I", payload)
    plain = json.dumps({**json.loads(payload[4 : 4 + size]), **change}).encode()
    with pytest.raises(BadMessage):
        unpack(struct.pack("!I", len(plain)) + plain)


def test_a_refusal_is_one_of_those_that_there_are() -> None:
    assert [refusal(why.encode()).why for why in WHYS] == list(WHYS)
    with pytest.raises(BadMessage):
        refusal(b"because")
