"""Identifiers: cards, accounts and identity numbers show; numbers of every other sort stay quiet."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.stages.identifiers import MAX_FINDINGS, IdentifierPatterns

PATTERNS = IdentifierPatterns()


def kinds(text: str) -> dict[str, str]:
    return {seen.kind: text[seen.start : seen.end] for seen in PATTERNS.identifiers(text)}


def top(text: str) -> float:
    return max((finding.score for finding in PATTERNS.findings(text, "keyword")), default=0.0)


@pytest.mark.parametrize(
    ("text", "kind", "shows"),
    [
        ("card 4539 1488 0343 6467 please", "card", "4539 1488 0343 6467"),
        ("4539148803436467", "card", "4539148803436467"),
        ("amex 3782-822463-10005.", "card", "3782-822463-10005"),
        ("IBAN DE89 3704 0044 0532 0130 00 IS MINE", "iban", "DE89 3704 0044 0532 0130 00"),
        ("to GB82WEST12345698765432", "iban", "GB82WEST12345698765432"),
        ("my ssn is 536-90-4399", "ssn", "536-90-4399"),
        ("SSN: 536904399", "ssn", "536904399"),
    ],
)
def test_strong_identifiers_are_privacy_on_their_own(text: str, kind: str, shows: str) -> None:
    assert kinds(text).get(kind) == shows
    (finding,) = PATTERNS.findings(text, "keyword")
    assert (finding.category, finding.reason, finding.score) == ("privacy", f"identifier:{kind}", 0.95)
    assert finding.span is not None
    assert text[finding.span.start : finding.span.end] == shows


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("call me at (415) 555-2671", "phone"),
        ("+44 20 7946 0958", "phone"),
        ("ring 4155552671", "phone"),
        ("write to jane.doe@example.org", "email"),
        ("he lives at 12 Baker Street, London", "address"),
        ("Hauptstraße 12a, Berlin", "address"),
        ("from 93.184.215.14 yesterday", "ip"),
        ("passport number C01X00T47", "document"),
        ("driver's license D1234567", "document"),
    ],
)
def test_weak_identifiers_are_seen_but_stay_low(text: str, kind: str) -> None:
    assert kind in kinds(text)
    assert top(text) <= 0.35


@pytest.mark.parametrize(
    "text",
    [
        "ISBN 978-3-16-148410-0",
        "order 4539148803436467",
        "tracking number 1Z999AA10123456784",
        "2024-01-31T12:30:45.123456Z",
        "1706704245123",
        "pi is 3.14159265358979323846",
        "version 10.15.7.1 and v1.2.3.4",
        "Avogadro: 6.02214076e23, 299792458 m/s",
        "in 1999, 2001 and 2024",
        "123-45-6789 and 078-05-1120",
        "000-12-3456, 666-12-3456, 900-12-3456",
        "4539 1488 0343 6468",
        "DE89 3704 0044 0532 0130 01",
        "192.168.0.1 and 127.0.0.1",
        "commit 4f3c2b1a09d8e7f6a5b4c3d2e1f0",
        "https://example.org/4539148803436467",
        "there are 1,234,567 ways",
        "he scored 10-12-2020",
    ],
)
def test_other_numbers_are_innocent(text: str) -> None:
    assert top(text) == 0.0


def test_two_strong_kinds_weigh_more_than_one() -> None:
    assert top("ssn 536-90-4399, card 4539 1488 0343 6467") > 0.95


def test_three_weak_kinds_together_weigh_more_than_each() -> None:
    together = "Jane: (415) 555-2671, jane@example.org, 12 Baker Street"
    assert top(together) == 0.6
    apart = "(415) 555-2671" + " word" * 300 + " jane@example.org" + " word" * 300 + " 12 Baker Street"
    assert top(apart) <= 0.3
    assert top("a@example.org b@example.org c@example.org d@example.org") == 0.15


def test_findings_are_bounded() -> None:
    assert len(PATTERNS.findings("jane@example.org 415-555-2671 " * 2_000, "keyword")) <= MAX_FINDINGS


def test_kinds_can_be_left_out() -> None:
    assert IdentifierPatterns(kinds=frozenset({"email"})).identifiers("4539 1488 0343 6467") == []


@pytest.mark.parametrize(
    "piece",
    ["1", "4111 ", "1234567 ", "a@", "a.a.", "12 Baker ", "(415) ", "DE89 3704 ", "1.1.1.1.", "passport ", "A1"],
)
def test_long_and_hostile_texts_come_to_an_end(piece: str) -> None:
    text = (piece * 100_000)[:100_000]
    assert len(PATTERNS.findings(text, "keyword")) <= MAX_FINDINGS


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("0123456789٣４ -.()+@aZ/ßéStreet,:#DEGB"), max_size=120))
def test_spans_lie_inside_and_do_not_overlap(text: str) -> None:
    seen = sorted(PATTERNS.identifiers(text), key=lambda one: one.start)
    for one in seen:
        assert 0 <= one.start < one.end <= len(text)
        assert 0.0 < one.score <= 1.0
    for one, other in pairwise(seen):
        assert one.end <= other.start


@settings(deadline=None)
@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert all(0.0 < finding.score <= 1.0 for finding in PATTERNS.findings(text, "keyword"))


@pytest.mark.parametrize("dash", ["\u2010", "\u2011", "\u2013"])
def test_a_typeset_dash_parts_digits_as_a_hyphen_does(dash: str) -> None:
    (card,) = IdentifierPatterns().identifiers(dash.join(["4111", "1111", "1111", "1111"]))
    assert (card.kind, card.score) == ("card", 0.95)
