"""Files of hashes: what is read, what is passed over, and which line is wrong."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bank_records import HashKind, KnownHash
from service.errors import BadInput
from service.images.hash_lists import read_hash_lines

A, B = (hashlib.sha256(name).hexdigest() for name in (b"a", b"b"))


def known(digits: str, kind: HashKind = "pdq", note: str = "") -> KnownHash:
    return KnownHash(kind, bytes.fromhex(digits), note)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("", None, []),
        ("# nothing\n\n , \n", None, []),
        (f"{A}\n{B},a note\n", "pdq", [known(A), known(B, note="a note")]),
        (f"sha256:{A.upper()}\r\npdq:{B}\r\n", "pdq", [known(A, "sha256"), known(B)]),
        (f"PDQ,Note\n{A},x\n", "sha256", [known(A, note="x")]),
        (f"note,sha256\nx,{A}\n", None, [known(A, "sha256", "x")]),
        (f"pdq,sha256\n{A},\n,{B}\n", None, [known(A), known(B, "sha256")]),
        (f'hash,quality,note\n{A},49,\n{B},50,"a, ""b"""\n', "pdq", [known(B, note='a, "b"')]),
        (f"hash,quality\n{A},0\n", "sha256", [known(A, "sha256")]),
        (f"\ufeff{A}", "pdq", [known(A)]),
    ],
)
def test_what_is_read(text: str, kind: HashKind | None, expected: list[KnownHash]) -> None:
    assert list(read_hash_lines(text.splitlines(keepends=True), kind)) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (A, "Line 1: It is not said"),
        (f"pdq:{A}\npdq:{A[1:]}", "Line 2: A hash is 64"),
        (f"md5:{A}", "Line 1: A hash is pdq"),
        (f"pdq:{A},a,b", "Line 1: there are too many"),
        ("pdq,qualty\n", "columns are"),
        ("pdq,pdq\n", "columns are"),
        (f"pdq,quality\n{A},high", "Line 2: a quality"),
        (f"pdq,quality\n{A},{'9' * 5_000}", "Line 2: a quality"),
        (f"pdq,note\n,{A}", "Line 2: there is no hash"),
        (f"pdq:{A},{'x' * 201}", "Line 1: A note"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        list(read_hash_lines(text.splitlines()))


@given(st.text(max_size=200), st.sampled_from(["pdq", "sha256", None]))
def test_any_text_is_read_or_refused(text: str, kind: HashKind | None) -> None:
    try:
        found = list(read_hash_lines(text.splitlines(keepends=True), kind))
    except BadInput:
        return
    assert all(len(one.value) == 32 and one.note.isprintable() for one in found)
