"""POST /v1/stream over a real server, with a client that reads while it writes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator, MutableMapping
from typing import Any, Self

import httpx
import pytest

from service.api.plain_session import ModeForbidden, stricter_rules
from service.api.plain_stream import EVENTS, LINES, wrapping
from service.app import create_app
from service.config import Settings
from service.errors import BadInput
from service.stream_rules import StreamRules
from tests.fake_runtime import FakeRuntime
from tests.running import Running

CALM = "The ferry left at nine, and the lake was calm. "
HARM = "You will get a threat from me today. "


@pytest.fixture(scope="module")
def small() -> Iterator[Running]:
    """A server with small bounds."""
    with Running(WEIR_MAX_STREAM_CHARS="5000", WEIR_STREAM_IDLE_S="1", WEIR_MAX_STREAMS="2") as running:
        yield running


class Duplex:
    """One request whose body is written bit by bit, and whose reply is read in between."""

    def __init__(self, url: str, path: str = "/v1/stream", content_type: str = "text/plain") -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: weir\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self.socket.sendall(head.encode())
        self._file = self.socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        while self._file.readline().strip():
            pass

    def say(self, text: str) -> None:
        """A chunk of the body."""
        data = text.encode()
        self.socket.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> None:
        """The end of the body."""
        self.socket.sendall(b"0\r\n\r\n")

    def event(self) -> dict[str, Any] | None:
        """The next event; None at the reply's end."""
        size = int(self._file.readline(), 16)
        data = self._file.read(size + 2)[:-2]
        found: dict[str, Any] | None = json.loads(data) if size else None
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *told: object) -> None:
        self._file.close()
        self.socket.close()


def post(url: str, text: str | bytes, query: str = "", **headers: str) -> list[dict[str, Any]]:
    """All events of a body that is sent at once."""
    given = {"content-type": "text/plain", **{name.replace("_", "-"): value for name, value in headers.items()}}
    response = httpx.post(url + "/v1/stream" + query, content=text, headers=given, timeout=30)
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


def test_text_comes_back_while_more_is_still_written(server: str) -> None:
    with Duplex(server) as duplex:
        assert duplex.status == 200
        for _ in range(3):
            duplex.say(CALM + "And ")
            assert (duplex.event() or {})["type"] == "text"
        duplex.end()
        events = []
        while (event := duplex.event()) is not None:
            events.append(event)
    last = events[-1]
    assert last["type"] == "end" and last["action"] == "allow" and last["receipt"] and last["categories"] == []
    assert last["characters"] == last["released"] == 3 * len(CALM + "And ")
    assert last["policy_version"] == "default-1"


def test_a_silence_relieves_what_is_held_up_to_its_last_word(server: str) -> None:
    with Duplex(server) as duplex:
        duplex.say("The ferry left at ni")
        assert duplex.event() == {"type": "text", "text": "The ferry left at "}


def test_a_block_stops_the_text_while_its_writer_goes_on(server: str) -> None:
    with Duplex(server) as duplex:
        duplex.say(CALM + HARM + CALM)
        assert duplex.event() == {"type": "text", "text": CALM.rstrip()}
        stop = duplex.event()
        duplex.say(CALM)
        duplex.end()
        assert duplex.event() is None
    assert stop is not None and stop["type"] == "stop" and stop["action"] == "block" and stop["receipt"]
    assert stop["categories"] == ["harassment", "harassment/threatening"] and "threat" not in stop["explanation"][:9]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", CALM),
        (LINES, json.dumps({"text": CALM[:9]}) + "\n\n" + json.dumps(CALM[9:])),
        (EVENTS, ": hello\n\ndata: " + json.dumps({"text": CALM}) + "\n\ndata: [DONE]\n\n"),
    ],
)
def test_every_wrapping_means_the_same(server: str, kind: str, body: str) -> None:
    events = post(server, body, content_type=kind)
    assert "".join(event["text"] for event in events[:-1]) == CALM and events[-1]["type"] == "end"


def test_events_are_server_sent_where_they_are_asked_for(server: str) -> None:
    response = httpx.post(server + "/v1/stream", content=CALM, headers={"accept": EVENTS})
    assert response.headers["content-type"].startswith(EVENTS)
    assert response.text.startswith('event: text\ndata: {"type":"text",') and response.text.endswith("}\n\n")
    assert wrapping("*/*") == LINES and wrapping(f"{EVENTS};q=0, */*") == LINES and wrapping(f"a/b, {EVENTS}") == EVENTS


