"""Official clients through a real server to an upstream that speaks their dialect, with its faults."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service.api.relay import spent_headers
from service.app import create_app
from service.backends.upstream import Upstream, UpstreamClient, UpstreamKind
from service.config import ApiKey, Settings
from tests.api.test_messages_events import USAGE, reply, text, thinking, tool
from tests.api.test_responses_events import call, message, reasoning, response
from tests.api.test_responses_events import reply as response_reply
from tests.fake_runtime import FakeRuntime

CALM = "The ferry left at nine, and the lake was calm. "
HARM = "You will get a threat from me today. "
SPLIT = f"Hello there, {'q' * 25}threat is here."  # after 40 characters, in the middle of a word


@dataclass
class FakeModel:
    """An upstream: what it does hangs on the model's name. It remembers requests, and who left early."""

    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while (received := await receive())["type"] == "http.request":
            body += received["body"]
            if not received["more_body"]:
                break
        wanted = json.loads(body)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((scope["path"], headers, wanted))
        model, events = wanted["model"], _events(scope["path"], wanted["model"])
        if model == "refused":
            await _answer(send, 429, "application/json", b'{"error":{"type":"rate_limit_error","message":"quoted"}}')
        elif model == "page":
            await _answer(send, 200, "text/html", b"<html>sign in</html>")
        elif not wanted.get("stream"):
            await _answer(send, 200, "application/json", json.dumps(_whole(scope["path"], events, model)).encode())
        else:
            await self._stream(events, model, receive, send)

    async def _stream(self, events: list[dict[str, Any]], model: str, receive: Receive, send: Send) -> None:
        frames = [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]
        if model == "malformed":
            frames[5] = b"event: x\ndata: {broken\n\n"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for frame in frames[: 5 if model in ("cut", "stall") else None]:
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        if model == "stall":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _events(path: str, model: str) -> list[dict[str, Any]]:
    pieces = {"harm": [CALM, HARM, CALM], "split": [SPLIT]}.get(model, [CALM, CALM])
    if path == "/v1/messages":
        return reply(thinking(0, "Let me see."), text(1, *pieces), tool(2, '{"a":', "1}"))
    find = call("function_call", "arguments", "function_call_arguments", '{"a":', "1}", name="find", call_id="x")
    return response_reply(reasoning("Let me see."), message(*pieces), find)


def _whole(path: str, events: list[dict[str, Any]], model: str) -> dict[str, Any]:
    if path == "/v1/responses":
        return response("completed", events[-1]["response"]["output"])
    said = CALM + HARM if model == "harm" else CALM
    content = [{"type": "text", "text": said}]
    whole = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": content, "usage": USAGE}
    return {**whole, "stop_reason": "end_turn", "stop_sequence": None}


async def _answer(send: Send, status: int, kind: str, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind.encode())]})
    await send({"type": "http.response.body", "body": body})


class Served:
    """An ASGI application on a free port, in a thread. `close` ends what it opened on its event loop."""

    def __init__(self, app: Any, close: Callable[[], Awaitable[None]] | None = None) -> None:
        config = uvicorn.Config(app, port=0, log_level="error", lifespan="off", timeout_graceful_shutdown=2)
        self.server = uvicorn.Server(config)
        self._close = close
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.thread.start()
        while not self.server.started:
            self.thread.join(0.01)
        host, port = self.server.servers[0].sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}"

    async def _serve(self) -> None:
        await self.server.serve()
        if self._close is not None:
            await self._close()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()


@dataclass
class RelayRuntime(FakeRuntime):
    """A fake runtime with an upstream."""

    url: str = ""
    upstream_client: UpstreamClient = field(default_factory=lambda: UpstreamClient(first_byte_s=5, stall_s=5))

    def upstream(self, kind: UpstreamKind, name: str) -> Upstream:
        return Upstream(name, kind, self.url, "configured")


@dataclass
class Bench:
    """Both clients, and what the upstream saw."""

    model: FakeModel
    runtime: RelayRuntime
    openai: openai.OpenAI
    anthropic: anthropic.Anthropic

    def message(self, model: str, prompt: str = "Hello?") -> Any:
        return self.anthropic.messages.create(model=model, max_tokens=9, messages=[{"role": "user", "content": prompt}])

    def streamed_message(self, model: str, prompt: str = "Hello?") -> anthropic.types.Message:
        wanted: Any = [{"role": "user", "content": prompt}]
        with self.anthropic.messages.stream(model=model, max_tokens=9, messages=wanted) as reading:
            return reading.get_final_message()

    def streamed_response(self, model: str, prompt: str = "Hello?") -> list[Any]:
        with self.openai.responses.stream(model=model, input=prompt) as reading:
            return list(reading)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    model, runtime = FakeModel(), RelayRuntime(Settings())
    upstream = Served(model)
    runtime.url = upstream.url
    weir = Served(create_app(runtime.settings, runtime=runtime), runtime.upstream_client.close)
    with (
        openai.OpenAI(base_url=f"{weir.url}/v1", api_key="theirs", max_retries=0) as one,
        anthropic.Anthropic(base_url=weir.url, api_key="theirs", max_retries=0) as other,
    ):
        yield Bench(model, runtime, one, other)
    weir.stop()
    upstream.stop()


