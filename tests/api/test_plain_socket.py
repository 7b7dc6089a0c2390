"""WebSocket /v1/stream over a real server, with a real client."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from service.api.plain_socket import PROTOCOL
from service.api.socket_edge import KEY_PROTOCOL
from tests.running import Running

CALM = "The ferry left at nine, and the lake was calm. "
HARM = "You will get a threat from me today. "
KEY = "the-key"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Running]:
    """A server that wants a key, and is soon tired of waiting."""
    keys = f"socket:{hashlib.sha256(KEY.encode()).hexdigest()}"
    with Running(WEIR_API_KEYS=keys, WEIR_STREAM_IDLE_S="1", WEIR_MAX_STREAM_CHARS="5000") as running:
        yield running


def opened(guarded: Running, query: str = "") -> ClientConnection:
    """A connection as a page opens it: its key is a subprotocol."""
    url = guarded.url.replace("http", "ws") + "/v1/stream" + query
    return connect(url, subprotocols=[PROTOCOL, KEY_PROTOCOL + KEY], compression=None)  # type: ignore[list-item]


def rest(socket: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """All events to the close, and its code."""
    events = []
    try:
        while True:
            events.append(json.loads(socket.recv(timeout=20)))
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return events, closed.rcvd.code


def said(socket: ClientConnection, *messages: object) -> tuple[list[dict[str, Any]], int]:
    """What comes of these JSON messages."""
    for message in messages:
        socket.send(json.dumps(message))
    return rest(socket)


def test_text_comes_back_between_messages(guarded: Running) -> None:
    with opened(guarded) as socket:
        assert socket.subprotocol == PROTOCOL
        socket.send(json.dumps({"text": CALM + "And "}))
        assert json.loads(socket.recv(timeout=20))["type"] == "text"
        events, code = said(socket, {"end": True})
    assert code == 1000 and events[-1]["type"] == "end" and events[-1]["receipt"]
    assert events[-1]["characters"] == events[-1]["released"] == len(CALM + "And ")


def test_a_block_stops_and_closes(guarded: Running) -> None:
    with opened(guarded) as socket:
        events, code = said(socket, {"text": CALM + HARM + CALM}, {"text": CALM}, {"end": True})
    assert [event["type"] for event in events] == ["text", "stop"] and code == 1000
    assert events[1]["action"] == "block"


def test_text_frames_are_text_whatever_they_look_like(guarded: Running) -> None:
    with opened(guarded, "?format=text") as socket:
        for frame in ('{"end": ', "true}", " is all. ", ""):
            socket.send(frame)
        events, code = rest(socket)
    assert "".join(event.get("text", "") for event in events) == '{"end": true} is all. ' and code == 1000


def test_the_first_message_may_say_what_the_query_may(guarded: Running) -> None:
    with opened(guarded) as socket:
        events, _ = said(socket, {"policy": "masked", "role": "user"}, {"text": CALM + HARM}, {"end": True})
    assert "[removed]" in "".join(event.get("text", "") for event in events) and events[-1]["policy"] == "masked"
    with opened(guarded) as socket:
        assert said(socket, {"mode": "observe"})[1] == 1008
    with opened(guarded, "?policy=masked") as socket:
        assert said(socket, {"mode": "stop"}, {"text": HARM, "end": True})[0][-1]["type"] == "stop"


@pytest.mark.parametrize(("query", "status"), [("?mode=observe", 403), ("?policy=nothing", 404), ("?format=xml", 400)])
def test_what_is_wrong_with_the_request_opens_nothing(guarded: Running, query: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        opened(guarded, query)
    assert refused.value.response.status_code == status


@pytest.mark.parametrize(
    ("message", "code", "close"),
    [
        ("[1]", "invalid_request", 1008),
        ('{"text": 1}', "invalid_request", 1008),
        ('{"text": "a", "more": 1}', "invalid_request", 1008),
        ("{", "invalid_json", 1008),
        (b"{}", "invalid_request", 1008),
        (json.dumps({"text": CALM * 200}), "text_too_long", 1009),
        (json.dumps({"text": CALM + "overload " + CALM * 2}), "overloaded", 1013),
    ],
)
def test_a_fault_is_an_event_and_a_close_code(guarded: Running, message: str | bytes, code: str, close: int) -> None:
    with opened(guarded) as socket:
        socket.send(message)
        events, closed = rest(socket)
    assert closed == close and events[-1]["type"] == "error" and events[-1]["code"] == code


def test_silence_and_long_frames_are_bounded(guarded: Running) -> None:
    with opened(guarded) as socket:
        socket.send(json.dumps({"text": "A word"}))
        events, close = rest(socket)
    assert [event["type"] for event in events] == ["text", "error"] and close == 1008
    with opened(guarded) as socket:
        socket.send("x" * (1 << 18))
        assert rest(socket) == ([], 1009)


def test_whoever_leaves_leaves_nothing_behind(guarded: Running) -> None:
    with opened(guarded) as socket:
        socket.send(json.dumps({"text": CALM + "And "}))
        socket.recv(timeout=20)
    while "weir_streams_in_flight 0.0" not in httpx.get(guarded.url + "/metrics").text:
        pass
    assert "ferry" not in guarded.log() and "unexpected" not in guarded.log()
