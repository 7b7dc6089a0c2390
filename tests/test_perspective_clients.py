"""Programs written for the hosted Perspective API, against the real service with nothing changed but the host.

Google's own client builds itself from the local discovery document. The other shapes are those of public clients, read
in their sources: @conversationai/perspectiveapi-js-client, sloria/perspective-api-client, Yilmaz4/perspective.py,
limbrarchive/perspective_api, Coral's, and the original's own samples for curl and Python.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving import Served, serving

discovery = pytest.importorskip("googleapiclient.discovery")
errors = pytest.importorskip("googleapiclient.errors")
httplib2 = pytest.importorskip("httplib2")

KEY = "AIza-a-key-1f6e"
CANARY = "canary-51c7be"
RUDE = "You are a stupid idiot and nobody likes you."
POLITE = "Thank you, the ferry left at nine."
PRODUCTION = ("TOXICITY", "SEVERE_TOXICITY", "IDENTITY_ATTACK", "INSULT", "PROFANITY", "THREAT")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service keeps what it keeps."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    """`weir serve` with a key, at its most talkative."""
    keys = f"paper:{hashlib.sha256(KEY.encode()).hexdigest()}"
    with serving(WEIR_API_KEYS=keys, WEIR_LOG_LEVEL="debug", WEIR_DATA_DIR=str(folder)) as running:
        yield running


@contextmanager
def built(served: Served, key: str = KEY) -> Iterator[Any]:
    """Google's client, as the original's Python sample makes it, with a connection that is closed afterwards."""
    url = f"{served.url}/$discovery/rest?version=v1alpha1"
    http = httplib2.Http(timeout=30)
    try:
        yield discovery.build(
            *("commentanalyzer", "v1alpha1"),
            developerKey=key,
            discoveryServiceUrl=url,
            static_discovery=False,
            http=http,
        )
    finally:
        http.close()


@pytest.fixture(scope="module")
def google(served: Served) -> Iterator[Any]:
    """Google's client."""
    with built(served) as client:
        yield client


def asked(text: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"comment": {"text": text}, "requestedAttributes": {name: {} for name in names}, **more}


def value(answer: dict[str, Any], name: str = "TOXICITY") -> float:
    scores = answer["attributeScores"][name]
    found: float = scores["summaryScore"]["value"]
    assert scores["summaryScore"]["type"] == scores["spanScores"][0]["score"]["type"] == "PROBABILITY"
    return found


def test_googles_client_asks_and_reads(google: Any) -> None:
    names = (*PRODUCTION, "SEXUALLY_EXPLICIT")
    rude = google.comments().analyze(body=asked(RUDE, *names, clientToken="t")).execute()
    polite = google.comments().analyze(body=asked(POLITE, *names)).execute()
    assert set(rude["attributeScores"]) == set(polite["attributeScores"]) == set(names)
    assert value(rude) > 0.7 > 0.3 > value(polite)
    assert value(rude, "INSULT") > 0.5 > value(rude, "THREAT")
    assert all(0.0 <= value(answer, name) <= 1.0 for answer in (rude, polite) for name in names)
    assert (rude["languages"], rude["clientToken"]) == (["en"], "t")


def test_sentences_have_scores_of_their_own(google: Any) -> None:
    text = f"😀 {POLITE} {RUDE}"
    answer = google.comments().analyze(body=asked(text, "TOXICITY", spanAnnotations=True)).execute()
    first, second = answer["attributeScores"]["TOXICITY"]["spanScores"]
    assert (first["begin"], second["end"]) == (0, len(text) + 1)  # the emoji is two units
    assert second["score"]["value"] > 0.7 > 0.3 > first["score"]["value"]
    alone = google.comments().analyze(body=asked(RUDE, "TOXICITY")).execute()
    assert second["score"]["value"] == pytest.approx(value(alone), abs=1e-6)


def test_what_is_said_before_counts(google: Any) -> None:
    def score(**more: Any) -> float:
        answer = google.comments().analyze(body=asked("Then do it tonight, nobody will miss you.", "TOXICITY", **more))
        return value(answer.execute())

    before = {"entries": [{"text": "I want to kill myself. You are all idiots and I hate you."}]}
    assert score(context=before) >= score()