def test_clean_replies_pass_whole(bench: Bench) -> None:
    got = bench.streamed_message("m")
    assert [block.type for block in got.content] == ["thinking", "text", "tool_use"]
    assert (got.content[1].text, got.stop_reason) == (CALM * 2, "end_turn")  # type: ignore[union-attr]
    final = bench.streamed_response("m")[-1].response
    assert (final.output_text, final.output[2].arguments, final.status) == (CALM * 2, '{"a":1}', "completed")
    assert bench.message("m").content[0].text == CALM
    assert bench.openai.responses.create(model="m", input="Hello?").output_text == CALM * 2
    plain = list(bench.openai.responses.create(model="m", input="Hello?", stream=True))
    assert [event.sequence_number for event in plain] == list(range(len(plain)))


def test_harm_is_stopped_in_every_form(bench: Bench) -> None:
    got = bench.streamed_message("harm")
    assert got.stop_reason == "refusal" and got.stop_details is not None
    last = bench.streamed_response("harm")[-1]
    assert (last.type, last.response.incomplete_details.reason) == ("response.incomplete", "content_filter")
    assert last.response.output_text == CALM.strip() and last.response.to_dict()["x_weir"]["action"] == "block"
    whole = bench.message("harm")
    assert whole.stop_reason == "refusal" and HARM.strip() not in whole.to_json()
    other = bench.openai.responses.create(model="harm", input="Hello?")
    assert other.status == "incomplete" and HARM.strip() not in other.to_json()


def test_a_blocked_prompt_never_reaches_the_upstream(bench: Bench) -> None:
    before = len(bench.model.asked)
    assert bench.streamed_message("m", HARM).stop_reason == "refusal"
    assert bench.message("m", HARM).stop_reason == "refusal"
    assert bench.streamed_response("m", HARM)[-1].type == "response.incomplete"
    assert bench.openai.responses.create(model="m", input=HARM).status == "incomplete"
    assert len(bench.model.asked) == before


def test_the_callers_key_and_version_go_on_in_the_upstreams_form(bench: Bench) -> None:
    bench.message("m")
    path, headers, _ = bench.model.asked[-1]
    assert path == "/v1/messages" and headers["x-api-key"] == "theirs" and "anthropic-version" in headers
    bench.openai.responses.create(model="m", input="Hello?")
    assert bench.model.asked[-1][1]["authorization"] == "Bearer theirs"


@pytest.mark.parametrize(("model", "code"), [("cut", "upstream_cut"), ("malformed", "upstream_malformed")])
def test_faults_in_the_middle_are_explicit(bench: Bench, model: str, code: str) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        bench.streamed_message(model)
    assert caught.value.body["error"]["code"] == code  # type: ignore[index]
    last = bench.streamed_response(model)[-1]
    assert (last.type, last.response.error.code) == ("response.failed", code)


def test_faults_before_the_first_byte_are_statuses(bench: Bench) -> None:
    with pytest.raises(anthropic.RateLimitError) as caught:
        bench.streamed_message("refused")
    assert "quoted" not in str(caught.value.body)
    with pytest.raises(openai.RateLimitError):
        bench.openai.responses.create(model="refused", input="Hello?")
    rejections = bench.runtime.metrics.render().decode()
    assert 'weir_rejections_total{code="upstream_refused"}' in rejections and "rate_limit_error" not in rejections
    with pytest.raises(openai.InternalServerError) as page:
        bench.streamed_response("page")
    assert page.value.code == "upstream_malformed"
    with pytest.raises(anthropic.InternalServerError):
        bench.message("page")


def test_what_cannot_be_judged_is_refused_in_the_dialect(bench: Bench) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        bench.openai.responses.create(model="m", input="x", previous_response_id="r")
    assert caught.value.code == "unjudged_content"
    image: Any = [{"type": "image", "source": {"type": "file", "file_id": "x"}}]
    with pytest.raises(anthropic.BadRequestError) as other:
        bench.anthropic.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": image}])
    assert other.value.body["error"]["code"] == "unjudged_content"  # type: ignore[index]


def test_a_key_of_weirs_never_goes_on() -> None:
    settings = Settings(api_keys=(ApiKey("app", hashlib.sha256(b"weir").hexdigest()),))
    spent = spent_headers([("authorization", "Bearer weir"), ("x-api-key", "theirs")], settings)
    assert spent == {"authorization"}
    assert spent_headers([("x-weir-key", "weir"), ("x-api-key", "weir")], settings) == {"x-api-key"}
    assert spent_headers([("authorization", "Bearer weir")], Settings()) == frozenset()
    accented = Settings(api_keys=(ApiKey("app", hashlib.sha256("clé".encode()).hexdigest()),))
    as_it_came = "clé".encode().decode("latin-1")
    assert spent_headers([("authorization", f"Bearer {as_it_came}")], accented) == {"authorization"}


def test_who_leaves_closes_the_upstream(bench: Bench) -> None:
    bench.model.left.clear()
    reading = bench.openai.responses.create(model="stall", input="Hello?", stream=True)
    next(iter(reading))
    reading.close()
    assert bench.model.left.wait(5)
