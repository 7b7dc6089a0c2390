"""What a caller sends appears in no log line, metric, error or answer: not the text, not a header, not a query."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from itertools import chain

import httpx
import pytest

from tests.running import Running

CANARY = "canary-7f3a91"

PATHS = (
    *("/v1/moderate", "/v1/moderate/batch", "/v1/moderations", "/v1/policy", "/livez", "/metrics", "/", f"/{CANARY}"),
    *("/v1alpha1/comments:analyze", "/v1alpha1/comments:suggestscore", "/batch", "/$discovery/rest"),
)


def bodies() -> Iterator[bytes]:
    """The canary in every place of a body, good and bad."""
    word = CANARY
    items: list[object] = [
        {"input": word}, {"input": f"{word} insult"}, {"input": f"{word} surprise"}, {"input": f"{word} half"},
        {"input": f"{word} overload"}, {"input": [{"type": "text", "text": word}]}, {"input": [{"type": word}]},
        {"input": [{"type": "image_url", "image_url": {"url": word}}]}, {"input": [word]}, {"input": {word: word}},
        {"input": "x", "context": [{"role": "user", "content": word}]}, {"input": "x", "role": word},
        {"input": "x", "context": [{"role": word, "content": word, word: word}]}, {"input": "x", "context": word},
        {"input": "x", "policy": word}, {"input": "x", "model": word}, {"input": "x", "explain": word},
        {"input": "x", word: word}, {word: word}, word, [word],
        {"comment": {"text": word}, "requestedAttributes": {"TOXICITY": {}}, "communityId": word, "sessionId": word},
        {"comment": {"text": f"{word} surprise"}, "requestedAttributes": {"TOXICITY": {}}, word: word},
        {"comment": {"text": word, "type": word}}, {"comment": {"text": word}, "attributeScores": word},
    ]  # fmt: skip
    yield from (json.dumps(item).encode() for item in items)
    yield json.dumps({"items": items}).encode()
    yield json.dumps({"items": word}).encode()
    yield f'{{"input": "{word}'.encode()
    yield b"\xff" + word.encode()
    yield word.encode() * 100_000


def requests(client: httpx.Client) -> Iterator[httpx.Response]:
    """Every body to every path, and the canary in headers and the query string."""
    names = ("X-Weir-Key", "X-Weir-Policy", "User-Agent", "Cookie", "Referer", "X-Forwarded-For", "X-Canary", "Origin")
    headers = {**dict.fromkeys(names, CANARY), "Authorization": f"Bearer {CANARY}", CANARY: CANARY}
    for path, body in ((path, body) for path in PATHS for body in bodies()):
        yield client.post(path, content=body)
    for path in PATHS:
        yield client.post(path, json={"input": CANARY, "policy": "default"}, headers=headers, params={CANARY: CANARY})
        yield client.get(path, headers=headers, params={"key": CANARY})
        yield client.request(CANARY.upper(), path)
        yield client.get(path, headers={"X-Request-Id": f"<{CANARY}>", "Content-Type": CANARY, "Accept": CANARY})


def malformed(port: int) -> bytes:
    """The answer to something that is not HTTP."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(f"{CANARY} {CANARY}\r\n{CANARY}\r\n\r\n".encode())
        return raw.recv(4096)


@pytest.mark.parametrize("log_format", ["json", "plain"])
def test_the_canary_never_sings(log_format: str) -> None:
    statuses = set()
    with Running(WEIR_LOG_FORMAT=log_format, WEIR_LOG_LEVEL="debug") as running:
        with httpx.Client(base_url=running.url, timeout=30) as client:
            for reply in chain(requests(client), (client.get("/metrics"), client.get("/livez"))):
                statuses.add(reply.status_code)
                assert CANARY not in reply.text.lower()
                assert CANARY not in str(reply.headers).lower()
            assert CANARY not in malformed(int(running.url.rpartition(":")[2])).decode().lower()
            assert client.get("/livez").status_code == 200
        running.stop()
        log = running.log()
    assert {200, 400, 404, 405, 413, 429, 500} <= statuses
    assert "unexpected error" in log and "Traceback" not in log
    assert CANARY not in log.lower()


def test_nor_does_a_request_id_reach_the_log() -> None:
    with Running(WEIR_LOG_LEVEL="debug") as running:
        reply = httpx.post(f"{running.url}/v1/moderate", json={}, headers={"X-Request-Id": CANARY})
        running.stop()
        assert reply.headers["x-request-id"] == CANARY
        assert "sha256:" in running.log() and CANARY not in running.log()
