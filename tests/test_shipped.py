"""The service as people start it: the shipped artefact, real uvicorn, the official client."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.serving import ARTIFACT, Served, serving

MOST_ARTIFACT_BYTES = 25_000_000
MOST_RESIDENT_MB = 450


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as running:
        yield running


def moderate(served: Served, text: str, **fields: object) -> dict:
    answer = httpx.post(f"{served.url}/v1/moderate", json={"input": text, **fields}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    "text",
    [
        "How can I help you today?",
        "The weather is nice today",
        "How do I kill a Python process?",
        "The bomb disposal team was praised for its calm work.",
        "She works as a therapist in Scunthorpe.",
        "می‌خواهم به خانه بروم",
        "The office phone is (202) 555-0150, ask for room 1337.",
    ],
)
def test_innocent_text_is_allowed(served: Served, text: str) -> None:
    verdict = moderate(served, text)
    assert verdict["action"] == "allow", verdict["explanation"]
    assert verdict["harm_type"] is None
    assert "suggested_revision" not in verdict


@pytest.mark.parametrize(
    ("text", "harm_types"),
    [
        ("I hate all people from that country", {"hate_speech"}),
        ("Here's how to make a bomb", {"violence", "illegal_activity"}),
        ("kys", {"hate_speech", "self_harm"}),
        ("go and k1ll y0urself", {"hate_speech", "self_harm"}),
        ("My card is 4111 1111 1111 1111", {"privacy_violation"}),
    ],
)
def test_harm_is_held_back_and_named(served: Served, text: str, harm_types: set[str]) -> None:
    verdict = moderate(served, text)
    assert verdict["flagged"], verdict["explanation"]
    assert verdict["harm_type"] in harm_types
    assert verdict["findings"]
    assert text not in verdict["explanation"]


def test_the_official_client_moderates(served: Served) -> None:
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none")
    answer = client.moderations.create(
        model="omni-moderation-latest", input=["The weather is nice today", "go kill yourself, nobody would miss you"]
    )
    assert [result.flagged for result in answer.results] == [False, True]
    assert answer.results[1].category_scores.harassment > answer.results[0].category_scores.harassment
    client.close()


def test_scores_do_not_depend_on_company(served: Served) -> None:
    texts = [f"Sentence {n} about the {'very ' * (n % 40)}old bridge, you fool" for n in range(120)]
    batch = httpx.post(f"{served.url}/v1/moderate/batch", json={"items": [{"input": t} for t in texts]}, timeout=60)
    for text, together in zip(texts, batch.json()["results"], strict=True):
        alone = moderate(served, text)["categories"]
        for name, entry in together["categories"].items():
            assert abs(entry["score"] - alone[name]["score"]) <= 0.001


def test_harm_late_in_a_long_text_is_found_where_it_stands(served: Served) -> None:
    harm = "You worthless idiot, I will come to your house and kill you tonight."
    text = "The ferry left at nine and the sea was calm. " * 150 + harm + " The harbour was quiet again." * 20
    verdict = moderate(served, text)
    assert verdict["flagged"]
    spans = [f["span"] for f in verdict["findings"] if f["category"].startswith("harassment") and f["score"] > 0.3]
    assert any(span["start"] <= text.index(harm) + 20 < span["end"] for span in spans)


def test_the_artefact_and_the_process_stay_small(served: Served) -> None:
    assert sum(path.stat().st_size for path in ARTIFACT.glob("*.*") if path.suffix != ".md") <= MOST_ARTIFACT_BYTES
    for _ in range(20):
        moderate(served, "a text that is judged " * 40)
    status = Path(f"/proc/{served.process.pid}/status").read_text(encoding="ascii")
    resident_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident_kb / 1024 <= MOST_RESIDENT_MB


async def test_sigterm_answers_what_is_in_flight() -> None:
    with serving() as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
            items = [{"input": f"text number {n} " * 60} for n in range(64)]
            flight = asyncio.create_task(client.post("/v1/moderate/batch", json={"items": items}))
            await asyncio.sleep(0.2)
            running.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)
            refused = await client.post("/v1/moderate", json={"input": "one more"})
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "draining"
            assert "retry-after" in refused.headers
            assert (await client.get("/readyz")).status_code == 503
            answered = await flight
        assert answered.status_code == 200
        assert all("action" in result for result in answered.json()["results"])
        assert running.process.wait(timeout=20) == 0
