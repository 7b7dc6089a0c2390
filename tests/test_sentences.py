"""Where sentences stand, and HTML as it is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.advert import SIGNS, advert_signs
from service.sentences import from_html, sentences, utf16_offsets


def pieces(text: str, most: int = 100) -> list[str]:
    return [text[span.start : span.end] for span in sentences(text, most)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("  One...  Two?!  ", ["One...", "Two?!"]),
        ("It costs 3.50 at example.com today", ["It costs 3.50 at example.com today"]),
        ("J. R. Smith left. Bye", ["J. R. Smith left.", "Bye"]),
        ('He said "go." Then left', ['He said "go."', "Then left"]),
        ("one\ntwo\n\nthree", ["one", "two", "three"]),
        ("一。二！三", ["一。", "二！", "三"]),
        ("...", ["..."]),
        ("!", ["!"]),
        (" \n ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


@given(st.text(alphabet="ab.!? \n😀", max_size=200), st.integers(1, 5))
def test_nothing_but_white_space_stands_between(text: str, most: int) -> None:
    spans = sentences(text, most)
    assert len(spans) <= most
    left = text
    for span in reversed(spans):
        assert text[span.start : span.end].strip() == text[span.start : span.end] != ""
        left = left[: span.start] + left[span.end :]
    assert not left.strip()


@given(st.text(max_size=50))
def test_offsets_count_utf_16(text: str) -> None:
    offsets = utf16_offsets(text, range(len(text) + 1))
    assert all(units == len(text[:place].encode("utf-16-le")) // 2 for place, units in offsets.items())


@pytest.mark.parametrize(
    ("html", "read"),
    [
        ("<p>a</p><p>b</p>", "\na\n\nb\n"),
        ("id<b>io</b>t &amp; &#102;ool &lt;b&gt; &nosuch;", "idiot & fool <b> &nosuch;"),
        ("a<!-- b --> c<script>", "a\n c\n"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("a <!-- never closed", "a \n"),
    ],
)
def test_html(html: str, read: str) -> None:
    view = from_html(html)
    assert view.text == read
    place = read.rindex(read.strip()[-1])
    start, end = view.original_span(place, place + 1)
    assert read[place] in html[start:end] or html[start] == "&"


@pytest.mark.parametrize("unit", [".", "!", '."', "\n ", "a.", "? ", "<a", "<!--", "&a", "a-"])
def test_a_text_of_one_thing_repeated_is_looked_at_once(unit: str) -> None:
    """A comment holds 20 KB; with ten times that, a quadratic reader would not be back today."""
    text = unit * 100_000
    assert len(sentences(text, 100)) <= 100
    assert from_html(text).length == len(text)
    assert set(advert_signs(text)) == set(SIGNS)