def test_googles_errors_are_read_by_googles_client(google: Any) -> None:
    with pytest.raises(errors.HttpError) as caught:
        google.comments().analyze(body=asked("", "TOXICITY")).execute()
    assert (caught.value.status_code, caught.value.reason) == (400, "Comment must be non-empty.")
    assert caught.value.error_details[0]["errorType"] == "COMMENT_EMPTY"
    with pytest.raises(errors.HttpError) as caught:
        google.comments().analyze(
            body=asked("Das weiß ich leider auch nicht so genau, fragen Sie bitte", "INSULT")
        ).execute()
    assert 'returned "Attribute INSULT does not support request languages: de".' in str(caught.value)


def test_a_wrong_key_is_told_when_the_client_is_built(served: Served) -> None:
    with pytest.raises(errors.HttpError) as caught, built(served, "wrong"):
        pass
    assert 'returned "API key not valid. Please pass a valid API key.".' in str(caught.value)


def test_googles_batch(google: Any) -> None:
    found: dict[str, Any] = {}
    batch = google.new_batch_http_request(callback=lambda name, answer, error: found.update({name: answer or error}))
    for name, text in (("polite", POLITE), ("rude one", RUDE), ("empty", "")):
        batch.add(google.comments().analyze(body=asked(text, "TOXICITY")), request_id=name)
    batch.execute()
    assert value(found["rude one"]) > 0.7 > 0.3 > value(found["polite"])
    assert isinstance(found["empty"], errors.HttpError)


def test_a_suggestion_is_taken_and_may_be_taken_back(google: Any) -> None:
    for harmful in (1, 0):
        scores = {"TOXICITY": {"summaryScore": {"value": harmful}}}
        body = {"comment": {"text": RUDE}, "attributeScores": scores, "clientToken": "comment:7"}
        answer = google.comments().suggestscore(body=body).execute()
        assert answer["clientToken"] == "comment:7"


def post(served: Served, content: str, call: str = "analyze", **headers: str) -> httpx.Response:
    url = f"{served.url}/v1alpha1/comments:{call}?key={KEY}"
    return httpx.post(url, content=content.encode(), headers={"Content-Type": "", **headers}, timeout=30)


def test_the_originals_samples(served: Served) -> None:
    text = "what kind of idiot name is foo?"
    curl = '{comment: {text: "' + text + '"},\n languages: ["en"],\n requestedAttributes: {TOXICITY:{}} }'
    for kind in ("application/json", "application/x-www-form-urlencoded"):
        assert value(post(served, curl, **{"Content-Type": kind}).json()) > 0.5


def test_the_javascript_client_that_asks_for_spam(served: Served) -> None:
    body = asked(RUDE, "SPAM", "TOXICITY", doNotStore=True, languages=["EN"])
    answer = post(served, json.dumps(body), **{"Content-Type": "application/json;charset=utf-8"}).json()
    scores = {name: float(one["summaryScore"]["value"]) for name, one in answer["attributeScores"].items()}
    assert scores["TOXICITY"] > 0.7 > 0.3 > scores["SPAM"]
    body = asked(
        "WIN a FREE prize! Click www.example.com now, offer expires today!", "SPAM", "TOXICITY", languages=["en"]
    )
    assert value(post(served, json.dumps(body)).json(), "SPAM") > 0.7


def test_the_node_client(served: Served) -> None:
    body = {"comment": {"text": "fools!"}, "requestedAttributes": {"TOXICITY": {}, "OBSCENE": {}}, "languages": ["en"]}
    answer = post(served, json.dumps(body), **{"Content-Type": "application/json"}).json()
    assert answer["attributeScores"]["TOXICITY"]["spanScores"][0]["end"] == len("fools!")
    refused = post(served, json.dumps(asked("x", "UNKNOWN_MODEL")))
    assert refused.json()["error"]["message"] == "Unknown requested attribute: UNKNOWN_MODEL"


def test_the_python_wrapper_asks_again_without_what_is_refused(google: Any) -> None:
    """It takes attribute and language out of the message, and tries once for each attribute that it has."""
    body = asked(RUDE, *PRODUCTION, "FLIRTATION", "UNSUBSTANTIAL")
    for _ in range(len(body["requestedAttributes"])):
        try:
            answer = google.comments().analyze(body=body).execute()
            break
        except errors.HttpError as error:
            assert "does not support request languages" in str(error)
            body["requestedAttributes"].pop(str(error).partition('returned "Attribute ')[2].split()[0])
    assert set(answer["attributeScores"]) == set(PRODUCTION)


