"""JSON as Google reads it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.google import Refused
from service.api.proto_json import Fields, read_fields

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.from_regex(r"[a-z][A-Za-z]{0,8}", fullmatch=True), VALUES, max_size=4))
def test_what_json_says_is_what_is_read(value: dict[str, object]) -> None:
    """Strictly written, and with its outermost keys bare."""
    strict = json.dumps(value)
    bare = "{" + ", ".join(f"{key}: {json.dumps(inner)}" for key, inner in value.items()) + ", }"
    for text in (strict, bare) if value else (strict,):
        fields = read_fields(text.encode())
        for key, inner in value.items():
            assert fields.value(key) == inner


@pytest.mark.parametrize(
    "text",
    ["{a: 1", "{a 1}", "{a: b}", "{a: 'x}", '{a: "x}', "{1: 2}", "{a: NaN}", "{'a\\", "}{", "null", "5", '"a"', "[{}]"],
)
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="Invalid JSON payload received"):
        read_fields(text.encode())


@pytest.mark.parametrize("unit", ['"\\', '"\\"', "'\\'", "a:", "a ", ", ", "{a:", "\\", "'", "a:'", '{"'])
def test_no_body_takes_long_to_refuse(unit: str) -> None:
    """Each byte is looked at a few times at most: a reader that began anew at each quote would not be back today."""
    with pytest.raises(Refused):
        read_fields(("{" + unit * 150_000).encode())


def test_both_spellings_and_null() -> None:
    fields = Fields({"someName": None, "some_name": "a", "other_name": "b", "otherName": "c"})
    assert (fields.text("some_name"), fields.text("other_name"), fields.text("absent")) == ("a", "c", "")
    assert fields.message("absent").empty
    assert Fields({"a": None}).empty


@pytest.mark.parametrize(
    ("value", "flag"), [(True, True), ("true", True), (False, False), ("false", False), (None, False)]
)
def test_flags(value: object, flag: bool) -> None:
    assert Fields({"it": value}).flag("it") is flag


@pytest.mark.parametrize("value", [True, "x", [], {}, "nan", "inf", 1e400, "1" * 5000])
def test_what_is_no_number(value: object) -> None:
    with pytest.raises(Refused, match="TYPE_FLOAT"):
        Fields({"it": value}).number("it")


def test_a_field_that_is_wrong_is_named_by_its_path() -> None:
    with pytest.raises(Refused, match=r"Invalid value at 'a\.b_c\[1\]\.d' \(TYPE_STRING\)"):
        Fields({"a": {"bC": [{}, {"d": 5}]}}).message("a").messages("b_c")[1].text("d")
