"""The constitution from end to end: the shipped model, HTTP, and a scripted LLM on a socket of its own."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from service.app import create_app
from service.config import Settings
from service.runtime import Runtime
from service.wiring import open_runtime
from tests.fake_judge import FakeJudge, answer

ABUSE = "The ferry left at nine. You worthless stupid idiot, nobody wants you here."
OWN = """
[[principles]]
id = "no-spoilers"
statement = "Do not give away the ending of a film or a book."
severity = 2
means = ["examples"]
violates = ["The killer is the vicar.", "She dies in the last episode.", "At the end it was all a dream."]
complies = ["It is a mystery with a good cast.", "The new season starts on Friday.", "I liked the first book."]
"""


@asynccontextmanager
async def client_of(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Runtime]]:
    async with open_runtime(settings, stateful=False) as runtime:
        transport = httpx.ASGITransport(create_app(settings, runtime=runtime))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client, runtime


@pytest.fixture(scope="module")
def policy_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies")
    (folder / "films.toml").write_text("", encoding="utf-8")
    (folder / "constitutions").mkdir()
    (folder / "constitutions" / "films.toml").write_text(OWN, encoding="utf-8")
    return folder


@asynccontextmanager
async def upstream(fake: FakeJudge) -> AsyncIterator[str]:
    config = uvicorn.Config(fake, port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        await serving


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    reply = await client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def test_no_llm(policy_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with client_of(Settings(policy_dir=policy_dir)) as (client, _):
        plain = await post(client, "/v1/moderate", input=ABUSE)
        assert "constitution" not in plain
        reply = await post(client, "/v1/moderate", input=ABUSE, constitution="auto")
        assert reply["action"] == "block"
        part = reply["constitution"]
        first = part["violated"][0]
        assert first["id"] and first["statement"] and first["instead"]
        assert first["quote"] in ABUSE
        assert ABUSE[first["span"]["start"] : first["span"]["end"]].strip()
        assert first["quote"] in part["critique"]
        revision = reply["suggested_revision"]
        assert "ferry" in revision and "idiot" not in revision
        assert not (await post(client, "/v1/moderate", input=revision, constitution="auto"))["flagged"]

        innocent = await post(client, "/v1/moderate", input="The ferry left at nine.", constitution="auto")
        assert innocent["constitution"]["violated"] == [] and not innocent["constitution"]["escalated"]
        always = await post(client, "/v1/moderate", input="The ferry left at nine.", constitution="always")
        assert always["constitution"]["escalated"] and not always["flagged"]
        assert (await client.post("/v1/moderate", json={"input": "x", "constitution": "maybe"})).status_code == 400

        await evaluation(client)
        await own_constitution(client, policy_dir)
    assert "idiot" not in caplog.text and "removed" not in caplog.text


async def evaluation(client: httpx.AsyncClient) -> None:
    reply = await post(client, "/v1/constitution/evaluate", input=ABUSE, chain=True)
    assert reply["chain"][-1]["action"] == "allow"
    assert reply["chain"][-1]["text"] == reply["suggested_revision"]
    assert not reply["refused"]
    caring = await post(client, "/v1/constitution/evaluate", input="I want to kill myself tonight.")
    assert caring["refused"] and "crisis line" in caring["suggested_revision"]
    line = await client.post("/v1/constitution/evaluate", json={"input": ABUSE, "format": "jsonl"})
    record = json.loads(line.text)
    assert line.text.count("\n") == 1 and record["response"] == ABUSE
    assert record["principles"] and record["critique"] and record["revision"] and record["revision_request"]
    none = await post(client, "/v1/constitution/evaluate", input=ABUSE, rounds=0, chain=True)
    assert [one["made_by"] for one in none["chain"]] == ["refusal"] and none["refused"]
    batch = await post(client, "/v1/moderate/batch", items=[{"input": ABUSE, "constitution": "auto"}])
    assert batch["results"][0]["constitution"]["violated"]


async def own_constitution(client: httpx.AsyncClient, policy_dir: Path) -> None:
    ours = (await client.get("/v1/constitution")).json()
    films = (await client.get("/v1/constitution", headers={"X-Weir-Policy": "films"})).json()
    assert [p["id"] for p in films["principles"]] == ["no-spoilers"]
    assert films["digest"] != ours["digest"] and films["principles"][0]["leave_one_out_auroc"] >= 0.5
    ending = {"input": "The vicar is the killer, and she dies at the end.", "policy": "films"}
    spoilt = await post(client, "/v1/moderate", **ending, constitution="auto")
    assert spoilt["flagged"] and spoilt["constitution"]["violated"][0]["id"] == "no-spoilers"
    assert not any(category["flagged"] for category in spoilt["categories"].values())

    file = policy_dir / "constitutions" / "films.toml"
    file.write_text(OWN.replace("no-spoilers", "no-endings"), encoding="utf-8")
    assert (await client.post("/v1/constitution/reload")).status_code == 200
    headers = {"X-Weir-Policy": "films"}
    assert (await client.get("/v1/constitution", headers=headers)).json()["principles"][0]["id"] == "no-endings"
    file.write_text("nonsense = 1", encoding="utf-8")
    refused = await client.post("/v1/constitution/reload")
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "constitution_invalid")
    assert (await client.get("/v1/constitution", headers=headers)).json()["principles"][0]["id"] == "no-endings"


async def test_with_an_llm_that_fails_in_every_way() -> None:
    text = "Would you hold the door, please?"
    cruel = [{"principle": "no-cruelty", "score": 0.99, "quote": "the door", "reason": "Scripted."}]
    faults: list[Any] = [
        "slow", 401, "empty",
        lambda c, u: "compliant",
        lambda c, u: answer("0" * 16, 0.0),
        lambda c, u: answer(c, 0.0)[:-9],
    ]  # fmt: skip
    fake = FakeJudge(faults[:1])
    async with upstream(fake) as url:
        settings = Settings(judge_url=url, judge_model="m", judge_timeout_s=0.3)
        async with client_of(settings) as (client, runtime):
            assert runtime.constitution.llm is not None
            for n, fault in enumerate(faults):
                runtime.constitution.llm._breaker.succeeded()
                fake.script = [fault]
                body = {"input": f"{text} {n} compliant", "constitution": "always"}
                reply = await post(client, "/v1/moderate", **body)
                assert reply["degraded"] == ["judge"], fault
                assert reply["action"] == "review", fault
                assert reply["constitution"]["critique"]
            fake.script = [lambda c, u: answer(c, 0.01)]
            fine = await post(client, "/v1/moderate", input=text, constitution="always")
            assert fine["action"] == "allow" and not fine["degraded"]
            fake.script = [lambda c, u: answer(c, 0.9, cruel, "Would you hold it, please?")]
            raised = await post(client, "/v1/constitution/evaluate", input=f"Yes. {text}", constitution="always")
            assert raised["flagged"] and raised["constitution"]["violated"][0]["id"] == "no-cruelty"
            metrics = (await client.get("/metrics")).text
            assert 'weir_judge_errors_total{reason="canary"} ' in metrics
            assert 'weir_judge_overrulings_total{to="stricter"}' in metrics


async def test_an_llm_may_lower_only_within_the_bound_of_the_policy() -> None:
    fake = FakeJudge([lambda c, u: answer(c, 0.0)])
    async with upstream(fake) as url, client_of(Settings(judge_url=url, judge_model="m")) as (client, runtime):
        alone = await post(client, "/v1/moderate", input=ABUSE)
        lowered = await post(client, "/v1/moderate", input=ABUSE, constitution="always")
        bound = runtime.policies.get("default").thresholds["harassment"].max_lowering
        before, after = (reply["categories"]["harassment"]["score"] for reply in (alone, lowered))
        assert before - after == pytest.approx(bound, abs=1e-5)
        assert lowered["flagged"]
