"""The official OpenAI client's chat completions through a real server to an upstream with its faults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from starlette.types import Receive, Scope, Send

from service.api.chat_events import ChatEditor
from service.api.chat_whole import from_events, to_events
from service.app import create_app
from service.config import Settings
from tests.api.reply_driver import edit
from tests.api.test_relay import CALM, HARM, RelayRuntime, Served, _answer

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "prompt_tokens_details": {"cached_tokens": 1}}


def chunk(delta: dict[str, Any], index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish, **more}
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "obfuscation": "xyz"}
    return {**base, "choices": [choice]}


def said(text: str, name: str = "content", index: int = 0, size: int = 5) -> list[dict[str, Any]]:
    return [chunk({name: text[at : at + size]}, index) for at in range(0, len(text), size)]


def tool(arguments: str, name: str = "find") -> list[dict[str, Any]]:
    start = {"index": 0, "id": "t1", "type": "function", "function": {"name": name, "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": piece}} for piece in (arguments[:4], arguments[4:])]
    return [chunk({"tool_calls": [call]}) for call in (start, *pieces)]


OTHER = {"token": "unchosen", "logprob": -2.0, "bytes": None}


def logged(*tokens: str) -> list[dict[str, Any]]:
    entries = [{"token": t, "logprob": -0.1, "bytes": list(t.encode()), "top_logprobs": [OTHER]} for t in tokens]
    return [chunk({"content": e["token"]}, logprobs={"content": [e], "refusal": None}) for e in entries]


END = [chunk({}, finish="stop")]
SCRIPTS: dict[str, list[dict[str, Any]]] = {
    "clean": [chunk({"role": "assistant", "content": ""}), *said(CALM + CALM), *END],
    "harm": [*said(CALM + HARM + CALM), *END],
    "two": [*said(CALM, index=0), *said(CALM + HARM, index=1), *END, chunk({}, 1, "stop")],
    "tool": [*tool('{"a": "calm"}'), chunk({}, finish="tool_calls")],
    "harmful-tool": [*tool('{"a": "a threat to you"}'), chunk({}, finish="tool_calls")],
    "harmful-name": [*tool("{}", "threat"), chunk({}, finish="tool_calls")],
    "thinks": [*said("Let me see.", "reasoning_content"), *said(CALM), *END],
    "thinks-harm": [*said(f"Let me see. {HARM}", "reasoning_content"), *said(CALM), *END],
    "dangling": [chunk({"content": CALM}, finish=""), chunk({"content": CALM}, finish=""), *END],
    "refuses": [*said("No, I will not.", "refusal"), *END],
    "unknown": [chunk({"content": CALM, "odd": HARM}), *END],
    "logged": [*logged("The ", "ferry left", ". Zo", "ë too."), *END],
    "logged-harm": [*logged("The ferry ", "left at nine today. ", "A threat", " too."), *END],
}


class FakeModel:
    """An upstream: what it says hangs on the model's name, and `x:y` is script x with fault y."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while (received := await receive())["type"] == "http.request":
            body += received["body"]
            if not received["more_body"]:
                break
        wanted = json.loads(body)
        self.asked.append(wanted)
        self.bodies.append(body)
        name, _, fault = wanted["model"].partition(":")
        events = SCRIPTS[name] + [{**chunk({}), "choices": [], "usage": USAGE}]
        if not wanted.get("stream"):
            await _answer(send, 200, "application/json", json.dumps({**from_events(events)}).encode())
            return
        frames = [f"data: {json.dumps(event)}\n\n".encode() for event in events] + [b"data: [DONE]\n\n"]
        if fault == "no-done":
            frames.pop()
        if fault == "cut":
            frames = frames[:4]
        if fault == "broken":
            frames[4] = b"data: {\n\n"
        if fault == "error":
            frames[4] = b'data: {"error": {"message": "quoted words", "code": 500}}\n\n'
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for frame in frames:
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Bench:
    """The client, and what the upstream saw."""

    def __init__(self, client: openai.OpenAI, model: FakeModel) -> None:
        self.client, self.model = client, model

    def plain(self, model: str, prompt: str = "Hello?", **more: Any) -> list[Any]:
        wanted: Any = [{"role": "user", "content": prompt}]
        return list(self.client.chat.completions.create(model=model, messages=wanted, stream=True, **more))

    def whole(self, model: str, prompt: str = "Hello?", **more: Any) -> Any:
        wanted: Any = [{"role": "user", "content": prompt}]
        return self.client.chat.completions.create(model=model, messages=wanted, **more)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    model, runtime = FakeModel(), RelayRuntime(Settings())
    upstream = Served(model)
    runtime.url = upstream.url
    weir = Served(create_app(runtime.settings, runtime=runtime))
    with openai.OpenAI(base_url=f"{weir.url}/v1", api_key="theirs", max_retries=0) as client:
        yield Bench(client, model)
    weir.stop()
    upstream.stop()


