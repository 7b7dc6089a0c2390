"""Keys are charged by the text, told where they stand, and refused before the body is read."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from service.backends.buckets import HostBuckets, Limiter
from service.config import Settings
from service.environment import load_settings
from service.errors import StartRefused
from service.metrics import Metrics
from tests.api.conftest import client_of
from tests.fake_runtime import FakeRuntime

DIGESTS = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "bob", "free")}
KEYS = ",".join(f"{name}:{digest}" for name, digest in DIGESTS.items())


@pytest.fixture
async def runtime() -> AsyncIterator[FakeRuntime]:
    """With 10 texts a day for each key but one."""
    settings = Settings(api_keys=KEYS, rate_limit="10/day,free=off")  # type: ignore[arg-type]
    made = FakeRuntime(settings)
    made.limits = Limiter(settings.rate_limit, HostBuckets(None, ["ann", "bob"]), None, Metrics())
    yield made
    await made.limits.close()


@pytest.fixture
async def client(runtime: FakeRuntime) -> AsyncIterator[httpx.AsyncClient]:
    """Its client."""
    async with client_of(runtime) as made:
        yield made


async def post(client: httpx.AsyncClient, key: str, items: int, path: str = "/v1/moderations") -> httpx.Response:
    body: Any = {"input": ["x"] * items} if path == "/v1/moderations" else {"items": [{"input": "x"}] * items}
    return await client.post(path, json=body, headers={"X-Weir-Key": key})


async def test_every_text_of_a_batch_is_charged(client: httpx.AsyncClient) -> None:
    first = await post(client, "ann", 4)
    assert (first.status_code, first.headers["ratelimit-limit"], first.headers["ratelimit-remaining"]) == (
        *(200, "10"),
        "6",
    )
    assert first.headers["ratelimit-policy"] == "10;w=86400"
    assert int(first.headers["ratelimit-reset"]) == pytest.approx(4 * 8640, abs=2)
    second = await post(client, "ann", 5, "/v1/moderate/batch")
    assert second.headers["ratelimit-remaining"] == "1"
    third = await post(client, "ann", 2)
    assert (third.status_code, third.json()["error"]["code"]) == (429, "rate_limited")
    assert int(third.headers["retry-after"]) == pytest.approx(8640, abs=2)
    assert (await client.post("/v1/moderate", json={"input": "x"}, headers={"X-Weir-Key": "ann"})).status_code == 200
    assert (await post(client, "bob", 10)).status_code == 200


async def test_a_stream_and_a_guardrails_prompt_are_texts_like_any(client: httpx.AsyncClient) -> None:
    headers = {"X-Weir-Key": "ann", "Content-Type": "text/plain"}
    assert (await client.post("/v1/stream", content=b"A calm day.", headers=headers)).status_code == 200
    for side, left in (("request", "7"), ("response", None)):
        body = {"input_type": side, "texts": ["a", "b"]}
        reply = await client.post("/beta/litellm_basic_guardrail_api", json=body, headers={"X-Weir-Key": "ann"})
        assert (reply.status_code, reply.headers.get("ratelimit-remaining")) == (200, left)
    assert (await post(client, "ann", 7)).status_code == 200
    refused = await client.post("/v1/stream", content=b"A calm day.", headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")


async def test_an_empty_bucket_is_refused_unread(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    assert (await post(client, "ann", 10)).status_code == 200
    judged = len(runtime.seen)
    for path in ("/v1/moderate", "/v1/moderate/batch", "/v1/moderations"):
        reply = await client.post(path, content=b"not even JSON", headers={"X-Weir-Key": "ann"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "rate_limited")
        assert reply.headers["ratelimit-remaining"] == "0" and int(reply.headers["retry-after"]) > 0
    reply = await client.post("/v1alpha1/comments:analyze?key=ann", json={})
    assert reply.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert len(runtime.seen) == judged
    assert (await client.get("/v1/policy", headers={"X-Weir-Key": "ann"})).status_code == 200


async def test_a_key_without_a_limit_is_told_of_none(client: httpx.AsyncClient) -> None:
    reply = await post(client, "free", 200)
    assert reply.status_code == 200 and "ratelimit-limit" not in reply.headers


async def test_each_part_of_googles_batch_is_charged_to_its_own_key(client: httpx.AsyncClient) -> None:
    comment = '{"comment": {"text": "x"}, "requestedAttributes": {"TOXICITY": {}}}'
    parts = "".join(
        f"--b\r\nContent-Type: application/http\r\nContent-ID: <{n}>\r\n\r\n"
        f"POST /v1alpha1/comments:analyze?key=bob HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{comment}\r\n"
        for n in range(12)
    )
    headers = {"Content-Type": "multipart/mixed; boundary=b"}
    reply = await client.post("/batch", content=f"{parts}--b--\r\n", headers=headers)
    assert reply.status_code == 200
    assert (reply.text.count("HTTP/1.1 200"), reply.text.count("RATE_LIMIT_EXCEEDED")) == (10, 2)


@pytest.mark.parametrize(
    ("rate", "keys", "says"),
    [
        ("10/min", "", "needs WEIR_API_KEYS"),
        ("10/min,carl=5/s", KEYS, "names a key"),
        ("10", KEYS, "written 600/min"),
    ],
)
def test_a_limit_of_nobody_stops_the_start(rate: str, keys: str, says: str) -> None:
    with pytest.raises(StartRefused, match=says):
        load_settings({"WEIR_RATE_LIMIT": rate, "WEIR_API_KEYS": keys})
