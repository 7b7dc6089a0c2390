"""What holds for every request: ids, draining, leaving callers, metrics and log lines."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import MutableMapping
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.config import CONCURRENT_ITEMS
from tests.fake_runtime import FakeRuntime


async def test_a_callers_request_id_comes_back(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/moderate", json={}, headers={"X-Request-Id": "a.B-9_"})
    assert reply.headers["x-request-id"] == reply.json()["error"]["request_id"] == "a.B-9_"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\tb", "<script>", "é"])
async def test_an_odd_request_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    reply = await client.get("/livez", headers={b"X-Request-Id": given.encode("latin-1")})
    assert reply.headers["x-request-id"].startswith("req_")


async def test_a_draining_process_answers_503_and_says_so(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    runtime.draining = True
    for path in ("/v1/moderate", "/v1/moderations"):
        reply = await client.post(path, json={"input": "x"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "draining")
        assert reply.headers["retry-after"] == "2"
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/livez")).status_code == 200


async def test_the_work_of_a_caller_who_leaves_is_cancelled(runtime: FakeRuntime) -> None:
    app = create_app(runtime.settings, runtime=runtime)
    items = [{"input": "wait"} for _ in range(100)]
    events: list[dict[str, object]] = [{"type": "http.request", "body": json.dumps({"items": items}).encode()}]

    async def receive() -> dict[str, object]:
        if events:
            return events.pop()
        await asyncio.sleep(0.05)
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        raise AssertionError("nobody is there to answer")

    scope = {"type": "http", "method": "POST", "path": "/v1/moderate/batch", "headers": [], "query_string": b""}
    await app(scope, receive, send)
    await asyncio.sleep(0)
    assert (runtime.running, runtime.cancelled, len(runtime.seen)) == (0, CONCURRENT_ITEMS, CONCURRENT_ITEMS)
    assert 'weir_requests_total{route="/v1/moderate/batch",status="499"} 1.0' in runtime.metrics.render().decode()


async def test_a_body_that_never_comes_gives_its_place_back(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.edge.BODY_S", 0.05)
    app = create_app(runtime.settings, runtime=runtime)
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()  # a peer that is gone without a word
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(b"content-length", b"1000")]
    scope = {"type": "http", "method": "POST", "path": "/v1/moderate", "headers": headers, "query_string": b""}
    async with asyncio.timeout(5):
        await app(scope, receive, send)
    assert (sent[0]["status"], json.loads(sent[1]["body"])["error"]["code"]) == (408, "body_timeout")
    assert "weir_requests_in_flight 0.0" in runtime.metrics.render().decode()


async def test_a_request_is_one_line_of_facts(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "weir.request")
    await client.post("/v1/moderate", json={"input": "an insult"}, headers={"X-Request-Id": "mine"})
    (record,) = (record for record in caplog.records if record.name == "weir.request")
    facts = {name: getattr(record, name) for name in ("route", "status", "action", "chars")}
    assert facts == {"route": "/v1/moderate", "status": 200, "action": "block", "chars": 9}
    assert getattr(record, "id", "").startswith("sha256:")


async def test_labels_are_bounded(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    for number in range(20):
        await client.get(f"/v1/{number}")
        await client.post("/v1/moderate", json={"input": "x", f"field {number}": 1})
        await client.post("/v1/moderate", json={"input": "x", "policy": f"policy {number}"})
    text = runtime.metrics.render().decode()
    assert 'weir_requests_total{route="other",status="404"} 20.0' in text
    assert 'weir_rejections_total{code="invalid_request"} 20.0' in text
    assert 'weir_rejections_total{code="unknown_policy"} 20.0' in text
    assert text.count("weir_requests_total{") == 3


async def test_two_applications_live_in_one_process(client: httpx.AsyncClient) -> None:
    other = FakeRuntime()
    create_app(other.settings, runtime=other)
    await client.get("/livez")
    assert "weir_requests_total{" not in other.metrics.render().decode()
