"""Readers of a plain stream's body: any cutting gives the same text, and what is cut short is said."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.stream_input import MOST_LINE_BYTES, UnsupportedMediaType, reader_for
from service.errors import BadInput, InvalidJson

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=8)
NDJSON, SSE = "application/x-ndjson", "text/event-stream"


def read(kind: str, body: bytes, cuts: list[int]) -> list[str]:
    reader, found, begin = reader_for(kind), [], 0
    for cut in sorted(min(cut, len(body)) for cut in cuts):
        found += reader.feed(body[begin:cut])
        begin = cut
    return found + reader.feed(body[begin:]) + reader.close()


@given(TEXTS, st.lists(st.integers(0, 200), max_size=30), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_any_cutting_gives_the_same_text(texts: list[str], cuts: list[int], end: str, ascii_only: bool) -> None:
    plain = "".join(texts)
    assert "".join(read("text/plain; charset=utf-8", plain.encode(), cuts)) == plain
    messages = [json.dumps({"text": text} if n % 2 else text, ensure_ascii=ascii_only) for n, text in enumerate(texts)]
    lines = "".join(message + end for message in messages)
    assert read(NDJSON, lines.encode(), cuts) == texts
    assert read(NDJSON, lines.removesuffix(end).encode(), cuts) == texts
    events = f": hello{end}" + "".join(f"event: text{end}id: 1{end}data: {m}{end}{end}" for m in messages)
    assert read(SSE, f"{events}data: [DONE]{end}{end}data: more{end}{end}".encode(), cuts) == texts


def test_one_event_may_have_several_lines() -> None:
    assert read(SSE, b'data: {"text":\ndata:"a"}\n\n', []) == ["a"]


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        ("text/plain", b"caf\xc3", BadInput),
        ("text/plain", b"\xff", BadInput),
        (NDJSON, b'{"text": "a', InvalidJson),
        (NDJSON, b"[" * 100_000 + b"\n", InvalidJson),
        (NDJSON, b'{"text": 1}\n', BadInput),
        (NDJSON, b'{"text": "a", "role": "user"}\n', BadInput),
        (NDJSON, b'"' + b"a" * MOST_LINE_BYTES, BadInput),
        (SSE, b'data: "a"', BadInput),
        (SSE, b'data: "a"\n', BadInput),
        (SSE, b"data: \xff\n\n", InvalidJson),
        (SSE, b"data: 1\n" * MOST_LINE_BYTES, BadInput),
    ],
)
def test_what_cannot_be_read_is_refused(kind: str, body: bytes, error: type[BadInput]) -> None:
    with pytest.raises(error):
        read(kind, body, [])


@pytest.mark.parametrize("kind", ["application/json", "text/html", "text/plain; charset=latin-1", "image/png"])
def test_other_bodies_are_refused(kind: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        reader_for(kind)


def test_a_charset_may_have_company() -> None:
    assert reader_for("text/plain; charset=utf-8; format=flowed").feed(b"words") == ["words"]