def text_of(chunks: list[Any], name: str = "content", index: int = 0) -> str:
    choices = [choice for found in chunks for choice in found.choices if choice.index == index]
    return "".join(getattr(choice.delta, name, None) or "" for choice in choices)


def finish_of(chunks: list[Any], index: int = 0) -> list[str]:
    choices = [choice for found in chunks for choice in found.choices if choice.index == index]
    return [choice.finish_reason for choice in choices if choice.finish_reason]


def test_a_clean_reply_passes_whole(bench: Bench) -> None:
    chunks = bench.plain("clean", stream_options={"include_usage": True})
    assert (text_of(chunks), finish_of(chunks)) == (CALM * 2, ["stop"])
    assert chunks[-1].usage.to_dict() == USAGE
    assert "xyz" not in "".join(found.to_json() for found in chunks)
    whole = bench.whole("clean")
    assert (whole.choices[0].message.content, whole.usage.total_tokens) == (CALM * 2, 5)
    with bench.client.chat.completions.stream(model="clean", messages=[{"role": "user", "content": "Hi"}]) as reading:
        assert reading.get_final_completion().choices[0].message.content == CALM * 2


def test_harm_is_stopped_at_the_sentence_before(bench: Bench) -> None:
    chunks = bench.plain("harm", stream_options={"include_usage": True})
    assert (text_of(chunks), finish_of(chunks)) == (CALM.strip(), ["content_filter"])
    assert chunks[-1].usage is None
    whole = bench.whole("harm")
    assert whole.choices[0].finish_reason == "content_filter"
    assert HARM.strip() not in whole.to_json()
    with (
        bench.client.chat.completions.stream(model="harm", messages=[{"role": "user", "content": "Hi"}]) as reading,
        pytest.raises(openai.ContentFilterFinishReasonError),
    ):
        reading.get_final_completion()


def test_every_choice_is_judged(bench: Bench) -> None:
    chunks = bench.plain("two", n=2)
    assert "threat" not in text_of(chunks, index=1)
    assert finish_of(chunks, 1) == ["content_filter"]
    assert CALM.startswith(text_of(chunks, index=0))


@pytest.mark.parametrize("model", ["harmful-tool", "harmful-name"])
def test_tool_calls_are_judged(bench: Bench, model: str) -> None:
    assert finish_of(bench.plain(model)) == ["content_filter"]
    chunks = bench.plain(model)
    calls = [call for found in chunks for choice in found.choices for call in choice.delta.tool_calls or ()]
    assert "threat" not in "".join(call.to_json() for call in calls)
    message = bench.whole(model).choices[0].message
    assert "threat" not in message.to_json()


def test_an_empty_finish_reason_ends_nothing(bench: Bench) -> None:
    got = bench.plain("dangling")
    assert (text_of(got), finish_of(got)) == (CALM * 2, ["stop"])


def test_a_clean_tool_call_passes(bench: Bench) -> None:
    message = bench.whole("tool").choices[0].message
    assert message.content is None
    assert [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls] == [
        ("t1", "find", '{"a": "calm"}')
    ]
    chunks = bench.plain("tool")
    calls = [call for found in chunks for choice in found.choices for call in choice.delta.tool_calls or ()]
    assert "".join(call.function.arguments for call in calls) == '{"a": "calm"}'
    assert finish_of(chunks) == ["tool_calls"]


