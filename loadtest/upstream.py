"""An LLM's server that writes what it is told to, at a pace and with faults: OpenAI's chat completions over SSE.

Owns the wire and the clock of what comes before Weir. Refuses to know Weir. Written on bare sockets, so that a thousand
events a second of it leave the cores to what is measured.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

STALL_S = 600.0  # for which a stalled stream waits to be left
_TOKEN = re.compile(r"\s*\w{1,5}|\s*\W")
FAULTS = (
    "status-500",
    "status-429",
    "html",
    "empty",
    "error-event",
    "broken-json",
    "no-done",
    "cut",
    "cut-utf8",
    "stall",
    "huge-event",
    "gzip",
    "gzip-cut",
    "refused",
)


@dataclass(frozen=True, slots=True)
class Script:
    """What one model name stands for. `rate` is events a second (0: as fast as can be), `pack` tokens an event.

    `fault` is one of FAULTS or "", and comes after `at` of the events (0 to 1).
    """

    text: str
    rate: float = 0.0
    pack: int = 1
    fault: str = ""
    at: float = 0.5

    def events(self) -> list[str]:
        """The pieces of text, one an event."""
        tokens = _TOKEN.findall(self.text)
        return ["".join(tokens[n : n + self.pack]) for n in range(0, len(tokens), self.pack)]


@dataclass(slots=True)
class Sent:
    """What happened to one request: when each event went out, how many, and whether the other side closed first."""

    begun: float
    times: list[float] = field(default_factory=list)
    characters: int = 0
    left_early: bool = False


class Upstream:
    """The server. `scripts` by model name; `sent` holds one entry per request, newest last."""

    def __init__(self, scripts: dict[str, Script]) -> None:
        self.scripts = scripts
        self.sent: dict[str, list[Sent]] = {}
        self.open = 0  # connections that are open now
        self.url = ""
        self._serving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Upstream]:
        """Listen on a free loopback port until the block ends."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        host, port = server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}/v1"
        try:
            yield self
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while (body := await _read_request(reader)) is not None:
                if not await self._answer(json.loads(body), reader, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self.open -= 1
            writer.close()

    async def _answer(
        self, wanted: dict[str, object], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Write one reply; False where the connection is not to be used again."""
        script = self.scripts[str(wanted["model"])]
        sent = Sent(time.perf_counter())
        self.sent.setdefault(str(wanted["model"]), []).append(sent)
        if (refusal := _REFUSALS.get(script.fault)) is not None:
            writer.write(refusal())
            await writer.drain()
            return script.fault != "refused"
        try:
            usable = await self._stream(script, writer, sent)
        except ConnectionError:
            sent.left_early = True
            raise
        if script.fault == "stall":
            async with asyncio.timeout(STALL_S):
                await reader.read()
            sent.left_early = True
        return usable

    async def _stream(self, script: Script, writer: asyncio.StreamWriter, sent: Sent) -> bool:
        pieces = script.events()
        breaks = int(len(pieces) * script.at) if script.fault else len(pieces)
        zipped = script.fault.startswith("gzip")
        if zipped:
            return await _write_zipped(pieces, breaks, script.fault, writer)
        writer.write(_head())
        writer.write(_chunk(_delta({"role": "assistant", "content": ""})))
        begun = time.perf_counter()
        for n, piece in enumerate(pieces[:breaks]):
            if script.rate:
                await asyncio.sleep(max(0.0, begun + (n + 1) / script.rate - time.perf_counter()))
            writer.write(_chunk(_delta({"content": piece})))
            sent.times.append(time.perf_counter())
            sent.characters += len(piece)
            await writer.drain()
            if writer.is_closing():
                raise ConnectionResetError
        if script.fault:
            return await _break(script.fault, writer, pieces[breaks:])
        writer.write(_chunk(_delta({}, "stop")) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()
        return True


async def _break(fault: str, writer: asyncio.StreamWriter, rest: list[str]) -> bool:
    """The fault in the midst of a stream; the connection is of no more use."""
    if fault == "error-event":
        writer.write(_chunk(b'data: {"error":{"message":"overloaded","type":"server_error","code":null}}\n\n'))
        writer.write(b"0\r\n\r\n")
    elif fault == "broken-json":
        writer.write(_chunk(b'data: {"choices":[{"index":0,"delta":{"content":"a\n\n'))
    elif fault == "no-done":
        writer.write(b"0\r\n\r\n")
    elif fault == "cut-utf8":
        writer.write(_chunk(b'data: {"choices":[{"index":0,"delta":{"content":"\xe2\x82'))
    elif fault == "huge-event":
        writer.write(_chunk(_delta({"content": "a" * (8 << 20)})))
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    return False


async def _write_zipped(pieces: list[str], breaks: int, fault: str, writer: asyncio.StreamWriter) -> bool:
    """The whole stream under Content-Encoding gzip; `gzip-cut` ends inside of it."""
    events = [_delta({"content": piece}) for piece in pieces]
    whole = gzip.compress(b"".join((*events, _delta({}, "stop"), b"data: [DONE]\n\n")))
    writer.write(_head(b"content-encoding: gzip\r\n"))
    if fault == "gzip-cut":
        writer.write(_chunk(whole[: max(20, len(whole) * breaks // max(1, len(pieces)))]))
        await writer.drain()
        return False
    writer.write(_chunk(whole) + b"0\r\n\r\n")
    await writer.drain()
    return True


def _head(more: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n" + more + b"\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _delta(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def _refusal(status: str, kind: str, body: bytes) -> Callable[[], bytes]:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return lambda: head.encode() + body


_ERROR = b'{"error":{"message":"no","type":"server_error","param":null,"code":null}}'
_REFUSALS: dict[str, Callable[[], bytes]] = {
    "status-500": _refusal("500 Internal Server Error", "application/json", _ERROR),
    "status-429": _refusal("429 Too Many Requests", "application/json", _ERROR),
    "html": _refusal("200 OK", "text/html", b"<html><body>Please sign in</body></html>"),
    "empty": _refusal("200 OK", "text/event-stream", b""),
    "refused": lambda: b"",
}


async def _read_request(reader: asyncio.StreamReader) -> bytes | None:
    """The body of the next request, or None where the other side has closed."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    if length is not None:
        return await reader.readexactly(int(length[1]))
    return b"".join([part async for part in read_chunked(reader)])


async def read_chunked(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The chunks of a body of Transfer-Encoding chunked."""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
