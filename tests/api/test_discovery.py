"""The discovery document: whole, and with this server's own address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.config import Settings
from tests.api.conftest import client_of
from tests.fake_runtime import FakeRuntime

PATH = "/$discovery/rest?version=v1alpha1"


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)


async def test_everything_that_is_referred_to_is_there(client: httpx.AsyncClient) -> None:
    document = (await client.get(PATH)).json()
    assert set(references(document)) == set(document["schemas"])
    assert len(document["schemas"]) == 11
    assert (document["id"], document["servicePath"], document["batchPath"]) == ("commentanalyzer:v1alpha1", "", "batch")
    methods = document["resources"]["comments"]["methods"]
    assert {name: (one["path"], one["httpMethod"]) for name, one in methods.items()} == {
        "analyze": ("v1alpha1/comments:analyze", "POST"),
        "suggestscore": ("v1alpha1/comments:suggestscore", "POST"),
    }
    assert (await client.get("/%24discovery/rest?version=v1alpha1&key=x")).json() == document
    assert "mtlsRootUrl" not in document


@pytest.mark.parametrize(
    ("headers", "configured", "root"),
    [
        ({"Host": "weir.example:8000"}, None, "http://weir.example:8000/"),
        ({"Host": "weir.example", "X-Forwarded-Proto": "https, http"}, None, "https://weir.example/"),
        ({"Host": "[::1]:8000", "X-Forwarded-Proto": "gopher"}, None, "http://[::1]:8000/"),
        ({"Host": 'x"/<script>'}, None, "http://localhost/"),
        ({"Host": "inside"}, "https://outside.example/weir", "https://outside.example/weir/"),
    ],
)
async def test_the_address_is_the_one_that_clients_see(
    headers: dict[str, str], configured: str | None, root: str
) -> None:
    async with client_of(FakeRuntime(Settings(public_url=configured))) as client:
        assert (await client.get(PATH, headers=headers)).json()["rootUrl"] == root


async def test_another_version_is_not_there(client: httpx.AsyncClient) -> None:
    reply = await client.get("/$discovery/rest?version=v2")
    assert (reply.status_code, reply.json()["error"]["status"]) == (404, "NOT_FOUND")