def test_a_policy_masks_and_a_caller_may_only_be_stricter(server: str) -> None:
    events = post(server, CALM + HARM + CALM, "?policy=masked")
    text = "".join(event.get("text", "") for event in events)
    assert "threat" not in text and "[removed]" in text and text.count(CALM) == 2
    assert events[-1]["type"] == "end" and events[-1]["action"] == "block" and events[-1]["receipt"]
    assert post(server, CALM + HARM, "?mode=stop", x_weir_policy="masked")[-1]["type"] == "stop"
    with pytest.raises(ModeForbidden):
        stricter_rules(StreamRules(mode="redact"), "observe")
    with pytest.raises(BadInput):
        stricter_rules(StreamRules(), "pass")


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ("?mode=observe", {}, 403, "mode_forbidden"),
        ("?mode=none", {}, 400, "invalid_request"),
        ("?role=king", {}, 400, "invalid_request"),
        ("?secret=1", {}, 400, "invalid_request"),
        ("?policy=nothing", {}, 404, "unknown_policy"),
        ("", {"content-type": "image/png"}, 415, "unsupported_media_type"),
        ("", {"content-type": "text/plain; charset=latin-1"}, 415, "unsupported_media_type"),
    ],
)
def test_what_is_wrong_before_the_text_is_an_http_error(
    server: str, query: str, headers: dict[str, str], status: int, code: str
) -> None:
    response = httpx.post(server + "/v1/stream" + query, content=CALM, headers=headers)
    assert response.status_code == status and response.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        (LINES, '{"text": 1}\n', "invalid_request"),
        (LINES, '{"text": "a', "invalid_json"),
        ("text/plain", b"\xff", "invalid_request"),
        ("text/plain", CALM + "overload " + CALM, "overloaded"),
        ("text/plain", CALM + "surprise " + CALM, "internal_error"),
    ],
)
def test_what_is_wrong_in_the_text_is_an_error_event(server: str, kind: str, body: str, code: str) -> None:
    last = post(server, body, content_type=kind)[-1]
    assert last["type"] == "error" and last["code"] == code and "surprise" not in last["message"]


def test_no_text_is_an_end(server: str) -> None:
    assert [event["type"] for event in post(server, "")] == ["end"]


def test_a_text_is_longer_than_a_body_elsewhere_may_be(server: str) -> None:
    text = (CALM * 100 + "x" * 1000 + " ") * 30
    padded = "".join(
        json.dumps({"text": part}) + " " * 7000 + "\n"
        for part in (text[n : n + 1000] for n in range(0, len(text), 1000))
    )
    assert len(padded) > 1 << 20
    events = post(server, padded, content_type=LINES)
    assert "".join(event.get("text", "") for event in events) == text and events[-1]["type"] == "end"


def test_length_silence_and_number_are_bounded(small: Running) -> None:
    events = post(small.url, CALM * 1000)
    assert events[-1]["code"] == "text_too_long"
    with Duplex(small.url) as first, Duplex(small.url) as second:
        assert post(small.url, CALM)[-1]["code"] == "overloaded"
        first.say("A word")
        assert [(duplex.event() or {})["type"] for duplex in (first, second)] == ["text", "error"]
        assert (first.event() or {})["code"] == "stream_idle"


def test_whoever_leaves_leaves_nothing_behind(small: Running) -> None:
    for _ in range(2):
        with Duplex(small.url) as duplex:
            duplex.say(CALM + "And ")
            assert duplex.event() is not None
    while "weir_streams_in_flight 0.0" not in httpx.get(small.url + "/metrics").text:
        pass
    assert post(small.url, CALM)[-1]["type"] == "end"
    assert "ferry" not in small.log() and "a stream broke" not in small.log()


async def test_a_reader_that_takes_nothing_is_read_from_no_further_and_let_go() -> None:
    runtime = FakeRuntime(Settings(stream_idle_s=0.2))
    app = create_app(runtime.settings, runtime=runtime)
    received = 0

    async def receive() -> dict[str, Any]:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": CALM.encode(), "more_body": True}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    before = asyncio.all_tasks()
    scope = {"type": "http", "method": "POST", "path": "/v1/stream", "query_string": b"", "headers": []}
    await app({**scope, "http_version": "1.1", "scheme": "http"}, receive, send)
    for _ in range(10):  # generators that were left are closed by the event loop
        await asyncio.sleep(0)
    assert received < 10
    assert asyncio.all_tasks() == before
