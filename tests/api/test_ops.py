"""Probes, metrics and pages."""

from __future__ import annotations

import base64
import hashlib
import re

import httpx
import pytest

from service.api.ops import STATIC
from tests.fake_runtime import FakeRuntime


async def test_readiness_is_the_runtimes(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    assert (await client.get("/readyz")).text == "ready\n"
    runtime.ready = False
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.head("/livez")).status_code == 200


async def test_every_series_is_there_from_the_start(client: httpx.AsyncClient) -> None:
    await client.post("/v1/moderate", json={"input": "an insult"})
    reply = await client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=")
    families = {line.split()[2] for line in reply.text.splitlines() if line.startswith("# TYPE")}
    expected = {"requests_total", "request_seconds", "stage_seconds", "verdicts_total", "flags_total"}
    expected |= {"degraded_total", "rejections_total", "queue_depth", "queue_wait_seconds", "batch_items"}
    expected |= {"build_info", "model_info"}
    assert {f"weir_{name}" for name in expected} <= families


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_pages_run_their_own_script_and_no_other(client: httpx.AsyncClient, path: str) -> None:
    reply = await client.get(path)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for tag in ("script", "style"):
        (block,) = re.findall(rf"<{tag}>(.*?)</{tag}>", reply.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize("page", sorted(STATIC.glob("*.html")), ids=lambda page: page.name)
def test_pages_have_no_outside_assets_and_never_write_html(page: object) -> None:
    text = (STATIC / str(page)).read_text()
    assert not re.search(r"""(src|href)=["'](https?:)?//""", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(| on\w+=", text)


async def test_the_api_describes_itself(client: httpx.AsyncClient) -> None:
    api = (await client.get("/openapi.json")).json()
    policy = "/v1/policies/{name}"
    relayed = [f"/v1/{name}" for name in ("chat/completions", "messages", "responses")]
    assert set(api["paths"]) == {
        *relayed,
        *(f"/u/{{upstream}}{path}" for path in relayed),
        *("/v1/stream", "/beta/litellm_basic_guardrail_api"),
        *("/v1/moderate", "/v1/moderate/batch", "/v1/moderations", "/v1/policy", "/v1/feedback"),
        "/v1/admin/reload",
        *(f"/v1/images/banks{path}" for path in ("", "/{bank}", "/{bank}/hashes", "/{bank}/hashes/{known}")),
        *("/v1/constitution", "/v1/constitution/evaluate", "/v1/constitution/reload"),
        *(
            policy,
            *(f"{policy}/{name}" for name in ("thresholds", "draft", "adapt", "rollback", "versions", "feedback")),
        ),
        *(f"/v1/images/banks{path}" for path in ("", "/{bank}", "/{bank}/hashes", "/{bank}/hashes/{known}")),
        *("/v1alpha1/comments:analyze", "/v1alpha1/comments:suggestscore", "/batch", "/$discovery/rest"),
    }
    body = api["paths"]["/v1/moderate"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"input", "images", "context", "role", "policy", "explain", "constitution"}
