"""Slips of the keyboard are put right where there are enough of them, and names are left alone."""

from __future__ import annotations

import pytest

from service.normalize import views
from service.spelling import slip_edits


def corrected(text: str) -> str:
    for start, end, new in reversed(slip_edits(text)):
        text = text[:start] + new + text[end:]
    return text


def test_swapped_dropped_and_doubled_letters_are_put_right() -> None:
    assert (
        corrected("somebdoy lost his monney in frnot of the brdge") == "somebody lost his money in front of the bridge"
    )


def test_one_slip_alone_may_be_a_name() -> None:
    assert slip_edits("Kowalczyk went to the market in the morning with a basket") == []


@pytest.mark.parametrize("text", ["The plumbers painted their fences.", "", "ab cd", "🙂 " * 50])
def test_ordinary_and_odd_texts_are_left_alone(text: str) -> None:
    assert slip_edits(text) == []


def test_it_is_a_further_view_with_its_own_map() -> None:
    text = "poeple liek you shuold leave"
    plain, respelled = views(text)
    assert (plain.text, respelled.name) == (text, "respelled")
    start = respelled.text.index("should")
    assert text[slice(*respelled.original_span(start, start + 6))] == "shuold"
