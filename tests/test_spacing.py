"""Lost spaces are put back, and no word is found inside another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.normalize import views
from service.spacing import space_edits, with_spaces

read = with_spaces(views)


@pytest.mark.parametrize(
    ("text", "spaced"),
    [
        ("TOUCHANY GRASS", "TOUCH ANY GRASS"),
        ("BUYCHEAPFOLLOWERS", "BUY CHEAP FOLLOWERS"),
        ("FROMLIVING IN THIS TOWN", "FROM LIVING IN THIS TOWN"),
        ("go killyourself now", "go kill yourself now"),
    ],
)
def test_words_run_together_are_parted(text: str, spaced: str) -> None:
    view = read(text)[-1]
    assert (view.name, view.text) == ("spaced", spaced)
    at = spaced.index(" ") + 1
    assert view.original_span(at, len(spaced))[1] == len(text)


@pytest.mark.parametrize(
    "text", ["therapist", "psychotherapist", "Scunthorpe", "analysis", "assessment", "cocktails", "xkqzvwpt"]
)
def test_a_word_is_left_whole(text: str) -> None:
    assert space_edits(text) == []


@given(st.text(max_size=120))
def test_only_spaces_are_added(text: str) -> None:
    plain, *_, last = (*read(text), views(text)[0])
    for view in read(text):
        if view.name == "spaced":
            assert view.text.replace(" ", "") == plain.text.replace(" ", "")
    assert last.text == plain.text
