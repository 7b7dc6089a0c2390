"""/v1/policies: thresholds read, set, rolled back and tried; and who may."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.taxonomy import CATEGORIES
from tests.state import Replica, fake_replica

HIGH = {"flag": 0.9990, "review": 0.9993, "block": 0.9996}


def key(name: str, policies: str = "") -> str:
    return f"{name}:{hashlib.sha256(f'key of {name}'.encode()).hexdigest()}:{policies}"


@pytest.fixture
async def weir(tmp_path: Path) -> AsyncIterator[Replica]:
    async with fake_replica(tmp_path / "data") as opened:
        yield opened


async def get(weir: Replica, path: str = "", **headers: str) -> Any:
    reply = await weir.client.get(f"/v1/policies/default{path}", headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_what_is_in_force_is_shown_with_an_etag(weir: Replica) -> None:
    reply = await weir.client.get("/v1/policies/default")
    body, tag = reply.json(), reply.headers["etag"]
    assert (body["name"], body["number"], body["set_by"], body["draft"]) == ("default", 0, None, False)
    assert list(body["thresholds"]) == list(CATEGORIES)
    assert body["thresholds"]["sexual/minors"]["fixed"] and body["thresholds"]["sexual/minors"]["target"] is None
    assert body["thresholds"]["hate"]["target"] == {"metric": "fpr", "bound": 0.05, "delta": 0.1}
    unchanged = await weir.client.get("/v1/policies/default", headers={"If-None-Match": tag})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
    assert (await weir.client.get("/v1/policies/nowhere")).json()["error"]["code"] == "unknown_policy"


async def test_lines_are_set_at_once_and_only_over_the_version_that_was_read(weir: Replica) -> None:
    tag = await weir.tag()
    before = await weir.moderate("what an insult")
    assert before["action"] == "block"
    done = await weir.put(tag, harassment=HIGH)
    assert done.status_code == 200 and done.json()["number"] == 1
    after = await weir.moderate("what an insult")
    assert after["categories"]["harassment"]["threshold"] == HIGH["flag"]
    assert after["policy_version"] != before["policy_version"]
    assert (await weir.tag()) == done.headers["etag"] != tag
    late = await weir.put(tag, harassment={"flag": 0.1})
    assert (late.status_code, late.json()["error"]["code"]) == (412, "version_conflict")
    bare = await weir.put(None, harassment={"flag": 0.1})
    assert (bare.status_code, bare.json()["error"]["code"]) == (428, "precondition_required")
    assert (await weir.put("*", harassment={"flag": 0.2})).status_code == 200
    body = await get(weir)
    assert body["thresholds"]["harassment"]["flag"] == 0.2 and body["thresholds"]["harassment"]["block"] == 0.9996
    assert (body["number"], body["set_by"], body["reason"]) == (2, "local", "put")


@pytest.mark.parametrize(
    "categories",
    [
        {},
        {"kindness": {"flag": 0.5}},
        {"hate": {"flag": 0.9, "review": 0.5}},
        {"hate": {"flag": 0}},
        {"hate": {"block": 1.5}},
        {"hate": {"flag": "low"}},
        {"hate": {"most": "flag"}},
        {"hate": {"flag": 0.999}},
    ],
)
async def test_lines_out_of_order_are_refused(weir: Replica, categories: dict[str, Any]) -> None:
    tag = await weir.tag()
    reply = await weir.client.put(
        "/v1/policies/default/thresholds", json={"categories": categories}, headers={"If-Match": tag}
    )
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")
    assert await weir.tag() == tag


async def test_rolling_back_restores_the_exact_decisions(weir: Replica) -> None:
    texts = ["what an insult", "tea is fine", "a threat", "a bomb", "rude"]

    async def decisions() -> list[Any]:
        verdicts = [await weir.moderate(text) for text in texts]
        return [(v["action"], v["policy_version"], v["categories"], v["explanation"]) for v in verdicts]

    start = await decisions()
    await weir.put("*", harassment=HIGH, toxicity={"flag": 0.91, "review": 0.92, "block": 0.93})
    first = await decisions()
    await weir.put("*", harassment={"flag": 0.3, "review": 0.9993, "block": 1.0})
    assert start != first != await decisions()
    back = (await weir.client.post("/v1/policies/default/rollback")).json()
    assert (back["number"], back["reason"], back["detail"]) == (3, "rollback", {"to": 1})
    assert await decisions() == first
    to_start = await weir.client.post("/v1/policies/default/rollback", json={"to": 0})
    assert to_start.json()["number"] == 4 and await decisions() == start
    again = await weir.client.post("/v1/policies/default/rollback", json={"to": 1})
    assert again.json()["number"] == 5 and await decisions() == first
    for wrong in (5, 6, 99):
        refused = await weir.client.post("/v1/policies/default/rollback", json={"to": wrong})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "unknown_version")
    stale = await weir.client.post("/v1/policies/default/rollback", headers={"If-Match": '"default-x.1"'})
    assert stale.status_code == 412


async def test_there_is_nothing_to_roll_back_at_the_start(weir: Replica) -> None:
    reply = await weir.client.post("/v1/policies/default/rollback")
    assert reply.json()["error"]["code"] == "unknown_version"


async def test_every_version_and_who_did_it_stays_on_record(weir: Replica) -> None:
    await weir.put("*", harassment=HIGH)
    await weir.client.post("/v1/policies/default/rollback")
    body = await get(weir, "/versions")
    assert body["current"] == 2
    assert [(v["number"], v["reason"], v["author"]) for v in body["versions"]] == [
        (2, "rollback", "local"),
        (1, "put", "local"),
    ]
    assert body["versions"][1]["thresholds"]["harassment"] == HIGH and body["versions"][0]["thresholds"] == {}
    assert [event["kind"] for event in body["trail"]] == ["rollback", "put"]


async def test_a_new_start_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    async with fake_replica(tmp_path) as weir:
        await weir.put("*", harassment=HIGH)
        tag = await weir.tag()
    async with fake_replica(tmp_path) as weir:
        assert await weir.tag() == tag
        assert (await weir.moderate("what an insult"))["categories"]["harassment"]["threshold"] == HIGH["flag"]


async def test_another_artefact_starts_from_its_own_lines(tmp_path: Path) -> None:
    async with fake_replica(tmp_path) as weir:
        await weir.put("*", harassment=HIGH)
        learnt = await weir.tag()
    async with fake_replica(tmp_path, digest="1" * 64) as weir:
        body = await get(weir)
        assert body["number"] == 0 and body["thresholds"]["harassment"]["flag"] == 0.4
        assert (await weir.put("*", harassment={"flag": 0.01})).json()["number"] == 1
    async with fake_replica(tmp_path) as weir:  # and the old one finds its own again
        assert await weir.tag() == learnt


async def test_policies_have_versions_of_their_own(weir: Replica) -> None:
    await weir.put("*", harassment=HIGH)
    other = await weir.client.get("/v1/policies/kids")
    assert other.json()["number"] == 0
    assert (await weir.moderate("what an insult", policy="kids"))["action"] == "block"


async def test_a_draft_decides_nothing_and_tells_what_it_would_change(weir: Replica) -> None:
    await weir.put("*", harassment=HIGH)
    before = await weir.moderate("what an insult")
    assert before["action"] != "block"
    tried = {"categories": {"harassment": {"flag": 0.1, "review": 0.2, "block": 0.3}}}
    assert (await weir.client.put("/v1/policies/default/draft", json=tried)).json()["chain"] == "draft"
    assert (await get(weir))["draft"] is True
    for _ in range(3):
        verdict = await weir.moderate("what an insult")
        assert (verdict["action"], verdict["policy_version"]) == (before["action"], before["policy_version"])
    await weir.moderate("tea")
    async with asyncio.timeout(60):
        while (report := await get(weir, "/draft"))["verdicts"] < 4:  # noqa: ASYNC110 - flushed each second
            await asyncio.sleep(0.05)
    assert (report["active"], report["changed"], report["would_block"]) == (True, 3, 3)
    assert list(report["categories"]) == ["harassment"]
    assert report["categories"]["harassment"]["draft"] == tried["categories"]["harassment"]
    metrics = (await weir.client.get("/metrics")).text
    assert 'weir_would_block_total{by="draft",policy="default"} 3.0' in metrics
    await weir.client.delete("/v1/policies/default/draft")
    assert (await get(weir))["draft"] is False
    assert (await get(weir, "/draft"))["active"] is False
    await weir.moderate("what an insult")
    assert 'weir_would_block_total{by="draft",policy="default"} 3.0' in (await weir.client.get("/metrics")).text


async def test_a_dry_run_tells_the_effect_and_changes_nothing(weir: Replica) -> None:
    tag = await weir.tag()
    for _ in range(4):
        await weir.moderate("what an insult")
    async with asyncio.timeout(60):
        while True:
            body = (await weir.client.post("/v1/policies/default/adapt")).json()
            if body["categories"]["harassment"]["effect"] is not None:
                break
            await asyncio.sleep(0.05)
    assert (body["applied"], body["changed"], body["number"]) == (False, False, 0)
    assert body["categories"]["harassment"]["effect"]["before"]["block"] == 1.0
    assert body["categories"]["sexual/minors"]["reason"] == "fixed"
    assert await weir.tag() == tag
    applied = (await weir.client.post("/v1/policies/default/adapt", json={"apply": True})).json()
    assert (applied["applied"], applied["number"]) == (False, 0)  # no feedback, no reason to move
    wrong = await weir.client.post("/v1/policies/default/adapt", json={"targets": {"kindness": {}}})
    assert wrong.status_code == 400
    tiny = {"harassment": {"metric": "fpr", "bound": 1e-300}}
    wrong = await weir.client.post("/v1/policies/default/adapt", json={"targets": tiny})
    assert wrong.status_code == 400


async def test_reads_need_a_key_and_writes_an_admin_key(tmp_path: Path) -> None:
    settings = {"api_keys": key("reader"), "admin_keys": ",".join((key("root"), key("kids", "kids")))}
    async with fake_replica(tmp_path, **settings) as weir:
        writes = (("PUT", "/thresholds"), ("POST", "/rollback"), ("PUT", "/draft"), ("DELETE", "/draft"))
        for method, path in (*writes, ("GET", ""), ("GET", "/versions"), ("POST", "/adapt")):
            reply = await weir.client.request(method, f"/v1/policies/default{path}")
            assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
        reader, root, kids = ({"X-Weir-Key": f"key of {name}"} for name in ("reader", "root", "kids"))
        assert (await weir.client.get("/v1/policies/default", headers=reader)).status_code == 200
        assert (await weir.client.post("/v1/policies/default/adapt", headers=reader)).status_code == 200
        for method, path in writes:
            reply = await weir.client.request(method, f"/v1/policies/default{path}", headers=reader)
            assert (reply.status_code, reply.json()["error"]["code"]) == (403, "admin_required")
        apply = {"apply": True}
        refused = await weir.client.post("/v1/policies/default/adapt", json=apply, headers=reader)
        assert refused.json()["error"]["code"] == "admin_required"
        body = {"categories": {"hate": {"flag": 0.2}}}
        done = await weir.client.put("/v1/policies/default/thresholds", json=body, headers={**root, "If-Match": "*"})
        assert done.json()["author"] == "root"
        assert (await weir.client.post("/v1/moderate", json={"input": "tea"}, headers=root)).status_code == 200
        bound = await weir.client.put("/v1/policies/default/thresholds", json=body, headers={**kids, "If-Match": "*"})
        assert bound.json()["error"]["code"] == "policy_forbidden"


async def test_with_keys_but_no_admin_keys_nobody_writes(tmp_path: Path) -> None:
    async with fake_replica(tmp_path, api_keys=key("reader")) as weir:
        headers = {"X-Weir-Key": "key of reader", "If-Match": "*"}
        for method, path in (("PUT", "/thresholds"), ("POST", "/rollback"), ("PUT", "/draft")):
            reply = await weir.client.request(method, f"/v1/policies/default{path}", headers=headers)
            assert (reply.status_code, reply.json()["error"]["code"]) == (403, "admin_disabled")


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {}, 404),  # let in: there is nothing to roll back
        ("::1", {"host": "localhost:8000"}, 404),
        ("127.0.0.1", {"origin": "http://127.0.0.1"}, 404),
        ("10.0.0.7", {}, 403),
        ("127.0.0.1", {"x-forwarded-for": "10.0.0.7"}, 403),
        ("127.0.0.1", {"origin": "https://evil.example"}, 403),
        ("127.0.0.1", {"origin": "null"}, 403),
        ("127.0.0.1", {"host": "evil.example"}, 403),
    ],
)
async def test_without_keys_only_this_machine_may_write(
    weir: Replica, client: str, headers: dict[str, str], status: int
) -> None:
    app = create_app(weir.runtime.settings, runtime=weir.runtime)
    transport = httpx.ASGITransport(app, client=(client, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as asking:
        reply = await asking.post("/v1/policies/default/rollback", headers=headers)
    assert reply.status_code == status


async def test_sixteen_writers_over_http_lose_no_update(weir: Replica, tmp_path: Path) -> None:
    names = [name for name in CATEGORIES if "/" not in name] * 2
    async with fake_replica(tmp_path / "data") as other:

        async def write(place: int) -> int:
            asked = (weir, other)[place % 2]
            while True:
                reply = await asked.put(await asked.tag(), **{names[place]: {"flag": 0.1 + place / 1000}})
                if reply.status_code == 200:
                    return int(reply.json()["number"])
                assert reply.status_code == 412

        numbers = await asyncio.gather(*(write(place) for place in range(16)))
        assert sorted(numbers) == list(range(1, 17))
        last = {names[place]: 0.1 + place / 1000 for _, place in sorted(zip(numbers, range(16), strict=True))}
        for asked in (weir, other):
            await asked.runtime.versions.refresh(force=True)
            lines = (await asked.client.get("/v1/policies/default")).json()["thresholds"]
            assert {name: lines[name]["flag"] for name in last} == last
