"""LiteLLM's guardrail: its actions word for word, what is held of a growing reply, and that nothing is judged twice."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.litellm import PATH
from service.app import create_app
from service.config import ApiKey, Settings
from service.errors import Overloaded
from service.policy import PolicyBook
from service.stream_rules import StreamRules
from service.streaming import MASK
from service.types import Content, Turn, Verdict
from tests.api.conftest import client_of
from tests.fake_runtime import FakeRuntime

CALM = "The ferry left at nine, and the lake was calm. "
HARM = "Then she said how a bomb is put together from that. "


def image(words: str) -> dict[str, Any]:
    """A part: a file whose bytes are words."""
    return {"type": "image_url", "image_url": {"url": data_url(words)}}


def data_url(words: str) -> str:
    return "data:image/png;base64," + base64.b64encode(words.encode()).decode()


def under(runtime: FakeRuntime, rules: StreamRules) -> FakeRuntime:
    """The runtime with other rules for growing texts."""
    book = runtime.policies.policies
    runtime.policies = PolicyBook({name: replace(policy, stream=rules) for name, policy in book.items()})
    return runtime


async def ask(client: httpx.AsyncClient, side: str, **fields: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("texts", "images", "tools", "tool_calls", "structured_messages", "model"))
    posted = await client.post(PATH, json={**empty, "input_type": side, "litellm_call_id": "b6a9", **fields})
    assert posted.status_code == 200, posted.text
    reply: dict[str, Any] = posted.json()
    assert reply["action"] in ("NONE", "BLOCKED", "GUARDRAIL_INTERVENED")
    return reply


def said(*turns: tuple[str, Any]) -> dict[str, Any]:
    """Both fields of a prompt, as LiteLLM fills them."""
    texts = [content for _, content in turns if isinstance(content, str)]
    return {"texts": texts, "structured_messages": [{"role": role, "content": content} for role, content in turns]}


async def test_a_prompt_is_judged_in_its_context(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    turns = (("system", "a bomb"), ("user", "Hi"), ("assistant", "Hello."), ("user", "And you?"))
    assert await ask(client, "request", **said(*turns)) == {"action": "NONE"}
    newest = runtime.seen[0]
    assert (newest.text, newest.role) == ("And you?", "user")
    assert newest.context == (Turn("Hi", "user"), Turn("Hello.", "assistant"))
    assert {content.text for content in runtime.seen} == {"And you?", "Hi", "Hello."}  # an operator's words are not


@pytest.mark.parametrize(
    "fields",
    [
        said(("user", "how is a bomb made?")),
        said(("user", "how is a bomb made?"), ("assistant", "No."), ("user", "Please.")),
        said(("user", "Hi"), ("tool", "it says bomb")),
        {"texts": ["a bomb"]},
        {"texts": ["Hi"], "tool_calls": [{"function": {"name": "f", "arguments": '{"x":"b\\u006fmb"}'}}]},
    ],
)
async def test_a_prompt_is_blocked_by_any_of_its_texts(client: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    reply = await ask(client, "request", **fields)
    assert reply["action"] == "BLOCKED"
    assert reply["blocked_reason"] == "The prompt was held back. It looks like help with something illegal."


async def test_earlier_turns_are_judged_once(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    for count in range(1, 4):
        turns = [turn for n in range(count) for turn in (("user", f"Question {n}?"), ("assistant", f"Answer {n}."))]
        await ask(client, "request", **said(*turns[:-1]))
    # Each question as the newest; before the second and third calls' end only what those calls brought along.
    alone = [content.text for content in runtime.seen if not content.context]
    assert sorted(alone) == sorted(["Question 0?", "Question 0?", "Answer 0.", "Question 1?", "Answer 1."])
    assert len(runtime.seen) == 7


async def test_what_an_operator_wrote_is_judged_if_the_policy_says_so(runtime: FakeRuntime) -> None:
    async with client_of(under(runtime, StreamRules(judge_system=True))) as client:
        assert (await ask(client, "request", **said(("system", "a bomb"), ("user", "Hi"))))["action"] == "BLOCKED"
        tools = [{"type": "function", "function": {"name": "f", "description": "makes a bomb"}}]
        assert (await ask(client, "request", texts=["Hi"], tools=tools))["action"] == "BLOCKED"


@pytest.mark.parametrize(
    "fields",
    [
        {"images": ["https://x/a.png"]},
        {"images": ["data:image/png;base64,A"]},
        {"images": [data_url("<svg")], "texts": ["Hi"]},
        said(("user", [{"type": "input_audio", "input_audio": {}}, image("calm")])),
        said(("user", [{"type": "input_image", "file_id": "image"}])),
        said(("system", [image("calm")]), ("user", "Hi")),
        {"images": [data_url(f"calm {n}") for n in range(5)]},
    ],
)
async def test_an_image_that_cannot_be_judged_is_blocked_unless_the_policy_lets_it_pass(
    runtime: FakeRuntime, fields: dict[str, Any]
) -> None:
    async with client_of(runtime) as client:
        reply = await ask(client, "request", **fields)
        assert reply["action"] == "BLOCKED" and "image" in reply["blocked_reason"]
        assert (await ask(client, "response", texts=["Hi"], images=["x"]))["action"] == "BLOCKED"
    if len(fields.get("images", ())) > 4:
        return  # a limit is no policy
    async with client_of(under(runtime, StreamRules(allow_unjudged_parts=True))) as client:
        assert (await ask(client, "request", **fields))["action"] == "NONE"
        assert (await ask(client, "response", texts=["Hi"], images=["x"]))["action"] == "NONE"


async def test_an_image_is_judged_with_the_texts_of_its_turn(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    parts = [{"type": "text", "text": "look"}, image("calm")]
    fields = {**said(("user", parts), ("assistant", "Yes."), ("user", "And?")), "images": [data_url("calm")]}
    assert await ask(client, "request", **fields) == {"action": "NONE"}
    assert [(content.text, content.images) for content in runtime.seen if content.images] == [("look", (b"calm",))]
    assert await ask(client, "request", texts=["Hi"], images=[data_url("calm"), data_url("calm 2")]) == {
        "action": "NONE"
    }
    assert (runtime.seen[-1].text, len(runtime.seen[-1].images)) == ("Hi", 2)


async def test_a_harmful_or_damaged_image_is_blocked_on_either_side(client: httpx.AsyncClient) -> None:
    for words, reason in (("a bomb", "looks like"), ("damaged", "cannot be judged")):
        for fields in (said(("user", [image(words)])), {"images": [data_url(words)], "texts": ["Hi"]}):
            reply = await ask(client, "request", **fields)
            assert reply["action"] == "BLOCKED" and reason in reply["blocked_reason"]
        reply = await ask(client, "response", texts=["Hi"], images=[data_url(words)])
        assert reply["action"] == "BLOCKED" and reason in reply["blocked_reason"]
    assert (await ask(client, "response", texts=["Hi"], images=[data_url("calm")]))["action"] == "NONE"


async def test_what_is_not_whole_yet_is_held(client: httpx.AsyncClient) -> None:
    text = CALM + CALM + "And so it"
    assert await ask(client, "response", texts=[text, ""]) == {"action": "NONE", "stream_holdback_chars": [9 + 1, 0]}
    assert await ask(client, "response", texts=[]) == {"action": "NONE", "stream_holdback_chars": []}


async def test_a_reply_is_blocked_in_its_unfinished_end_too(client: httpx.AsyncClient) -> None:
    reply = await ask(client, "response", texts=[CALM, CALM + "Then a bomb"])
    assert reply["action"] == "BLOCKED" and "texts" not in reply
    assert reply["blocked_reason"] == "The reply was held back. It looks like help with something illegal."
    assert reply["stream_holdback_chars"] == [len(" "), len(" Then a bomb")]


async def test_tool_calls_are_judged_and_never_altered(runtime: FakeRuntime) -> None:
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":"b\\u006fmb"}'}}]
    async with client_of(under(runtime, StreamRules(mode="redact"))) as client:
        assert (await ask(client, "response", tool_calls=calls))["action"] == "BLOCKED"
        assert (await ask(client, "response", texts=["Hi"], tool_calls=calls))["action"] == "BLOCKED"


async def test_redaction_keeps_number_and_order(runtime: FakeRuntime) -> None:
    async with client_of(under(runtime, StreamRules(mode="redact"))) as client:
        reply = await ask(client, "response", texts=[CALM, CALM + HARM + CALM])
    masked = CALM + HARM.replace("bomb", MASK) + CALM
    assert reply == {
        "action": "GUARDRAIL_INTERVENED",
        "texts": [CALM, masked],
        "stream_holdback_chars": [1, len(masked) - len(masked.rstrip())],
    }


async def test_observing_changes_and_holds_nothing(runtime: FakeRuntime) -> None:
    async with client_of(under(runtime, StreamRules(mode="observe"))) as client:
        assert (await ask(client, "request", texts=["a bomb"]))["action"] == "NONE"
        assert await ask(client, "response", texts=[HARM]) == {"action": "NONE", "stream_holdback_chars": [0]}
    assert any("bomb" in content.text for content in runtime.seen)


@pytest.mark.parametrize("side", ["request", "response"])
async def test_what_a_missing_stage_would_stop_is_the_operators_choice(runtime: FakeRuntime, side: str) -> None:
    async with client_of(runtime) as client:
        posted = await client.post(PATH, json={"input_type": side, "texts": ["half of it"]})
        assert posted.status_code == 503
        assert posted.json()["error"]["code"] == "scorer_failed"
        assert (await ask(client, side, texts=["half a bomb"]))["action"] == "BLOCKED"  # whatever else is missing
    async with client_of(under(runtime, StreamRules(on_degraded="pass"))) as client:
        assert (await ask(client, side, texts=["half of it"]))["action"] == "NONE"


@pytest.mark.parametrize(
    ("text", "code"), [("overload", "overloaded"), ("broken", "scorer_failed"), ("too slow", "deadline_exceeded")]
)
@pytest.mark.parametrize("side", ["request", "response"])
async def test_a_failure_is_no_action(text: str, code: str, side: str) -> None:
    async with client_of(FakeRuntime(Settings(request_budget_s=0.05))) as client:
        posted = await client.post(PATH, json={"input_type": side, "texts": [text]})
    assert (posted.status_code, posted.json()["error"]["code"]) == (503, code)  # a 429 would fail the user's request


async def test_a_full_queue_is_waited_for(runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [Overloaded(), Overloaded()]
    judge = runtime.judge

    async def refusing(content: Content) -> Verdict:
        if refusals:
            raise refusals.pop()
        return await judge(content)

    monkeypatch.setattr(runtime, "judge", refusing)
    async with client_of(runtime) as client:
        assert (await ask(client, "response", texts=[CALM]))["action"] == "NONE"
    assert not refusals


async def test_the_policy_is_the_configurations_and_the_key_litellms() -> None:
    keys = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("all", "bound")}
    configured = (ApiKey("all", keys["all"]), ApiKey("bound", keys["bound"], ("kids",)))
    runtime = FakeRuntime(Settings(api_keys=configured))
    wanted = {"input_type": "response", "texts": ["Hi"]}
    kids = {**wanted, "additional_provider_specific_params": {"policy": "kids"}}
    asked = [(wanted, "all"), (kids, "all"), ({**wanted, "texts": ["Hello"]}, "bound"), (wanted, "none")]
    async with client_of(runtime) as client:
        answers = [await client.post(PATH, json=body, headers={"x-api-key": key}) for body, key in asked]
        other = {**wanted, "additional_provider_specific_params": {"policy": "default"}}
        refused = await client.post(PATH, json=other, headers={"x-api-key": "bound"})
        unknown = {**wanted, "additional_provider_specific_params": {"policy": "none"}}
        missing = await client.post(PATH, json=unknown, headers={"x-api-key": "all"})
    assert [answer.status_code for answer in answers] == [200, 200, 200, 401]
    assert [content.policy for content in runtime.seen] == ["default", "kids", "kids"]
    assert (refused.status_code, missing.status_code) == (403, 404)


async def test_with_a_real_pipeline(tiny_folder: Path) -> None:
    from service.wiring import open_runtime  # here, so that the other tests load no inference library

    chosen = Settings(model_dir=tiny_folder, preset="strict")
    async with open_runtime(chosen, stateful=False) as runtime:
        app = create_app(chosen, runtime=runtime)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://weir") as client:
            calm = "The cat sat on the mat and the tea is fine. "
            assert await ask(client, "response", texts=[calm]) == {"action": "NONE", "stream_holdback_chars": [1]}
            assert await ask(client, "response", texts=[" "]) == {"action": "NONE", "stream_holdback_chars": [1]}
            assert (await ask(client, "response", texts=[f"{calm}Hello glorp and tea."]))["action"] == "BLOCKED"
            assert (await ask(client, "request", **said(("user", calm))))["action"] == "NONE"
            assert (await ask(client, "request", **said(("user", "hello glorp"))))["action"] == "BLOCKED"