def test_reasoning_and_refusals_are_judged(bench: Bench) -> None:
    chunks = bench.plain("thinks")
    assert (text_of(chunks, "reasoning_content"), text_of(chunks)) == ("Let me see.", CALM)
    stopped = bench.plain("thinks-harm")
    assert (finish_of(stopped), text_of(stopped)) == (["content_filter"], "")
    assert "threat" not in text_of(stopped, "reasoning_content")
    assert text_of(bench.plain("refuses"), "refusal") == "No, I will not."


def test_a_field_of_an_unknown_name_is_dropped(bench: Bench) -> None:
    assert "threat" not in "".join(found.to_json() for found in bench.plain("unknown"))


def test_log_probabilities_leave_with_their_text(bench: Bench) -> None:
    def tokens(chunks: list[Any]) -> list[str]:
        found = [choice.logprobs for each in chunks for choice in each.choices if choice.logprobs]
        return [entry.token for logprobs in found for entry in logprobs.content]

    logged_whole = bench.plain("logged")
    assert tokens(logged_whole) == ["The ", "ferry left", ". Zo", "ë too."]
    assert "unchosen" not in "".join(found.to_json() for found in logged_whole)  # nobody has judged it
    stopped = bench.plain("logged-harm")
    assert tokens(stopped) == ["The ferry "]
    assert text_of(stopped) == "The ferry left at nine today."


def test_a_blocked_prompt_never_reaches_the_upstream(bench: Bench) -> None:
    before = len(bench.model.asked)
    chunks = bench.plain("clean", HARM, n=2)
    assert [finish_of(chunks, index) for index in (0, 1)] == [["content_filter"]] * 2
    whole = bench.whole("clean", HARM)
    assert (whole.choices[0].finish_reason, whole.choices[0].message.content) == ("content_filter", None)
    assert whole.to_dict()["x_weir"]["action"] == "block"  # type: ignore[index]
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": CALM}, {"type": "text", "text": HARM}]}]
    assert bench.client.chat.completions.create(model="clean", messages=parts).choices[0].message.content is None
    assert len(bench.model.asked) == before


def test_the_upstream_gets_what_was_judged_and_no_other_reading_of_it(bench: Bench) -> None:
    def messages(text: str) -> str:
        return json.dumps([{"role": "user", "content": text}])

    body = f'{{"model": "clean", "messages": {messages(HARM)}, "messages": {messages(CALM)}}}'
    answer = httpx.post(f"{bench.client.base_url}chat/completions", content=body)
    assert answer.status_code == 200
    assert b"threat" not in bench.model.bodies[-1]
    answer = httpx.post(
        f"{bench.client.base_url}chat/completions",
        content=f'{{"model": "clean", "top_p": 1e999, "messages": {messages(CALM)}}}',
    )
    assert (answer.status_code, len(bench.model.bodies)) == (400, len(bench.model.asked))


def test_what_cannot_be_judged_is_refused(bench: Bench) -> None:
    sound: Any = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA"}}]}]
    with pytest.raises(openai.BadRequestError) as caught:
        bench.client.chat.completions.create(model="clean", messages=sound)
    assert caught.value.code == "unjudged_content"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("no-done", "upstream_cut"),
        ("cut", "upstream_cut"),
        ("broken", "upstream_malformed"),
        ("error", "upstream_error"),
    ],
)
def test_faults_in_the_middle_are_explicit(bench: Bench, fault: str, code: str) -> None:
    with pytest.raises(openai.APIError) as caught:
        bench.plain(f"clean:{fault}")
    assert caught.value.code == code
    assert "quoted" not in str(caught.value.body)


@pytest.mark.parametrize("name", ["thinks", "logged", "tool", "two"])
def test_a_whole_reply_survives_the_way_through_an_editor(name: str) -> None:
    whole = from_events(SCRIPTS[name])
    left = edit(ChatEditor({"model": "m"}), to_events(whole))
    for choice, passed in zip(whole["choices"], from_events(left)["choices"], strict=True):
        assert passed["message"] == choice["message"]
        assert passed["finish_reason"] == choice["finish_reason"]
        entries = (choice["logprobs"] or {}).get("content")
        chosen = entries and [{**entry, "top_logprobs": []} for entry in entries]
        assert (passed["logprobs"] or {}).get("content") == chosen
