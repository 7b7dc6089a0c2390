"""What goes to an upstream and what becomes of its faults, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from service.backends.upstream import CONNECTIONS, Upstream, UpstreamClient, UpstreamFault, passed_headers
from service.upstreams import open_client

Write = Callable[[asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"


@asynccontextmanager
async def server(write: Write) -> AsyncIterator[tuple[Upstream, list[bytes]]]:
    heads: list[bytes] = []
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        with suppress(ConnectionError):
            await write(writer)
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        gone.set()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield Upstream("default", "openai", f"http://127.0.0.1:{port}"), heads
        await asyncio.wait_for(gone.wait(), 5)


async def read(upstream: Upstream) -> bytes:
    client = UpstreamClient(first_byte_s=0.3, stall_s=0.2)
    try:
        async with client.send(upstream, "/v1/x", {"accept-encoding": "gzip"}, b"{}") as answer:
            assert answer.media_type == "text/event-stream"
            return b"".join([piece async for piece in answer.pieces])
    finally:
        await client.close()


async def test_a_compressed_body_is_read() -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        body = gzip.compress(b"data: x\n\n")
        writer.write(HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    async with server(write) as (upstream, heads):
        assert await read(upstream) == b"data: x\n\n"
    assert heads[0].startswith(b"POST /v1/x ")


async def _nothing(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.6)


async def _stall(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"content-length: 100\r\n\r\ndata")
    await asyncio.sleep(0.5)


async def _cut(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"content-length: 100\r\n\r\ndata")


async def _no_gzip(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\ndata")


async def _no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"secret words that are no HTTP\r\n\r\n")


@pytest.mark.parametrize(
    ("write", "kind"),
    [(_nothing, "timeout"), (_stall, "stall"), (_cut, "broken"), (_no_gzip, "malformed"), (_no_http, "broken")],
)
async def test_faults_have_names_and_quote_nothing(write: Write, kind: str) -> None:
    async with server(write) as (upstream, heads):
        with pytest.raises(UpstreamFault) as caught:
            await read(upstream)
    assert caught.value.kind == kind
    assert "secret" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert len(heads) == 1


async def test_nobody_listening_is_a_fault() -> None:
    with pytest.raises(UpstreamFault) as caught:
        await read(Upstream("default", "openai", "http://127.0.0.1:9"))
    assert caught.value.kind == "connect"


def test_keys_of_weir_stay_and_others_pass() -> None:
    sent = [("Authorization", "Bearer sdk"), ("X-Weir-Key", "w"), ("Cookie", "c"), ("OpenAI-Organization", "o")]
    openai = Upstream("default", "openai", "http://x", "configured")
    anthropic = Upstream("default", "anthropic", "http://x", "configured")
    passed = passed_headers(sent, openai, spent=frozenset({"x-weir-key"}))
    json_bytes = {"content-type": "application/json", "accept-encoding": "gzip"}
    assert passed == {"authorization": "Bearer sdk", "openai-organization": "o", **json_bytes}
    assert passed_headers(sent, anthropic, spent=frozenset())["x-api-key"] == "sdk"
    spent = passed_headers(sent, openai, spent=frozenset({"authorization"}))
    assert spent["authorization"] == "Bearer configured"
    assert "x-api-key" not in passed_headers([("X-Api-Key", "weir")], openai, spent=frozenset({"x-api-key"}))


async def test_a_cookie_of_one_caller_goes_out_with_no_other() -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"set-cookie: session=of-one-caller; Path=/\r\ncontent-length: 0\r\n\r\n")

    async with server(write) as (upstream, heads):
        client = UpstreamClient(first_byte_s=5, stall_s=5)
        for _ in range(2):
            async with client.send(upstream, "/v1/x", {}, b"{}") as answer:
                assert [piece async for piece in answer.pieces] == []
        await client.close()
    assert len(heads) == 2 and b"of-one-caller" not in heads[1]


async def test_headers_that_are_not_ascii_go_on_as_they_came() -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"content-length: 0\r\n\r\n")

    async with server(write) as (upstream, heads):
        client = UpstreamClient(first_byte_s=5, stall_s=5)
        given = [("User-Agent", "Bücher".encode().decode("latin-1"))]
        async with client.send(upstream, "/v1/x", passed_headers(given, upstream, spent=frozenset()), b"{}") as answer:
            assert answer.status == 200
        await client.close()
    assert "Bücher".encode() in heads[0]


async def test_there_is_a_connection_for_every_stream_that_may_run() -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"content-length: 0\r\n\r\n")

    async with server(write) as (upstream, _), AsyncExitStack() as opened, AsyncExitStack() as answers:
        client = open_client(opened, [upstream], CONNECTIONS + 1)
        assert client is not None
        for _ in range(CONNECTIONS + 1):  # none of which is read to its end
            await answers.enter_async_context(client.send(upstream, "/v1/x", {}, b"{}"))


def test_the_body_is_never_called_anything_but_json() -> None:
    upstream = Upstream("default", "openai", "http://x")
    for given in ("application/json; charset=utf-7", "application/x-www-form-urlencoded"):
        passed = passed_headers([("Content-Type", given)], upstream, spent=frozenset())
        assert passed["content-type"] == "application/json"
