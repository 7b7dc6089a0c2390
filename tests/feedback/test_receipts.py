"""Receipts: what they say, whom they believe, and what they do not hold."""

from __future__ import annotations

import base64
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ReceiptExpired, ReceiptInvalid
from service.feedback.receipts import DAY_S, Receipts
from service.taxonomy import CATEGORIES, Action
from service.types import Content, Judgement, Turn, Verdict

NOW = 1_800_000_000.0
SCORES = {name: place / len(CATEGORIES) for place, name in enumerate(CATEGORIES)}
TEXT = "a text that nobody is to find again"


def receipts(*secrets: bytes, days: float = 30) -> Receipts:
    return Receipts(secrets or (b"a secret",), days=days)


def verdict(**more: object) -> Verdict:
    judgements = tuple(Judgement(name, SCORES[name], 0.4, Action(place % 4)) for place, name in enumerate(CATEGORIES))
    made = Verdict(Action.BLOCK, judgements, (), "kids", "kids-0123456789ab", "tiny@0123456789ab", "en")
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def issue(maker: Receipts, content: Content | None = None, made: Verdict | None = None, **more: object) -> str:
    given = {"made": NOW, "identity": b"123456789012", "audited": True, "audit_share": 0.025, **more}
    return maker.issue(content or Content(TEXT), made or verdict(), **given)  # type: ignore[arg-type]


def test_it_says_what_the_verdict_was() -> None:
    shadow = {name: 1 - score for name, score in SCORES.items()}
    content = Content(TEXT, role="user")
    receipt = receipts().open(issue(receipts(), content, shadow=shadow), NOW)
    assert receipt.id == b"123456789012".hex() and receipt.made == NOW
    assert (receipt.policy, receipt.policy_version, receipt.artifact) == (
        "kids",
        "kids-0123456789ab",
        "tiny@0123456789ab",
    )
    assert (receipt.action, receipt.kind, receipt.audited, receipt.audit_share) == (Action.BLOCK, "prompt", True, 0.025)
    assert receipt.scores == pytest.approx(SCORES, abs=1e-5) and receipt.shadow == pytest.approx(shadow, abs=1e-5)
    assert receipt.actions == {name: Action(place % 4) for place, name in enumerate(CATEGORIES)}
    assert receipt.whole and receipts().open(issue(receipts(), shadow=None), NOW).shadow is None


def test_a_missing_stage_is_remembered_and_a_language_is_none() -> None:
    for degraded, whole in ((("semantic",), False), (("language:fr",), True), (("language:fr", "context"), False)):
        token = issue(receipts(), made=verdict(degraded=degraded))
        assert receipts().open(token, NOW).whole is whole


def test_it_is_small_and_holds_no_text() -> None:
    token = issue(receipts(), Content("hidden words " * 1000))
    assert len(token) < 256
    assert b"hidden" not in base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    # Whoever knows the text but not the secret cannot tell that this is its receipt.
    other = receipts(b"another secret").open(issue(receipts(b"another secret")), NOW)
    assert receipts().open(issue(receipts()), NOW).content != other.content


@given(st.integers(min_value=0), st.integers(1, 255))
def test_any_altered_byte_is_refused(place: int, change: int) -> None:
    token = issue(receipts())
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[place % len(raw)] ^= change
    with pytest.raises(ReceiptInvalid):
        receipts().open(base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), NOW)


def test_every_other_spelling_is_refused() -> None:
    """Also those that decode to the same bytes: base64 has padding, spare bits and two alphabets."""
    token = issue(receipts(), identity=b"12345678901?")
    last = token[-1]
    variants = [token + "=", token + "==", token[:-1], token + "A", " " + token, token + "\n", token * 6, "", "é", "*"]
    variants += [token[:-1] + chr(other) for other in range(33, 127) if chr(other) != last]
    for variant in variants:
        with pytest.raises(ReceiptInvalid):
            receipts().open(variant, NOW)
    assert receipts().open(token, NOW).policy == "kids"


@given(st.text(max_size=300))
def test_nonsense_is_refused(token: str) -> None:
    with pytest.raises(ReceiptInvalid):
        receipts().open(token, NOW)


def test_another_secret_is_refused_and_rotation_takes_both() -> None:
    old, new = receipts(b"old"), receipts(b"new")
    rotated = receipts(b"new", b"old")
    assert rotated.open(issue(old), NOW).id == rotated.open(issue(new), NOW).id
    assert new.open(issue(rotated), NOW)  # the first one signs
    for refusing, token in ((new, issue(old)), (old, issue(rotated))):
        with pytest.raises(ReceiptInvalid):
            refusing.open(token, NOW)


def test_an_old_one_is_told_that_it_is_old() -> None:
    token = issue(receipts())
    assert receipts(days=2).open(token, NOW + 2 * DAY_S)
    with pytest.raises(ReceiptExpired, match="2 days"):
        receipts(days=2).open(token, NOW + 2 * DAY_S + 1)


def test_it_belongs_to_one_content() -> None:
    maker = receipts(b"new", b"old")
    content = Content("text \ud800", (Turn("before", "user"),), "assistant", "kids", explain=False)
    receipt = maker.open(issue(receipts(b"old"), content), NOW)  # also after the secret was rotated
    assert maker.belongs(receipt, dataclasses.replace(content, explain=True))
    others = (
        dataclasses.replace(content, text="text"),
        dataclasses.replace(content, role="user"),
        dataclasses.replace(content, context=(Turn("before", ""),)),
        dataclasses.replace(content, context=()),
    )
    assert not any(maker.belongs(receipt, other) for other in others)
    # Parts that only together make the same bytes are not the same.
    one, other = Content("ab", (Turn("c"),)), Content("a", (Turn("bc"),))
    assert not maker.belongs(maker.open(issue(maker, one), NOW), other)


def test_a_content_has_one_name_per_policy_artefact_and_tie() -> None:
    maker = receipts()
    names = {maker.name_content(*parts, tie) for parts in (("a", "m"), ("b", "m"), ("a", "n")) for tie in (b"1", b"2")}
    assert len(names) == 6 and all(name.startswith("content:") for name in names)
    assert maker.name_content("a", "m", b"1") in names
