from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.constitution.direct import all_detectors

DETECTORS = all_detectors()
LINE = 0.6


def found(name: str, text: str) -> list[str]:
    return [text[e.span.start : e.span.end] for e in DETECTORS[name](text) if e.score >= LINE]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("group-absolutes", "I say that all immigrants are criminals.", "all immigrants are criminals"),
        ("dehumanising", "Those people are nothing but vermin.", "Those people are nothing but vermin"),
        ("coercion", "You have no choice here.", "You have no choice"),
        ("deception", "Pretend to be from the bank to get her code.", "Pretend to be from the bank to"),
        ("unsupported-claim", "This root cures cancer.", "cures cancer"),
        ("misleading-statistic", "It doubles your risk of dying.", "doubles your risk"),
        ("contradiction", "The shop is always open on Sunday. The shop is never open on Sunday.", "The shop is never"),
    ],
)
def test_what_a_detector_finds_and_where(name: str, text: str, words: str) -> None:
    assert any(piece.startswith(words) for piece in found(name, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("group-absolutes", "It is racist to say that 'all immigrants are criminals', he said, and wrong."),
        ("group-absolutes", "Some of the suspects were immigrants."),
        ("deception", "Here is how to recognise scams: they pretend to be from the bank to get money."),
        ("unsupported-claim", "Studies show that it works (Smith, 2019)."),
        ("misleading-statistic", "Of 400 patients, 12% of women, compared with 10% of men, had side effects."),
        ("contradiction", "The shop is open on Monday mornings. It is closed on Tuesdays."),
        ("contradiction", "Is the shop open on Sunday? The shop is not open on Sunday."),
        ("coercion", "Would you like to come along, or would you rather stay?"),
    ],
)
def test_what_a_detector_leaves_alone(name: str, text: str) -> None:
    assert not found(name, text)


@given(st.text(max_size=400))
def test_spans_lie_in_any_text(text: str) -> None:
    for detect in DETECTORS.values():
        for evidence in detect(text):
            assert 0 <= evidence.span.start < evidence.span.end <= len(text)
            assert 0.0 < evidence.score <= 1.0
