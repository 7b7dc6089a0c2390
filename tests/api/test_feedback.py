"""POST /v1/feedback: what is taken, what is refused, what is kept."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.schema import FeedbackReply
from service.backends.buckets import HostBuckets, Limiter
from service.metrics import Metrics
from service.records import Feedback
from service.taxonomy import CATEGORIES
from tests.state import Replica, fake_replica


def key(name: str, policies: str = "") -> str:
    return f"{name}:{hashlib.sha256(f'key of {name}'.encode()).hexdigest()}:{policies}"


@pytest.fixture
async def weir(tmp_path: Path) -> AsyncIterator[Replica]:
    async with fake_replica(tmp_path, audit_share=1.0) as opened:
        yield opened


async def say(weir: Replica, expected: int = 200, **body: Any) -> Any:
    reply = await weir.client.post("/v1/feedback", json=body)
    assert reply.status_code == expected, reply.text
    return reply.json() if expected == 200 else reply.json()["error"]


async def kept(weir: Replica, policy: str = "default") -> list[Feedback]:
    return await weir.runtime.feedback._store.feedback(policy, weir.runtime.model)


async def test_a_receipt_and_a_no(weir: Replica) -> None:
    verdict = await weir.moderate("what an insult")
    answer = await say(weir, receipt=verdict["receipt"], harmful=False, reviewer="anna", note="ticket-7")
    assert set(answer) == set(FeedbackReply.__annotations__)
    assert answer["status"] == "recorded" and answer["reviewer"] == "anna"
    assert answer["categories"] == dict.fromkeys(CATEGORIES, False)
    (entry,) = await kept(weir)
    assert entry.receipt == answer["id"] and entry.note == "ticket-7" and entry.source == "receipt"
    assert (entry.audited, entry.audit_share) == (verdict["audit"], 1.0) == (True, 1.0)
    assert entry.policy_version == verdict["policy_version"] and entry.artifact == verdict["model"]
    seen = verdict["categories"]["harassment"]
    assert entry.answers["harassment"].score == pytest.approx(seen["score"], abs=1e-4)
    assert entry.answers["harassment"].action.wire == verdict["action"] == "block"
    assert entry.answers["violence"].action.wire == "allow"


async def test_it_counts_once_per_receipt_and_reviewer(weir: Replica) -> None:
    token = (await weir.moderate("what an insult"))["receipt"]
    for reviewer, harmful, status in (
        ("anna", True, "recorded"),
        ("anna", True, "unchanged"),
        ("ben", True, "recorded"),
        ("anna", False, "replaced"),
        (None, True, "recorded"),
    ):
        assert (await say(weir, receipt=token, harmful=harmful, reviewer=reviewer))["status"] == status
    assert {e.reviewer: e.answers["harassment"].harmful for e in await kept(weir)} == {
        "anna": False,
        "ben": True,
        "anonymous": True,
    }


async def test_a_yes_is_about_what_the_verdict_rests_on(weir: Replica) -> None:
    flagged = await weir.moderate("what an insult")
    assert (await say(weir, receipt=flagged["receipt"], harmful=True))["categories"] == {"harassment": True}
    await weir.put("*", harassment={"flag": 0.95, "review": 0.96, "block": 0.97})
    missed = await weir.moderate("what an insult")
    assert missed["action"] == "allow"
    assert (await say(weir, receipt=missed["receipt"], harmful=True))["categories"] == {"harassment": True}


async def test_categories_imply_each_other(weir: Replica) -> None:
    token = (await weir.moderate("tea"))["receipt"]
    answer = await say(weir, receipt=token, categories={"hate/threatening": True, "violence": False})
    assert answer["categories"] == {
        "hate/threatening": True,
        "hate": True,
        "violence": False,
        "violence/graphic": False,
    }


async def test_a_content_is_scored_anew_and_is_no_traffic(weir: Replica) -> None:
    content = {"input": "what an insult", "policy": "kids"}
    first = await say(weir, content=content, harmful=True, reviewer="anna")
    again = await say(weir, content=content, harmful=False, reviewer="anna")
    assert first["id"] == again["id"] and (first["status"], again["status"]) == ("recorded", "replaced")
    (entry,) = await kept(weir, "kids")
    assert (entry.source, entry.audited, entry.audit_share) == ("content", False, 0.0)
    assert weir.runtime.ledger is not None and weir.runtime.ledger.traffic.flush(0) is None
    other = await say(weir, content={"input": "what an insult"}, harmful=True, reviewer="anna")
    assert other["id"] != first["id"]


async def test_a_content_beside_a_receipt_must_be_the_one(weir: Replica) -> None:
    token = (await weir.moderate("what an insult"))["receipt"]
    assert await say(weir, receipt=token, content={"input": "what an insult"}, harmful=True)
    refused = await say(weir, 400, receipt=token, content={"input": "tea"}, harmful=True)
    assert (refused["code"], refused["param"]) == ("receipt_mismatch", "receipt")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"harmful": True}, "invalid_request"),
        ({"receipt": "TOKEN"}, "invalid_request"),
        ({"receipt": "forged", "harmful": True}, "receipt_invalid"),
        ({"receipt": "TOKEN", "harmful": "yes"}, "invalid_request"),
        ({"receipt": "TOKEN", "categories": {"kindness": True}}, "invalid_request"),
        ({"receipt": "TOKEN", "categories": {"hate": 1}}, "invalid_request"),
        ({"receipt": "TOKEN", "harmful": False, "categories": {"hate": True}}, "invalid_request"),
        ({"receipt": "TOKEN", "categories": {"hate": False, "hate/threatening": True}}, "invalid_request"),
        ({"receipt": "TOKEN", "harmful": True, "reviewer": "two words"}, "invalid_request"),
        ({"receipt": "TOKEN", "harmful": True, "note": "x" * 65}, "invalid_request"),
        ({"receipt": "TOKEN", "harmful": True, "text": "kept?"}, "invalid_request"),
        ({"content": {"input": " "}, "harmful": True}, "empty_input"),
    ],
)
async def test_what_is_wrong_is_refused(weir: Replica, body: dict[str, Any], code: str) -> None:
    token = (await weir.moderate("tea"))["receipt"]
    given = {name: token if value == "TOKEN" else value for name, value in body.items()}
    assert (await say(weir, 400, **given))["code"] == code
    assert await kept(weir) == []


async def test_many_are_answered_in_order_with_errors_in_place(weir: Replica) -> None:
    tokens = [(await weir.moderate(f"tea {n}"))["receipt"] for n in range(3)]
    items: list[Any] = [{"receipt": token, "harmful": False} for token in tokens]
    items.insert(1, {"receipt": "forged", "harmful": False})
    items += [3, items[0], {"content": {"input": "x", "policy": "nowhere"}, "harmful": True}]
    results = (await say(weir, items=items))["results"]
    seen = [result["error"]["code"] if "error" in result else result["status"] for result in results]
    assert seen == [
        *("recorded", "receipt_invalid", "recorded", "recorded"),
        *("invalid_request", "unchanged", "unknown_policy"),
    ]
    assert len(await kept(weir)) == 3
    assert (await say(weir, 400, items=[]))["code"] == "empty_input"
    assert (await say(weir, 413, items=[{}] * 1001))["code"] == "too_many_items"


async def test_an_expired_receipt_is_refused(tmp_path: Path) -> None:
    async with fake_replica(tmp_path, receipt_days=1e-9) as weir:
        token = (await weir.moderate("tea"))["receipt"]
        while (reply := await weir.client.post("/v1/feedback", json={"receipt": token, "harmful": True})).is_success:
            pass  # its age counts in whole seconds
        assert reply.json()["error"]["code"] == "receipt_expired"


async def test_a_reviewer_is_named_under_the_key_and_policies_bind(tmp_path: Path) -> None:
    keys = ",".join((key("tool"), key("kids", "kids")))
    async with fake_replica(tmp_path, api_keys=keys) as weir:
        assert (await weir.client.post("/v1/feedback", json={})).status_code == 401
        tool, kids = {"X-Weir-Key": "key of tool"}, {"X-Weir-Key": "key of kids"}
        token = (await weir.client.post("/v1/moderate", json={"input": "tea"}, headers=tool)).json()["receipt"]
        body = {"receipt": token, "harmful": False, "reviewer": "anna"}
        assert (await weir.client.post("/v1/feedback", json=body, headers=tool)).json()["reviewer"] == "tool/anna"
        refused = await weir.client.post("/v1/feedback", json=body, headers=kids)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "policy_forbidden")
        own = await weir.client.post("/v1/moderate", json={"input": "tea"}, headers=kids)
        body = {"receipt": own.json()["receipt"], "harmful": False}
        assert (await weir.client.post("/v1/feedback", json=body, headers=kids)).json()["reviewer"] == "kids"


async def test_a_content_is_charged_like_any_text_and_a_receipt_is_not(tmp_path: Path) -> None:
    async with fake_replica(tmp_path, api_keys=key("tool"), rate_limit="4/day") as weir:
        limiter = Limiter(weir.runtime.settings.rate_limit, HostBuckets(None, ["tool"]), None, Metrics())
        weir.runtime.limits = limiter

        async def post(path: str, body: dict[str, Any]) -> tuple[int, str]:
            reply = await weir.client.post(path, json=body, headers={"X-Weir-Key": "key of tool"})
            return reply.status_code, reply.headers.get("ratelimit-remaining", "")

        token = (
            await weir.client.post("/v1/moderate", json={"input": "tea"}, headers={"X-Weir-Key": "key of tool"})
        ).json()["receipt"]
        assert await post("/v1/feedback", {"receipt": token, "harmful": False}) == (200, "")
        content = {"content": {"input": "tea"}, "harmful": False}
        assert await post("/v1/feedback", {"items": [content, {"receipt": token, "harmful": False}]}) == (200, "2")
        suggestion = {"comment": {"text": "tea"}, "attributeScores": {"TOXICITY": {"summaryScore": {"value": 0}}}}
        assert await post("/v1alpha1/comments:suggestscore", suggestion) == (200, "1")
        assert await post("/v1/feedback", content) == (200, "0")
        assert (await post("/v1/feedback", content))[0] == 429
        await limiter.close()


async def test_openai_replies_carry_receipts_too(weir: Replica) -> None:
    reply = await weir.client.post("/v1/moderations", json={"input": ["tea", "what an insult"]})
    own = [result["x_weir"] for result in reply.json()["results"]]
    assert all(entry["audit"] is True for entry in own)
    answers = [await say(weir, receipt=entry["receipt"], harmful=True) for entry in own]
    assert len({answer["id"] for answer in answers}) == 2 and answers[1]["categories"] == {"harassment": True}


async def test_a_share_of_all_verdicts_asks_for_review(tmp_path: Path) -> None:
    async with fake_replica(tmp_path, audit_share=0.5) as weir:
        items = [{"input": "tea" if n % 2 else "what an insult"} for n in range(200)]
        results = (await weir.client.post("/v1/moderate/batch", json={"items": items})).json()["results"]
        allowed = sum(r["audit"] for r in results if r["action"] == "allow")
        held = sum(r["audit"] for r in results if r["action"] == "block")
        # 100 draws each at one half: beyond 20 and 80 in one of some 10^9 runs.
        assert 20 <= allowed <= 80 and 20 <= held <= 80


async def test_neither_text_nor_receipt_is_written_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    async with fake_replica(tmp_path) as weir:
        secret_text = "quetzalcoatl what an insult"
        token = (await weir.moderate(secret_text))["receipt"]
        await say(weir, receipt=token, content={"input": secret_text}, harmful=True, note="n1")
        await say(weir, content={"input": secret_text}, harmful=True)
        metrics = (await weir.client.get("/metrics")).text
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())  # noqa: ASYNC240
    assert b"anonymous" in written  # that is how feedback looks in there
    for hidden in ("quetzalcoatl", token):
        assert hidden.encode() not in written and hidden not in metrics and hidden not in caplog.text


async def test_a_store_that_is_away_fails_feedback_but_no_verdict(weir: Replica) -> None:
    token = (await weir.moderate("tea"))["receipt"]
    await weir.runtime.feedback._store.close()
    for body in (
        {"receipt": token, "harmful": True},
        {"content": {"input": "tea"}, "harmful": True},
        {"items": [{"receipt": token, "harmful": True}]},
    ):
        reply: httpx.Response = await weir.client.post("/v1/feedback", json=body)
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "store_unavailable")
        assert int(reply.headers["retry-after"]) > 0
    assert (await weir.moderate("what an insult"))["action"] == "block"
    assert (await weir.client.get("/v1/policies/default")).status_code == 200
    for path in ("versions", "draft"):
        assert (await weir.client.get(f"/v1/policies/default/{path}")).status_code == 503
