"""Google's batches: many calls in one multipart body, each answered in its place."""

from __future__ import annotations

import hashlib
import json
from email.parser import BytesParser
from typing import Any

import httpx
import pytest

from service.config import ApiKey, Settings
from tests.api.conftest import client_of
from tests.fake_runtime import FakeRuntime

ANALYZE = "/v1alpha1/comments:analyze"


def part(
    text: str,
    content_id: str = "<u + 1>",
    target: str = ANALYZE,
    method: str = "POST",
    headers: str = "",
    end: str = "\r\n",
) -> bytes:
    body = json.dumps({"comment": {"text": text}, "requestedAttributes": {"TOXICITY": {}}})
    lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary", f"Content-ID: {content_id}", ""]
    lines += [f"{method} {target} HTTP/1.1", "Content-Type: application/json", *headers.splitlines(), "", body]
    return end.join(lines).encode()


async def send(client: httpx.AsyncClient, *parts: bytes, end: bytes = b"\r\n", **more: Any) -> httpx.Response:
    body = b"".join(b"--==b==" + end + piece + end for piece in parts) + b"--==b==--"
    return await client.post(
        "/batch", content=body, headers={"Content-Type": 'multipart/mixed; boundary="==b=="'}, **more
    )


def answers(reply: httpx.Response) -> list[tuple[str, str, dict[str, Any]]]:
    """Content id, status line and JSON of each part, read with the standard library."""
    assert reply.status_code == 200, reply.text
    whole = BytesParser().parsebytes(
        b"Content-Type: " + reply.headers["content-type"].encode() + b"\r\n\r\n" + reply.content
    )
    found = []
    for piece in whole.get_payload():
        assert piece.get_content_type() == "application/http"
        head, _, body = piece.get_payload().replace("\r\n", "\n").partition("\n\n")
        found.append((piece["Content-ID"], head.splitlines()[0], json.loads(body)))
    return found


@pytest.mark.parametrize("end", ["\r\n", "\n"])
async def test_every_part_is_answered_in_its_place(client: httpx.AsyncClient, end: str) -> None:
    parts = [
        part("rude", "<aa + one%20two>", end=end),
        part("", "<aa + 2>", end=end),
        part("surprise", "<aa + 3>", end=end),
        part("x", "<aa + 4>", target="/v1/moderate", end=end),
        part("x", "<aa +\r\n 5>", target=f"https://weir.example{ANALYZE}?alt=json", end=end),
        part("x", "<aa + 6>", method="GET", end=end),
        b"nothing that could be read",
    ]
    found = answers(await send(client, *parts, end=end.encode()))
    ids = [content_id for content_id, _, _ in found]
    assert ids == [*(f"<response-aa + {name}>" for name in ("one%20two", "2", "3", "4", "5", "6")), None]
    assert [line for _, line, _ in found] == [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 400 Bad Request",
        "HTTP/1.1 500 Internal Server Error",
        "HTTP/1.1 404 Not Found",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 404 Not Found",
        "HTTP/1.1 400 Bad Request",
    ]
    assert found[0][2]["attributeScores"]["TOXICITY"]["summaryScore"]["value"] == pytest.approx(0.9)
    assert found[1][2]["error"]["details"][0]["errorType"] == "COMMENT_EMPTY"


async def test_each_part_has_a_key_of_its_own() -> None:
    one, admin = (ApiKey(key, hashlib.sha256(key.encode()).hexdigest()) for key in ("k", "a"))
    runtime = FakeRuntime(Settings(api_keys=(one,), admin_keys=(admin,)))
    parts = [
        part("x", target=f"{ANALYZE}?key=k"),
        part("x", target=f"{ANALYZE}?key=wrong"),
        part("x", headers="X-Goog-Api-Key: k"),
        part("x"),
        part("x", target=f"{ANALYZE}?key=a"),  # an admin's, as on every other path
    ]
    async with client_of(runtime) as client:
        codes = [line.split()[1] for _, line, _ in answers(await send(client, *parts))]
        assert codes == ["200", "400", "200", "403", "200"]
        codes = [line.split()[1] for _, line, _ in answers(await send(client, *parts, params={"key": "k"}))]
        assert codes == ["200", "400", "200", "200", "200"]


async def test_a_thousand_parts_a_few_at_a_time(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    body = {"comment": {"text": "One. Two. Three."}, "requestedAttributes": {"TOXICITY": {}}, "spanAnnotations": True}
    piece = b"\r\n\r\nPOST " + ANALYZE.encode() + b" HTTP/1.1\r\n\r\n" + json.dumps(body).encode()
    assert len(answers(await send(client, *[piece] * 1_000))) == 1_000
    assert len(runtime.seen) == 4_000
    assert runtime.most_running <= 8
    refused = await send(client, *[piece] * 1_001)
    assert (refused.status_code, refused.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/mixed", b"--b\r\n\r\n--b--"),
        ("multipart/mixed; boundary=b", b""),
        ("multipart/mixed; boundary=b", b"--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--"),
    ],
)
async def test_what_is_no_batch(client: httpx.AsyncClient, content_type: str, body: bytes) -> None:
    reply = await client.post("/batch", content=body, headers={"Content-Type": content_type})
    error = reply.json()["error"]
    assert (reply.status_code, error["status"], error["details"][0]["errorType"]) == (
        *(400, "INVALID_ARGUMENT"),
        "INVALID_REQUEST",
    )


async def test_a_batch_may_be_larger_than_one_body(client: httpx.AsyncClient) -> None:
    large = part("x" * 20_000)
    assert len(answers(await send(client, *[large] * 100))) == 100
    reply = await send(client, *[large] * 500)
    assert reply.json()["error"]["details"][0]["errorType"] == "COMMENT_TOO_LONG"


async def test_a_content_id_cannot_write_headers(client: httpx.AsyncClient) -> None:
    found = answers(await send(client, part("x", "<a\x0bSet-Cookie: x>")))
    assert found[0][0] is None
