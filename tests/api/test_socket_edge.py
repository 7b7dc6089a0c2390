"""The edge of WebSockets, with a real client over a real server: who is refused before the upgrade, and how."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from service.api.socket_edge import KEY_PROTOCOL, close_code, may_open
from service.errors import BadInput, BodyTooLarge, Draining, Overloaded, WeirError
from tests.running import Running

KEY = "the-key"
FRIEND = "https://friend.example"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Running]:
    """A server that wants a key, and names one page."""
    keys = f"socket:{hashlib.sha256(KEY.encode()).hexdigest()}"
    with Running(WEIR_API_KEYS=keys, WEIR_CORS_ORIGINS=FRIEND) as running:
        yield running


def refusal(guarded: Running, **options: object) -> tuple[int, str]:
    """Status and body of the answer in place of an upgrade; no route of this path takes a socket."""
    with pytest.raises(InvalidStatus) as refused:
        connect(guarded.url.replace("http", "ws") + "/v1/nothing", **options)  # type: ignore[arg-type]
    response = refused.value.response
    return response.status_code, response.body.decode()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"additional_headers": {"X-Weir-Key": "wrong"}},
        {"subprotocols": [KEY_PROTOCOL + "wrong"]},
    ],
)
def test_without_a_key_nothing_is_opened(guarded: Running, options: dict[str, object]) -> None:
    status, body = refusal(guarded, **options)
    assert status == 401 and "invalid_api_key" in body
    assert "wrong" not in body


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_a_foreign_page_opens_nothing_even_with_a_key(guarded: Running, origin: str) -> None:
    status, body = refusal(guarded, origin=origin, additional_headers={"X-Weir-Key": KEY})
    assert status == 403 and "origin_forbidden" in body


@pytest.mark.parametrize(
    "options", [{"additional_headers": {"X-Weir-Key": KEY}, "origin": FRIEND}, {"subprotocols": [KEY_PROTOCOL + KEY]}]
)
def test_whoever_is_let_in_finds_only_what_exists(guarded: Running, options: dict[str, object]) -> None:
    status, body = refusal(guarded, **options)
    assert status == 403 and "error" not in body
    assert KEY not in guarded.log() and "nothing" not in guarded.log()


def test_a_page_may_open_what_its_own_host_serves() -> None:
    assert may_open("", "weir:8000", ())
    assert may_open("http://weir:8000", "weir:8000", ())
    assert may_open("https://any", "weir", ("*",))
    assert not may_open("http://weir:8001", "weir:8000", ())
    assert not may_open("null", "weir:8000", ())


@pytest.mark.parametrize(
    ("error", "code"),
    [(Draining(), 1012), (BodyTooLarge(), 1009), (Overloaded(), 1013), (BadInput(), 1008), (WeirError(), 1011)],
)
def test_a_close_code_says_whose_fault_it_is(error: WeirError, code: int) -> None:
    assert close_code(error) == code