def test_the_ruby_client(served: Served) -> None:
    body = asked(RUDE, "TOXICITY") | {"comment": {"text": RUDE, "type": "PLAIN_TEXT"}}
    body |= {"context": {"entries": [{"text": POLITE}]}, "sessionId": "s", "clientToken": "c", "doNotStore": True}
    assert post(served, json.dumps(body), **{"Content-Type": "application/json"}).json()["clientToken"] == "c"


def test_corals_moderators(served: Served) -> None:
    context = {
        "entries": [{"text": json.dumps({"url": "https://example.org/a", "reply_to_id_Coral_comment_id": None})}]
    }
    body: dict[str, Any] = {
        "comment": {"text": RUDE},
        "context": context,
        "languages": ["en"],
        "clientToken": "comment:1",
    }
    body["communityId"] = "Coral:https://example.org"
    refused = post(
        served, json.dumps({**body, "attributeScores": {"DELETED": {"summaryScore": {"value": 1}}}}), "suggestscore"
    )
    assert (refused.status_code, refused.json()["error"]["details"][0]["errorType"]) == (400, "INVALID_REQUEST")
    taken = post(
        served, json.dumps({**body, "attributeScores": {"TOXICITY": {"summaryScore": {"value": 1}}}}), "suggestscore"
    )
    assert taken.json() == {"clientToken": "comment:1", "requestedLanguages": ["en"], "detectedLanguages": []}


def test_an_answer_can_be_given_feedback_on_by_its_receipt(served: Served) -> None:
    answer = post(served, json.dumps(asked(POLITE, "TOXICITY")))
    said = {"receipt": answer.headers["x-weir-receipt"], "harmful": False, "reviewer": "ann"}
    taken = httpx.post(f"{served.url}/v1/feedback", json=said, headers={"Authorization": f"Bearer {KEY}"})
    assert taken.status_code == 200, taken.text


def test_a_key_tested_without_a_body(served: Served) -> None:
    reply = httpx.post(f"{served.url}/v1alpha1/comments:analyze", params={"key": KEY})
    assert reply.json()["error"]["details"][0]["errorType"] == "COMMENT_EMPTY"


def test_nothing_of_a_comment_and_no_key_is_logged_or_kept(served: Served, folder: Path) -> None:
    word = CANARY
    bodies: list[Any] = [
        asked(word, "TOXICITY", clientToken=word, sessionId=word, communityId=word),
        asked("x", "TOXICITY", context={"entries": [{"text": word}]}),
        asked(f"{word}. {word}!", "TOXICITY", spanAnnotations=True, doNotStore=True),
        asked("x", word), asked("x", "TOXICITY", languages=[word]), {word: word}, word,
        {"comment": {"text": word, "type": word}, "requestedAttributes": {"TOXICITY": {"scoreType": word}}},
    ]  # fmt: skip
    for body in bodies:
        for content in (json.dumps(body), f"{{comment: {word}"):
            post(served, content, **{"User-Agent": word, "Referer": word})
            httpx.post(f"{served.url}/v1alpha1/comments:analyze?key={word}&quotaUser={word}", content=content)
            httpx.post(f"{served.url}/batch?key={word}", content=content, headers={"Content-Type": word})
    scores = {"TOXICITY": {"summaryScore": {"value": 1}}}
    post(
        served, json.dumps({"comment": {"text": word}, "attributeScores": scores, "clientToken": word}), "suggestscore"
    )
    target = f"/v1alpha1/comments:analyze?key={KEY}&quotaUser={word}"
    part = f"Content-ID: <{word}>\r\n\r\nPOST {target} HTTP/1.1\r\n\r\n{json.dumps(bodies[0])}"
    batch = f"--{word}\r\n{part}\r\n--{word}\r\n{word}\r\n--{word}--"
    kind = f"multipart/mixed; boundary={word}"
    assert word in httpx.post(f"{served.url}/batch", content=batch, headers={"Content-Type": kind}, timeout=30).text
    httpx.get(f"{served.url}/$discovery/rest", params={"key": word, "version": word})
    log, metrics = served.log(), httpx.get(f"{served.url}/metrics").text
    assert "/v1alpha1/comments:suggestscore" in log
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"perspective" in kept  # the suggestions
    for hidden in (word, KEY):
        assert hidden not in log
        assert hidden not in metrics
        assert hidden.encode() not in kept
