"""Every kind of bad input: its status, its stable code, its dialect's shape, and nothing of it in the answer."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.fake_runtime import FakeRuntime

SECRET = "xyzzy-plugh"
TEXT = json.dumps({"input": "x"})

CASES: dict[str, tuple[object, int, str, str | None]] = {
    "no body": (b"", 400, "invalid_json", None),
    "not json": (f"{SECRET}".encode(), 400, "invalid_json", None),
    "cut off": (f'{{"input": "{SECRET}'.encode(), 400, "invalid_json", None),
    "not utf-8": (b'{"input": "\xff\xfe"}', 400, "invalid_json", None),
    "utf-16": (TEXT.encode("utf-16"), 400, "invalid_json", None),
    "nan": (b'{"input": NaN}', 400, "invalid_json", None),
    "long integer": (b'{"input": ' + b"9" * 5000 + b"}", 400, "invalid_json", None),
    "deep arrays": (b'{"input": ' + b"[" * 400_000, 400, "invalid_json", None),
    "deep objects": (b'{"a":' * 150_000, 400, "invalid_json", None),
    "a string": (json.dumps(SECRET).encode(), 400, "invalid_request", None),
    "a list": (json.dumps([SECRET]).encode(), 400, "invalid_request", None),
    "null": (b"null", 400, "invalid_request", None),
    "no input": ({}, 400, "invalid_request", "input"),
    "empty": ({"input": ""}, 400, "empty_input", "input"),
    "blank": ({"input": " \n\t\u00a0\u3000"}, 400, "empty_input", "input"),
    "no parts": ({"input": []}, 400, "empty_input", "input"),
    "a number": ({"input": 5}, 400, "invalid_request", "input"),
    "a null input": ({"input": None}, 400, "invalid_request", "input"),
    "a bad part": ({"input": [{"type": "text", "text": 5}]}, 400, "invalid_request", "input.0.text"),
    "a part without text": ({"input": [{"type": "text"}]}, 400, "invalid_request", "input.0.text"),
    "an odd part": ({"input": [{"type": "text", "text": "x", SECRET: 1}]}, 400, "invalid_request", "input.0"),
    "an image": ({"input": [{"type": "image_url", "image_url": {"url": SECRET}}]}, 400, "unsupported_input", "input"),
    "unknown field": ({"input": "x", SECRET: SECRET}, 400, "invalid_request", None),
    "a field of the wrong kind": ({"input": "x", "constitution": []}, 400, "invalid_request", "constitution"),
    "context not a list": ({"input": "x", "context": SECRET}, 400, "invalid_request", "context"),
    "turn without content": (
        {"input": "x", "context": [{"role": "user"}]},
        400,
        "invalid_request",
        "context.0.content",
    ),
    "unknown role of a turn": (
        {"input": "x", "context": [{"role": SECRET, "content": "x"}]},
        *(400, "invalid_request", "context.0.role"),
    ),
    "too many turns": ({"input": "x", "context": [{"content": "x"}] * 65}, 400, "invalid_request", "context"),
    "unknown role": ({"input": "x", "role": SECRET}, 400, "invalid_request", "role"),
    "explain not a bool": ({"input": "x", "explain": "yes"}, 400, "invalid_request", "explain"),
    "policy not a string": ({"input": "x", "policy": 5}, 400, "invalid_request", "policy"),
    "unknown policy": ({"input": "x", "policy": SECRET}, 404, "unknown_policy", "policy"),
    "text too long": ({"input": "x" * 200_001}, 413, "text_too_long", "input"),
    "context too long": ({"input": "x", "context": [{"content": "x" * 200_001}]}, 413, "text_too_long", "context"),
    "body too large": (b" " * (1 << 20) + TEXT.encode(), 413, "body_too_large", None),
}


@pytest.mark.parametrize("name", CASES)
async def test_bad_input(client: httpx.AsyncClient, name: str) -> None:
    body, status, code, param = CASES[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = await client.post("/v1/moderate", content=content)
    assert reply.status_code == status
    error = reply.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert error["request_id"] == reply.headers["x-request-id"]
    assert error["message"].endswith((".", "?"))
    assert SECRET not in reply.text
    assert (await client.post("/v1/moderate", content=TEXT)).status_code == 200


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case[2] in ("invalid_json", "body_too_large")]
)
async def test_a_body_that_cannot_be_read_in_openais_shape(client: httpx.AsyncClient, name: str) -> None:
    body, status, code, _ = CASES[name]
    assert isinstance(body, bytes)
    reply = await client.post("/v1/moderations", content=body)
    assert reply.status_code == status
    expected = {"type": "invalid_request_error", "param": None, "code": code}
    assert {**reply.json()["error"], "message": ""} == {**expected, "message": ""}


async def test_a_misspelt_field_is_met_with_the_right_one(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/moderate", json={"imput": "x"})
    assert "Did you mean 'input'?" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("items", "status", "code"),
    [([], 400, "empty_input"), ([{"input": "x"}] * 257, 413, "too_many_items"), ("x", 400, "invalid_request")],
)
async def test_bad_batches(client: httpx.AsyncClient, items: object, status: int, code: str) -> None:
    reply = await client.post("/v1/moderate/batch", json={"items": items})
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)


async def test_the_longest_text_and_the_largest_batch_pass(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/moderate", json={"input": "x" * 200_000})).status_code == 200
    reply = await client.post("/v1/moderate/batch", json={"items": [{"input": "x"}] * 256})
    assert len(reply.json()["results"]) == 256


async def test_a_body_without_a_length_is_counted(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    async def pieces() -> object:
        for _ in range(300):
            yield b" " * 4096

    reply = await client.post("/v1/moderate", content=pieces())  # type: ignore[arg-type]
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")
    assert runtime.seen == []


async def test_a_hundred_thousand_unknown_fields_are_refused_quickly(client: httpx.AsyncClient) -> None:
    body = {f"f{number}": 0 for number in range(90_000)}
    reply = await client.post("/v1/moderate", json=body, timeout=5)
    assert reply.status_code == 400


async def test_paths_and_methods_that_are_not_there(client: httpx.AsyncClient) -> None:
    missing = await client.get(f"/{SECRET}", params={"key": SECRET})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert SECRET not in missing.text + str(missing.headers)
    wrong = await client.put("/v1/moderate")
    assert (wrong.status_code, wrong.json()["error"]["code"], wrong.headers["allow"]) == (
        405,
        "method_not_allowed",
        "POST",
    )
    assert (await client.get("/v1/moderations")).json()["error"]["type"] == "invalid_request_error"
    assert (await client.get(f"/v1/policy/?x={SECRET}")).status_code == 404


async def test_a_defect_inside_is_a_500_that_tells_nothing(
    client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    reply = await client.post("/v1/moderate", json={"input": f"surprise {SECRET}"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal_error")
    assert SECRET not in reply.text + caplog.text + "".join(capsys.readouterr())
    assert any(getattr(record, "error", "") == "ValueError" for record in caplog.records)
