"""Events come out the same however the bytes were cut, and what is no stream is said to be none."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.backends.sse import EventReader, MalformedStream, ServerEvent

BODY = (
    '\ufeff: a comment\r\nretry: 10\r\n\r\nevent: message\r\ndata: {"a":\r\ndata:  1}\r\nid: 7\r\n\r\n'
    "data:Zoë 🙂\n\ndata\n\nevent: lonely\n\ndata: one\rdata: two\r\r"
).encode()
EVENTS = [
    ServerEvent("message", '{"a":\n 1}'),
    ServerEvent("", "Zoë 🙂"),
    ServerEvent("", ""),
    ServerEvent("", "one\ntwo"),
]


@given(st.lists(st.integers(0, len(BODY)), max_size=30))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    reader = EventReader()
    places = sorted({0, len(BODY), *cuts})
    found = [event for a, b in pairwise(places) for event in reader.feed(BODY[a:b])]
    reader.finish()
    assert found == EVENTS


def test_byte_by_byte() -> None:
    reader = EventReader()
    assert [event for byte in BODY for event in reader.feed(bytes([byte]))] == EVENTS


@pytest.mark.parametrize("body", [b"data: half", b"data: one\n", b"data: \xe2\x82"])
def test_an_end_within_an_event_is_told(body: bytes) -> None:
    reader = EventReader()
    assert list(reader.feed(body)) == []
    with pytest.raises(MalformedStream):
        reader.finish()


def test_what_is_not_utf8_is_told_without_quoting_it() -> None:
    with pytest.raises(MalformedStream) as caught:
        list(EventReader().feed(b"data: secret \xff\n\n"))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("body", [b"data: " + b"x" * 200, b"data: xxxxxxxx\n" * 20])
def test_an_event_is_bounded(body: bytes) -> None:
    with pytest.raises(MalformedStream):
        list(EventReader(most_chars=100).feed(body))
