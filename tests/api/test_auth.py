"""Keys: who is let in, and to which policies."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from service.api.auth import authorize
from service.api.edge import OPEN_PATHS
from service.config import ApiKey, Settings
from tests.api.conftest import client_of
from tests.fake_runtime import FakeRuntime


def key(name: str, *policies: str) -> ApiKey:
    return ApiKey(name, hashlib.sha256(f"key of {name}".encode()).hexdigest(), policies)


def test_of_several_keys_the_first_is_the_callers() -> None:
    for name, lead in ((b"authorization", b"Bearer "), (b"x-api-key", b"")):
        headers = [(name, lead + b"key of one"), (name, lead + b"key of two")]
        assert authorize(headers, (key("one"), key("two"))).name == "one"


@pytest.fixture
def runtime() -> FakeRuntime:
    """A runtime with keys: one for all policies, one bound to the default one and one bound to another."""
    return FakeRuntime(Settings(api_keys=(key("all"), key("plain", "default"), key("kids", "kids"))))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic key of all"},
        {"X-Weir-Key": "wrong"},
        {"X-Weir-Key": "wrong", "Authorization": "Bearer key of all"},
        {"X-Weir-Key": hashlib.sha256(b"key of all").hexdigest()},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
)
async def test_without_a_valid_key_nothing_is_read(
    client: httpx.AsyncClient, runtime: FakeRuntime, headers: dict[str, str]
) -> None:
    for path in ("/v1/moderate", "/v1/moderate/batch", "/v1/moderations", "/v1/policy", "/v1/nothing"):
        reply = await client.post(path, content=b"not json", headers=headers)
        assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert reply.json()["error"]["code"] == "invalid_api_key"
    assert runtime.seen == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Weir-Key": "key of all"},
        {"authorization": "bearer key of all"},
        {"X-Api-Key": "key of all"},
        {"X-Api-Key": "the upstream's", "authorization": "bearer key of all"},
    ],
)
async def test_a_key_comes_in_any_of_its_headers(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await client.post("/v1/moderate", json={"input": "x"}, headers=headers)).status_code == 200


async def test_probes_and_pages_need_no_key(client: httpx.AsyncClient) -> None:
    for path in OPEN_PATHS:
        assert (await client.get(path)).status_code == 200


async def test_a_bound_key_reaches_its_policies_only(client: httpx.AsyncClient) -> None:
    async def ask(owner: str, policy: str | None) -> httpx.Response:
        body = {"input": "x", "policy": policy}
        return await client.post("/v1/moderate", json=body, headers={"X-Weir-Key": f"key of {owner}"})

    assert (await ask("all", "kids")).json()["policy"] == "kids"
    assert (await ask("plain", None)).json()["policy"] == "default"
    refused = await ask("plain", "kids")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "policy_forbidden")
    # Not even whether a policy exists is told to a key that may not use it.
    assert (await ask("plain", "nowhere")).status_code == 403


async def test_a_key_bound_to_another_policy_means_that_one(client: httpx.AsyncClient) -> None:
    headers = {"X-Weir-Key": "key of kids"}
    assert (await client.post("/v1/moderate", json={"input": "x"}, headers=headers)).json()["policy"] == "kids"
    assert (await client.get("/v1/policy", headers=headers)).json()["name"] == "kids"
    refused = await client.post("/v1/moderations", json={"input": "x"}, headers={**headers, "X-Weir-Policy": "default"})
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")


async def test_without_configured_keys_any_key_is_as_good_as_none() -> None:
    async with client_of(FakeRuntime()) as client:
        reply = await client.post("/v1/moderate", json={"input": "x"}, headers={"Authorization": "Bearer any"})
        assert reply.status_code == 200
