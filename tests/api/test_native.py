"""Weir's own dialect: what a verdict looks like on the wire."""

from __future__ import annotations

import httpx
import pytest

from service.api.schema import ModerateReply, PolicyReply
from service.config import CONCURRENT_ITEMS
from service.taxonomy import CATEGORIES
from tests.fake_runtime import FakeRuntime


async def test_a_harmless_text_is_allowed(client: httpx.AsyncClient) -> None:
    reply = (await client.post("/v1/moderate", json={"input": "How can I help you today?"})).json()
    assert (reply["action"], reply["flagged"], reply["harm_type"]) == ("allow", False, None)
    assert reply["explanation"] == "Allowed: no category reached its threshold."
    assert reply["findings"] == [] and reply["degraded"] == []


async def test_a_harmful_text_is_explained(client: httpx.AsyncClient) -> None:
    reply = (await client.post("/v1/moderate", json={"input": "what an insult"})).json()
    assert (reply["action"], reply["flagged"], reply["harm_type"]) == ("block", True, "hate_speech")
    assert reply["confidence"] == 0.9
    assert "an insult or harassment aimed at someone" in reply["explanation"]
    assert "harassment 0.90 against a threshold of 0.40" in reply["explanation"]
    assert reply["categories"]["harassment"] == {"score": 0.9, "threshold": 0.4, "flagged": True}
    assert list(reply["categories"]) == list(CATEGORIES)
    assert reply["findings"][0]["span"] == {"start": 8, "end": 14}
    assert reply["timings_ms"] == {"keyword": 0.123, "total": 0.2}


async def test_the_reply_has_the_documented_fields_and_no_others(client: httpx.AsyncClient) -> None:
    reply = (await client.post("/v1/moderate", json={"input": "an insult to revise"})).json()
    assert set(reply) == set(ModerateReply.__annotations__) - {"constitution"}  # only where it was asked for
    plain = (await client.post("/v1/moderate", json={"input": "hello"})).json()
    assert "suggested_revision" not in plain
    policy = (await client.get("/v1/policy")).json()
    assert set(policy) == set(PolicyReply.__annotations__)


async def test_without_explain_there_are_neither_spans_nor_words(client: httpx.AsyncClient) -> None:
    reply = (await client.post("/v1/moderate", json={"input": "an insult", "explain": False})).json()
    assert "explanation" not in reply
    assert "span" not in reply["findings"][0]


async def test_parts_and_context_reach_the_pipeline(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    body = {
        "input": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
        "context": [{"role": "user", "content": "before"}, {"content": [{"type": "text", "text": "post"}]}],
        "role": "assistant",
    }
    assert (await client.post("/v1/moderate", json=body)).status_code == 200
    content = runtime.seen[0]
    assert (content.text, content.role, content.kind) == ("one\ntwo", "assistant", "response")
    assert [(turn.role, turn.text) for turn in content.context] == [("user", "before"), ("", "post")]


async def test_a_missing_stage_is_named_and_raises_the_action(client: httpx.AsyncClient) -> None:
    reply = (await client.post("/v1/moderate", json={"input": "half"})).json()
    assert (reply["action"], reply["harm_type"], reply["degraded"]) == ("review", None, ["context"])
    assert reply["confidence"] <= 0.5
    assert "context" in reply["explanation"] and "review" in reply["explanation"]


@pytest.mark.parametrize(
    ("body_policy", "header", "expected"),
    [(None, None, "default"), (None, "kids", "kids"), ("kids", None, "kids"), ("default", "kids", "default")],
)
async def test_the_body_names_the_policy_before_the_header(
    client: httpx.AsyncClient, body_policy: str | None, header: str | None, expected: str
) -> None:
    headers = {} if header is None else {"X-Weir-Policy": header}
    reply = await client.post("/v1/moderate", json={"input": "x", "policy": body_policy}, headers=headers)
    assert reply.json()["policy"] == expected


async def test_half_a_surrogate_pair_and_nul_are_judged(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    reply = await client.post("/v1/moderate", content=rb'{"input": "an \ud800 insult \u0000 to revise"}')
    assert reply.status_code == 200
    assert runtime.seen[0].text == "an \ud800 insult \x00 to revise"
    assert reply.json()["suggested_revision"] == "revised: \ufffd"


async def test_any_content_type_is_taken(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/moderate", content=b'{"input": "x"}', headers={"content-type": "text/plain"})
    assert reply.status_code == 200


async def test_the_policy_in_force_is_shown(client: httpx.AsyncClient) -> None:
    reply = (await client.get("/v1/policy")).json()
    assert reply["version"] == "default-1"
    assert reply["thresholds"]["hate"]["flag"] == 0.4
    kids = await client.get("/v1/policy", headers={"X-Weir-Policy": "kids"})
    assert kids.json()["name"] == "kids"


async def test_a_batch_is_answered_in_order_with_errors_in_place(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    items = [{"input": "an insult"}, {"input": " "}, 3, {"input": "x", "policy": "none"}, {"input": "overload"}]
    items += [{"input": "surprise"}, {"input": f"wait {len(items)}"}, {"input": "fine"}]
    reply = await client.post("/v1/moderate/batch", json={"items": items})
    assert reply.status_code == 200
    results = reply.json()["results"]
    seen = [result["error"]["code"] if "error" in result else result["action"] for result in results]
    errors = ["empty_input", "invalid_request", "unknown_policy", "overloaded", "internal_error"]
    assert seen == ["block", *errors, "allow", "allow"]
    assert set(results[1]["error"]) == {"code", "message", "param"}


async def test_a_batch_runs_a_few_at_a_time(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    items = [{"input": f"wait {number}"} for number in range(40)]
    reply = await client.post("/v1/moderate/batch", json={"items": items})
    assert len(reply.json()["results"]) == 40
    assert runtime.most_running == CONCURRENT_ITEMS
