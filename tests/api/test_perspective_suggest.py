"""A moderator's suggested scores, as they reach the feedback."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest

from service.config import ApiKey, Settings
from service.types import Turn
from tests.api.conftest import client_of
from tests.fake_runtime import FakeRuntime

SUGGEST = "/v1alpha1/comments:suggestscore"


def said(values: dict[str, Any], **more: Any) -> dict[str, Any]:
    scores = {name: {"summaryScore": {"value": value}} for name, value in values.items()}
    return {"comment": {"text": "how rude"}, "attributeScores": scores, **more}


async def test_a_rejected_comment(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    body = said({"TOXICITY": 1}, clientToken="comment:7", languages=["en"], communityId="kids")
    body["context"] = {"entries": [{"text": '{"url": "https://example.org/story"}'}]}
    reply = await client.post(SUGGEST, json=body)
    assert reply.status_code == 200
    assert reply.json() == {"requestedLanguages": ["en"], "detectedLanguages": [], "clientToken": "comment:7"}
    (suggested,) = runtime.feedback.suggested
    assert (suggested.content.text, suggested.content.policy) == ("how rude", "kids")
    assert suggested.content.context == (Turn('{"url": "https://example.org/story"}'),)
    assert (suggested.categories, suggested.tie) == ({"toxicity": True}, "comment:7")


@pytest.mark.parametrize(
    ("values", "truths"),
    [
        ({"TOXICITY": 0}, {"toxicity": False}),
        ({"TOXICITY": "1"}, {"toxicity": True}),
        ({"TOXICITY": 0.5}, {"toxicity": True}),
        ({"TOXICITY": None}, None),
        ({"SEVERE_TOXICITY": 1, "TOXICITY": 0}, {"toxicity": True}),
        (
            {"INSULT": 1, "IDENTITY_ATTACK": 0, "THREAT": 1, "SEXUALLY_EXPLICIT": 0},
            {"harassment": True, "hate": False, "harassment/threatening": True, "sexual": False},
        ),
        ({"TOXICITY_EXPERIMENTAL": 1}, {"toxicity": True}),
        ({"INSULT": 1, "FLIRTATION": 1}, {"harassment": True}),
    ],
)
async def test_an_attribute_speaks_of_a_category(
    client: httpx.AsyncClient, runtime: FakeRuntime, values: dict[str, Any], truths: dict[str, bool] | None
) -> None:
    reply = await client.post(SUGGEST, json=said(values))
    assert reply.status_code == (400 if truths is None else 200)
    assert [suggested.categories for suggested in runtime.feedback.suggested] == ([] if truths is None else [truths])


@pytest.mark.parametrize("name", ["PROFANITY", "SPAM", "FLIRTATION"])
async def test_what_nothing_can_be_learnt_from_is_taken_and_left(
    client: httpx.AsyncClient, runtime: FakeRuntime, name: str
) -> None:
    reply = await client.post(SUGGEST, json=said({name: 1}))
    assert (reply.status_code, reply.json()["requestedLanguages"]) == (200, [])
    assert runtime.feedback.suggested == []


async def test_a_zero_may_be_left_out_of_a_score(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    body = said({}) | {"attributeScores": {"TOXICITY": {"summaryScore": {"type": "PROBABILITY"}}}}
    assert (await client.post(SUGGEST, json=body)).status_code == 200
    assert runtime.feedback.suggested[0].categories == {"toxicity": False}


async def test_spans_alone_say_it_too(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    spans = [{"begin": 0, "end": 3, "score": {"value": 0}}, {"begin": 4, "end": 8, "score": {"value": 1}}]
    body = said({}) | {"attribute_scores": {"INSULT": {"span_scores": spans}}, "attributeScores": None}
    assert (await client.post(SUGGEST, json=body)).status_code == 200
    assert runtime.feedback.suggested[0].categories == {"harassment": True}


async def test_who_said_it_is_the_keys_owner_whatever_the_session() -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    runtime = FakeRuntime(Settings(api_keys=(ApiKey("paper", digest),)))
    async with client_of(runtime) as client:
        for session in ("one", "two"):
            await client.post(SUGGEST, params={"key": "secret"}, json=said({"TOXICITY": 1}, sessionId=session))
    assert [suggested.reviewer for suggested in runtime.feedback.suggested] == ["paper/perspective"] * 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Comment must be non-empty."),
        ({"comment": {"text": "x"}}, "Missing attribute_scores"),
        (said({}), "Missing attribute_scores"),
        (said({"APPROVED": 1}), "Unknown requested attribute: APPROVED"),
        (said({"DELETED": 1}), "Unknown requested attribute: DELETED"),
        (said({"TOXICITY": 2}), "The score of attribute TOXICITY must be between 0 and 1"),
        (said({"TOXICITY": "very"}), "Invalid value at 'attribute_scores[].summary_score.value' (TYPE_FLOAT)"),
        (said({}) | {"attributeScores": {"TOXICITY": {}}}, "Missing score of attribute TOXICITY"),
    ],
)
async def test_what_is_refused(
    client: httpx.AsyncClient, runtime: FakeRuntime, body: dict[str, Any], message: str
) -> None:
    reply = await client.post(SUGGEST, json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["status"], error["message"]) == (400, "INVALID_ARGUMENT", message)
    assert error["details"][0]["errorType"] in ("COMMENT_EMPTY", "INVALID_REQUEST")
    assert runtime.feedback.suggested == []
