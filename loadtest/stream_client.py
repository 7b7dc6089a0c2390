"""A client of OpenAI's chat streams on bare sockets, which notes when each character came.

Owns one request and what was seen of its reply. Refuses to judge it. It reads what the official client reads: any data
object, `[DONE]`, an `error`; and it says how the stream ended.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from loadtest.upstream import read_chunked

PROMPT = "Tell me a story."


@dataclass(slots=True)
class Reply:
    """What came. `end` is done, error, status or, where the stream just stopped, silent; times are performance counts.

    `arrivals` holds (time, characters so far) for every event with text.
    """

    begun: float
    status: int = 0
    text: str = ""
    finish: str | None = None
    end: str = "silent"
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    ended: float = 0.0

    @property
    def first_text_s(self) -> float | None:
        """Seconds from the request to the first text."""
        return self.arrivals[0][0] - self.begun if self.arrivals else None


async def chat(base_url: str, model: str, prompt: str = PROMPT, *, leave_after: int | None = None) -> Reply:
    """Ask for one streamed completion. With `leave_after`, close the connection after so many events with text."""
    parts = urlsplit(base_url)
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": prompt}]}).encode()
    reply = Reply(time.perf_counter())
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"POST {parts.path}/chat/completions HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer sk-test\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    try:
        await _read(reader, reply, leave_after)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # `end` says that nothing was said
    finally:
        reply.ended = time.perf_counter()
        writer.close()
    return reply


async def _read(reader: asyncio.StreamReader, reply: Reply, leave_after: int | None) -> None:
    headers = (await reader.readuntil(b"\r\n\r\n")).lower()
    reply.status = int(headers.split(b" ", 2)[1])
    if reply.status != 200 or b"text/event-stream" not in headers:
        reply.end = "status"
        return
    waiting = b""
    async for chunk in read_chunked(reader):
        waiting += chunk
        *events, waiting = waiting.split(b"\n\n")
        for event in events:
            _take(event, reply)
        if leave_after is not None and len(reply.arrivals) >= leave_after:
            return


def _take(event: bytes, reply: Reply) -> None:
    """One event of the stream."""
    data = b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
    if data == b"[DONE]":
        reply.end = "done"
        return
    if not data:
        return
    found = json.loads(data)
    if found.get("error"):
        reply.end = "error"
        return
    for choice in found.get("choices", ()):
        if text := choice["delta"].get("content"):
            reply.text += text
            reply.arrivals.append((time.perf_counter(), len(reply.text)))
        reply.finish = choice.get("finish_reason") or reply.finish
