"""Perspective's analyze: every field of the request, every part of the answer, every error of the table."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import httpx
import pytest

from service.config import ApiKey, Settings
from service.types import Turn
from tests.api.conftest import client_of
from tests.fake_runtime import FakeRuntime

ANALYZE = "/v1alpha1/comments:analyze"
ERROR = "type.googleapis.com/google.commentanalyzer.v1alpha1.Error"
SECRET = "xyzzy plugh"
Json = dict[str, Any]


def asked(text: str, *names: str, **more: Any) -> Json:
    return {"comment": {"text": text}, "requestedAttributes": {name: {} for name in names or ("TOXICITY",)}, **more}


async def analyze(client: httpx.AsyncClient, *args: Any, **more: Any) -> Json:
    reply = await client.post(ANALYZE, json=asked(*args, **more))
    assert reply.status_code == 200, reply.text
    answer: Json = reply.json()
    return answer


def refusal(reply: httpx.Response) -> tuple[int, str, str, Json]:
    error = reply.json()["error"]
    assert error["code"] == reply.status_code
    assert len(error["details"]) == 1
    return reply.status_code, error["status"], error["message"], error["details"][0]


async def test_an_answer_has_every_part_that_some_client_reads(client: httpx.AsyncClient) -> None:
    answer = await analyze(client, "how rude", "TOXICITY", "INSULT", "TOXICITY_EXPERIMENTAL")
    assert list(answer) == ["attributeScores", "languages", "detectedLanguages"]
    assert answer["languages"] == answer["detectedLanguages"] == ["en"]
    assert list(answer["attributeScores"]) == ["TOXICITY", "INSULT", "TOXICITY_EXPERIMENTAL"]
    toxicity = answer["attributeScores"]["TOXICITY"]
    assert toxicity["summaryScore"] == {"value": pytest.approx(0.9), "type": "PROBABILITY"}
    assert toxicity["spanScores"] == [{"begin": 0, "end": 8, "score": toxicity["summaryScore"]}]
    assert answer["attributeScores"]["TOXICITY_EXPERIMENTAL"] == toxicity
    assert answer["attributeScores"]["INSULT"]["summaryScore"]["value"] < 0.01


async def test_spans_are_scores_of_sentences_in_utf_16(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    text = "  😀 fine. How rude!  Bye 😀 all"
    answer = await analyze(client, text, spanAnnotations=True)
    spans = answer["attributeScores"]["TOXICITY"]["spanScores"]
    units = text.encode("utf-16-le")
    pieces = [units[2 * span["begin"] : 2 * span["end"]].decode("utf-16-le") for span in spans]
    assert pieces == ["😀 fine.", "How rude!", "Bye 😀 all"]
    assert [span["score"]["value"] > 0.5 for span in spans] == [False, True, False]
    assert {span["score"]["type"] for span in spans} == {"PROBABILITY"}
    assert [content.text for content in runtime.seen] == [text, *pieces]
    assert b"weir_verdicts_total{action" in runtime.metrics.render()
    assert sum(sample.value for sample in runtime.metrics.verdicts.collect()[0].samples if "total" in sample.name) == 1


async def test_one_sentence_is_judged_once(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    answer = await analyze(client, " How rude! ", spanAnnotations=True)
    scores = answer["attributeScores"]["TOXICITY"]
    assert scores["spanScores"] == [{"begin": 1, "end": 10, "score": scores["summaryScore"]}]
    assert len(runtime.seen) == 1


async def test_a_very_long_comment_has_a_bounded_number_of_spans(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    text = "No. " * 5_000
    spans = (await analyze(client, text, spanAnnotations=True))["attributeScores"]["TOXICITY"]["spanScores"]
    assert 50 <= len(spans) <= 100
    assert (spans[0]["begin"], spans[-1]["end"]) == (0, len(text) - 1)
    assert runtime.most_running <= 8


async def test_html_is_judged_as_read_and_located_as_sent(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    html = "<p>Hello &amp; good <b>day</b>.</p><p>How r<i>ud</i>e!</p>"
    body = asked("", spanAnnotations=True)
    body["comment"] = {"text": html, "type": "HTML"}
    answer = (await client.post(ANALYZE, json=body)).json()
    spans = answer["attributeScores"]["TOXICITY"]["spanScores"]
    assert [html[span["begin"] : span["end"]] for span in spans] == ["Hello &amp; good <b>day</b>.", "How r<i>ud</i>e!"]
    assert [content.text.strip() for content in runtime.seen][1:] == ["Hello & good day.", "How rude!"]
    assert spans[1]["score"]["value"] > 0.5 > spans[0]["score"]["value"]


@pytest.mark.parametrize(
    ("context", "turns"),
    [
        ({"entries": [{"text": "one"}, {"text": ""}, {"text": "<i>two</i>", "type": "HTML"}]}, ("one", "two")),
        ({"articleAndParentComment": {"article": {"text": "a"}, "parentComment": {"text": "p"}}}, ("a", "p")),
        ({"article_and_parent_comment": {"parent_comment": {"text": "p"}}}, ("p",)),
        ({"entries": [], "articleAndParentComment": {"article": {"text": "a"}}}, ("a",)),
        ({}, ()),
        (None, ()),
    ],
)
async def test_context_is_read_and_nobody_vouches_for_it(
    client: httpx.AsyncClient, runtime: FakeRuntime, context: object, turns: tuple[str, ...]
) -> None:
    await analyze(client, "x", context=context)
    assert runtime.seen[0].context == tuple(Turn(text, "") for text in turns)


async def test_names_in_either_spelling(client: httpx.AsyncClient) -> None:
    body = {
        "comment": {"text": "How rude! Bye."},
        "requested_attributes": {"TOXICITY": {"score_type": "PROBABILITY", "score_threshold": 0.5}, "INSULT": None},
        "span_annotations": True,
        "do_not_store": True,
        "client_token": "t",
        "session_id": "s",
        "community_id": "c",
        "drop_unsupported_attributes": True,
        "nobody_knows": {"this": 1},
    }
    answer = (await client.post(ANALYZE, json=body)).json()
    assert answer["clientToken"] == "t"
    assert len(answer["attributeScores"]["TOXICITY"]["spanScores"]) == 2


@pytest.mark.parametrize(
    "body",
    [
        '{comment: {text: "how rude"}, requestedAttributes: {TOXICITY:{}}}',
        "{'comment': {'text': 'how \"rude\"'}, 'requestedAttributes': {'TOXICITY': {},},}",
        '\ufeff {"comment": {"text": "how\nrude"}, "requestedAttributes": {"TOXICITY": {}}}',
        '{comment: {text: "rude: it\'s {a: \\"b\\"}, c: d"}, languages: ["en",], requestedAttributes: {TOXICITY: {}}}',
    ],
)
@pytest.mark.parametrize(
    "content_type", [None, "application/x-www-form-urlencoded", "application/json;charset=utf-8", "text/plain"]
)
async def test_bodies_as_they_come(client: httpx.AsyncClient, body: str, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    reply = await client.post(ANALYZE, content=body.encode(), headers=headers)
    assert reply.json()["attributeScores"]["TOXICITY"]["summaryScore"]["value"] == pytest.approx(0.9)


async def test_parameters_of_every_google_client_are_tolerated(client: httpx.AsyncClient) -> None:
    names = ("key", "alt", "prettyPrint", "fields", "quotaUser", "$.xgafv", "access_token", "oauth_token", "callback")
    reply = await client.post(ANALYZE, params=dict.fromkeys(names, "x"), json=asked("x"))
    assert reply.status_code == 200


async def test_a_score_below_its_threshold_is_left_out(client: httpx.AsyncClient) -> None:
    wanted: Json = {"TOXICITY": {"scoreThreshold": 0.5}, "INSULT": {"scoreThreshold": "0.5"}, "THREAT": {}}
    reply = await client.post(ANALYZE, json={"comment": {"text": "rude"}, "requestedAttributes": wanted})
    assert list(reply.json()["attributeScores"]) == ["TOXICITY", "THREAT"]
    reply = await client.post(
        ANALYZE, json={"comment": {"text": "x"}, "requestedAttributes": {"INSULT": wanted["INSULT"]}}
    )
    assert reply.json()["attributeScores"] == {}


async def test_a_client_token_is_echoed_and_only_if_one_came(client: httpx.AsyncClient) -> None:
    assert (await analyze(client, "x", clientToken="tök"))["clientToken"] == "tök"
    assert "clientToken" not in await analyze(client, "x")


@pytest.mark.parametrize(
    ("text", "more", "languages", "detected"),
    [
        ("hello", {"languages": ["EN"]}, ["EN"], ["en"]),
        ("hello", {"languages": ["en-GB"]}, ["en-GB"], ["en"]),
        ("hello", {"languages": "en"}, ["en"], ["en"]),
        ("hello", {"languages": ["fr", "en"]}, ["fr", "en"], ["en"]),
        ("bonjour", {"languages": ["en"]}, ["en"], ["fr"]),
        ("hello", {"languages": []}, ["en"], ["en"]),
    ],
)
async def test_languages(
    client: httpx.AsyncClient, text: str, more: Json, languages: list[str], detected: list[str]
) -> None:
    answer = await analyze(client, text, **more)
    assert (answer["languages"], answer["detectedLanguages"]) == (languages, detected)
    assert list(answer["attributeScores"]) == ["TOXICITY"]


@pytest.mark.parametrize(
    ("body", "name", "languages"),
    [
        (asked("สวัสดี", "INSULT"), "INSULT", "th"),
        (asked("hello", "INSULT", languages=["th", "zu"]), "INSULT", "th, zu"),
        (asked("hello", "TOXICITY", "FLIRTATION"), "FLIRTATION", "en"),
        (asked("hello", "FLIRTATION", languages=["en"]), "FLIRTATION", "en"),
    ],
)
async def test_what_a_language_does_not_have(client: httpx.AsyncClient, body: Json, name: str, languages: str) -> None:
    status, kind, message, detail = refusal(await client.post(ANALYZE, json=body))
    assert (status, kind) == (400, "INVALID_ARGUMENT")
    assert message == f"Attribute {name} does not support request languages: {languages}"
    told = detail.pop("languageNotSupportedByAttributeError")
    assert detail == {"@type": ERROR, "errorType": "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE"}
    assert (told["attribute"], told["detectedLanguages"]) == (name, languages.split(", "))
    reply = await client.post(ANALYZE, json={**body, "dropUnsupportedAttributes": True})
    assert reply.status_code == 200
    assert name not in reply.json()["attributeScores"]


async def test_languages_may_be_opened_by_setting() -> None:
    async with client_of(FakeRuntime(Settings(perspective_languages="any"))) as client:
        for body in (asked("bonjour", "INSULT"), asked("x", "INSULT", languages=["th"])):
            reply = await client.post(ANALYZE, json=body)
            assert list(reply.json()["attributeScores"]) == ["INSULT"]
        status, *_ = refusal(await client.post(ANALYZE, json=asked("bonjour", "FLIRTATION")))
        assert status == 400


BOTH = {"entries": [{"text": "x"}], "articleAndParentComment": {"article": {"text": "x"}}}
EMPTY = "Comment must be non-empty."
NONE_ASKED = "Missing requested_attributes"
NOT_JSON = "Invalid JSON payload received."
LONG = "é" * 10_241
REFUSED: dict[str, tuple[object, str, str]] = {
    "an empty body": (b"", "COMMENT_EMPTY", EMPTY),
    "an empty object": ({}, "COMMENT_EMPTY", EMPTY),
    "no text": (asked(""), "COMMENT_EMPTY", EMPTY),
    "blank": (asked(" \n"), "COMMENT_EMPTY", EMPTY),
    "only tags": (asked("") | {"comment": {"text": "<p></p>", "type": "HTML"}}, "COMMENT_EMPTY", EMPTY),
    "too long": (asked(LONG), "COMMENT_TOO_LONG", "Comment text too long."),
    "no attributes": ({"comment": {"text": "x"}}, "NO_REQUESTED_ATTRIBUTES", NONE_ASKED),
    "empty attributes": (asked("x") | {"requestedAttributes": {}}, "NO_REQUESTED_ATTRIBUTES", NONE_ASKED),
    "no language": (asked("привет"), "LANGUAGE_DETECTION_FAILED", "Unable to detect language"),
    "unknown": (asked("x", "RUDENESS"), "INVALID_REQUEST", "Unknown requested attribute: RUDENESS"),
    "lower case": (asked("x", "toxicity"), "INVALID_REQUEST", "Unknown requested attribute: toxicity"),
    "not a name": (asked("x", SECRET), "INVALID_REQUEST", "Unknown requested attribute: ?"),
    "score type": (
        asked("x") | {"requestedAttributes": {"INSULT": {"scoreType": "RAW"}}},
        "INVALID_REQUEST",
        "Requested score type RAW is not supported by attribute INSULT",
    ),
    "text type": (asked("x") | {"comment": {"text": "x", "type": "WORD"}}, "INVALID_REQUEST", "Unknown text type"),
    "both contexts": (
        asked("x", context=BOTH),
        "INVALID_REQUEST",
        "Context can have either entries or article_and_parent_comment, but both fields were populated.",
    ),
    "not json": (SECRET.encode(), "INVALID_REQUEST", NOT_JSON),
    "cut off": (b'{"comment": {"text": "' + SECRET.encode(), "INVALID_REQUEST", NOT_JSON),
    "not utf-8": (b'{"comment": "\xff"}', "INVALID_REQUEST", NOT_JSON),
    "deep": (b"[" * 100_000, "INVALID_REQUEST", NOT_JSON),
    "a list": ([SECRET], "INVALID_REQUEST", NOT_JSON),
    "a number for a text": (asked("x") | {"comment": {"text": 5}}, "INVALID_REQUEST", "Invalid value at 'comment.text"),
    "a text for a comment": (asked("x") | {"comment": SECRET}, "INVALID_REQUEST", "Invalid value at 'comment'"),
    "a list of attributes": (asked("x") | {"requestedAttributes": ["TOXICITY"]}, "INVALID_REQUEST", "Invalid value at"),
    "odd languages": (asked("x", languages=[5]), "INVALID_REQUEST", "Invalid value at 'languages'"),
    "an odd flag": (asked("x", spanAnnotations="perhaps"), "INVALID_REQUEST", "Invalid value at 'span_annotations'"),
    "an odd threshold": (
        asked("x") | {"requestedAttributes": {"INSULT": {"scoreThreshold": "high"}}},
        "INVALID_REQUEST",
        "Invalid value at 'requested_attributes[].score_threshold'",
    ),
    "odd entries": (asked("x", context={"entries": ["x"]}), "INVALID_REQUEST", "Invalid value at 'context.entries'"),
    "a body over the limit": (b" " * (1 << 20) + b"{}", "COMMENT_TOO_LONG", "Comment text too long."),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused(client: httpx.AsyncClient, runtime: FakeRuntime, name: str) -> None:
    body, error_type, begins = REFUSED[name]
    reply = await client.post(ANALYZE, content=body if isinstance(body, bytes) else json.dumps(body).encode())
    status, kind, message, detail = refusal(reply)
    assert (status, kind, detail) == (400, "INVALID_ARGUMENT", {"@type": ERROR, "errorType": error_type})
    assert message.startswith(begins)
    assert SECRET not in reply.text
    assert runtime.seen == [] or name == "no language"


async def test_the_longest_comment_passes(client: httpx.AsyncClient) -> None:
    answer = await analyze(client, "é" * 10_240)  # 20,480 bytes of UTF-8, the most that is taken
    (span,) = answer["attributeScores"]["TOXICITY"]["spanScores"]
    assert (span["begin"], span["end"]) == (0, 10_240)


@pytest.mark.parametrize(
    ("text", "status", "kind", "reason"),
    [
        ("half", 503, "UNAVAILABLE", "SCORER_FAILED"),
        ("broken", 503, "UNAVAILABLE", "SCORER_FAILED"),
        ("too slow", 503, "UNAVAILABLE", "DEADLINE_EXCEEDED"),
        ("overload", 429, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED"),
        ("surprise", 500, "INTERNAL", "INTERNAL_ERROR"),
        ("Fine so far. And then half.", 503, "UNAVAILABLE", "SCORER_FAILED"),
    ],
)
async def test_what_goes_wrong_inside(
    client: httpx.AsyncClient, text: str, status: int, kind: str, reason: str
) -> None:
    reply = await client.post(ANALYZE, json=asked(text, spanAnnotations=True))
    assert refusal(reply)[:2] == (status, kind)
    assert refusal(reply)[3]["reason"] == reason
    assert refusal(reply)[3]["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert ("retry-after" in reply.headers) == (status in (429, 503))


async def test_a_draining_replica_says_so_in_googles_form(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    runtime.draining = True
    assert refusal(await client.post(ANALYZE, json=asked("x")))[:2] == (503, "UNAVAILABLE")


async def test_other_paths_and_methods(client: httpx.AsyncClient) -> None:
    assert refusal(await client.post("/v1alpha1/comments:delete"))[:2] == (404, "NOT_FOUND")
    assert refusal(await client.get(ANALYZE))[0] == 405
    assert (await client.post("/v1alpha1/comments%3Aanalyze", json=asked("x"))).status_code == 200


@pytest.mark.parametrize(
    ("community", "policy"), [("kids", "kids"), ("www.example.org", "default"), ("", "default"), (SECRET, "default")]
)
async def test_a_community_picks_a_policy_and_refuses_nobody(
    client: httpx.AsyncClient, runtime: FakeRuntime, community: str, policy: str
) -> None:
    await analyze(client, "x", communityId=community)
    assert runtime.seen[0].policy == policy


def key(name: str, *policies: str) -> ApiKey:
    return ApiKey(name, hashlib.sha256(f"key of {name}".encode()).hexdigest(), policies)


KEYED = Settings(api_keys=(key("all"), key("kids", "kids")))


@pytest.mark.parametrize(
    ("params", "headers"),
    [
        ({"key": "key of all"}, {}),
        ({"key": " key of all "}, {"Authorization": "Bearer someone else's"}),
        ({}, {"X-Goog-Api-Key": "key of all"}),
        ({}, {"Authorization": "Bearer key of all"}),
        ({}, {"X-Weir-Key": "key of all"}),
    ],
)
async def test_a_key_comes_where_googles_clients_put_it(params: dict[str, str], headers: dict[str, str]) -> None:
    async with client_of(FakeRuntime(KEYED)) as client:
        assert (await client.post(ANALYZE, params=params, headers=headers, json=asked("x"))).status_code == 200
        document = await client.get("/$discovery/rest", params={"version": "v1alpha1", **params}, headers=headers)
        assert document.status_code == 200


async def test_a_bad_key_is_a_400_and_no_key_a_403() -> None:
    async with client_of(FakeRuntime(KEYED)) as client:
        for method, path in (("POST", ANALYZE), ("GET", "/%24discovery/rest?version=v1alpha1")):
            status, kind, message, detail = refusal(await client.request(method, path, params={"key": "wrong"}))
            assert (status, kind, message) == (
                400,
                "INVALID_ARGUMENT",
                "API key not valid. Please pass a valid API key.",
            )
            assert detail == {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "commentanalyzer.googleapis.com"},
            }
            assert refusal(await client.request(method, path))[:2] == (403, "PERMISSION_DENIED")


async def test_the_key_in_the_query_is_googles_alone() -> None:
    async with client_of(FakeRuntime(KEYED)) as client:
        reply = await client.post("/v1/moderate", params={"key": "key of all"}, json={"input": "x"})
        assert reply.status_code == 401


async def test_a_key_bound_to_a_policy_keeps_it() -> None:
    runtime = FakeRuntime(KEYED)
    async with client_of(runtime) as client:
        for community in ("default", "kids", "elsewhere"):
            await client.post(ANALYZE, params={"key": "key of kids"}, json=asked("x", communityId=community))
    assert [content.policy for content in runtime.seen] == ["kids"] * 3


async def test_a_page_may_call_only_where_that_is_set() -> None:
    ask = {"Origin": "https://blog.example", "Access-Control-Request-Method": "POST"}
    ask["Access-Control-Request-Headers"] = "content-type"
    for origins, allowed in (
        ((), False),
        (("https://blog.example",), True),
        (("*",), True),
        (("https://b.example",), False),
    ):
        async with client_of(FakeRuntime(KEYED.model_copy(update={"cors_origins": origins}))) as client:
            before = await client.options(ANALYZE, headers=ask)
            assert (before.status_code == 200) == allowed
            assert ("access-control-allow-origin" in before.headers) == (allowed)
            refused = await client.post(ANALYZE, headers={"Origin": "https://blog.example"}, json=asked("x"))
            assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (403, allowed)
            native = await client.post("/v1/moderate", headers={"Origin": "https://blog.example"}, json={"input": "x"})
            assert "access-control-allow-origin" not in native.headers
