"""Streams of requests that need a clock of their own: open loops, and several kinds of traffic beside each other.

Owns arrivals, connections and latencies. Refuses to know what is sent: bodies come from files. It is a process of its
own and tells its own CPU time. A latency counts from when a request was due, so that a client that is late hides
nothing; where all of its connections are taken, a request that is due waits for one, and that counts as well.

    python -m loadtest.client JOB   (JOB: a JSON file of `Job`; prints a JSON list of `Seen`)
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MOST_CONNECTIONS = 1024
PATIENCE_S = 30.0  # for the last answers
REFUSED_S = 0.1  # before a closed loop tries a closed door again


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of traffic: `rate` requests a second, come what may, or `connections` that each wait for an answer."""

    name: str
    bodies: list[Any]
    rate: float = 0.0
    connections: int = 0
    path: str = "/v1/moderate"


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a stream. Latencies in milliseconds; `good` and `refused` are answers of 200 and of 429.

    `lost` requests have no answer; of those `broken` were written to a connection that ended before it came.
    """

    name: str
    sent: int
    good: int
    refused: int
    other: int
    lost: int
    broken: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused_p50_ms: float
    client_cpu_s: float
    begun: float  # by time.time()
    moments: list[tuple[float, float, int]] = field(repr=False)  # (s since `begun`, latency in ms, status or 0: broken)

    @property
    def goodput(self) -> float:
        """Answers of 200 a second, while requests came."""
        return sum(status == 200 and at <= self.seconds for at, _, status in self.moments) / self.seconds


class _Connection(asyncio.Protocol):
    """One kept connection, one request at a time."""

    def __init__(self, streaming: _Streaming) -> None:
        self._streaming = streaming
        self._buffer = bytearray()
        self._transport: Any = None  # uvloop's is no subclass of asyncio's
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, request: bytes, due: float) -> None:
        self.due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.find(b"content-length: ")
        length = int(self._buffer[at + 16 : self._buffer.find(b"\r\n", at)])
        if len(self._buffer) < head + 4 + length:
            return
        status = int(self._buffer[9:12])
        closing = b"connection: close" in self._buffer[:head]
        self._buffer.clear()
        due, self.due = self.due, 0.0
        self._streaming.answered(self, due, status, closing)
        if closing:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._streaming.lost(self, self.due)

    def close(self) -> None:
        self._transport.close()


class _Streaming:
    """A stream under way."""

    def __init__(self, stream: Stream, host: str, port: int, seconds: float, seed: int) -> None:
        self._stream, self._host, self._port, self._seconds = stream, host, port, seconds
        self._gaps = random.Random(seed)
        self._requests = self._written()
        self._idle: list[_Connection] = []
        self._due: deque[float] = deque()
        self._open = 0
        self.begun = self._begun = self._ends = 0.0
        self._opening: set[asyncio.Task[None]] = set()
        self.sent = self.lost_count = self.broken = self.in_flight = 0
        self.moments: list[tuple[float, float, int]] = []

    def _written(self) -> Iterator[bytes]:
        bodies = [json.dumps(body).encode() for body in self._stream.bodies]
        head = f"POST {self._stream.path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
        whole = [f"{head}content-length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
        while True:
            yield from whole

    async def run(self) -> None:
        """Send for so many seconds, then wait for what is still open."""
        self.begun, self._begun = time.time(), time.perf_counter()
        self._ends = self._begun + self._seconds
        if self._stream.rate:
            await self._arrive()
        else:
            for _ in range(self._stream.connections):
                self._due.append(self._begun)
                self._serve()
            await asyncio.sleep(self._seconds)
            self._due.clear()  # nobody waits for an answer to these
        patience = time.perf_counter() + PATIENCE_S
        while (self.in_flight or self._due) and time.perf_counter() < patience:  # noqa: ASYNC110 - two counts, no event
            await asyncio.sleep(0.01)
        self.lost_count += self.in_flight + len(self._due)
        for task in self._opening:
            task.cancel()
        for connection in self._idle:
            connection.close()

    async def _arrive(self) -> None:
        due = self._begun
        while True:
            due += self._gaps.expovariate(self._stream.rate)
            if due >= self._ends:
                return
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            self._due.append(due)
            self._serve()

    def _serve(self) -> None:
        """Send what is due, as far as there are connections."""
        while self._due and self._idle:
            self.sent += 1
            self.in_flight += 1
            self._idle.pop().ask(next(self._requests), self._due.popleft())
        if self._due and self._open < MOST_CONNECTIONS and len(self._opening) < len(self._due):
            self._open += 1
            task = asyncio.create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
        except OSError:
            self._open -= 1
            self.lost_count += 1
            if self._due:
                self._due.popleft()
            await asyncio.sleep(REFUSED_S)
            if not self._stream.rate and time.perf_counter() < self._ends:
                self._due.append(time.perf_counter())
                asyncio.get_running_loop().call_soon(self._serve)
            return
        self._idle.append(connection)
        self._serve()

    def answered(self, connection: _Connection, due: float, status: int, closing: bool) -> None:
        """Note an answer, and send the next."""
        now = time.perf_counter()
        self.in_flight -= 1
        self.moments.append((now - self._begun, (now - due) * 1e3, status))
        if not closing:
            self._idle.append(connection)
        if not self._stream.rate and now < self._ends:
            self._due.append(now)
        self._serve()

    def lost(self, connection: _Connection, due: float) -> None:
        """A connection has ended, perhaps before its answer."""
        self._open -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        if due:
            self.in_flight -= 1
            self.lost_count += 1
            self.broken += 1
            now = time.perf_counter()
            self.moments.append((now - self._begun, (now - due) * 1e3, 0))
            if not self._stream.rate and time.perf_counter() < self._ends:
                self._due.append(time.perf_counter())
        self._serve()


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share is not above; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def _all(url: str, streams: Sequence[Stream], seconds: float) -> list[Seen]:
    host, _, port = url.removeprefix("http://").partition(":")
    under_way = [_Streaming(stream, host, int(port), seconds, seed) for seed, stream in enumerate(streams)]
    await asyncio.gather(*(one.run() for one in under_way))
    cpu = time.process_time()
    found = []
    for stream, one in zip(streams, under_way, strict=True):
        good = [ms for _, ms, status in one.moments if status == 200]
        refused = [ms for _, ms, status in one.moments if status == 429]
        other = len(one.moments) - len(good) - len(refused) - one.broken
        found.append(
            Seen(
                *(stream.name, one.sent, len(good), len(refused), other, one.lost_count, one.broken, seconds),
                *(quantile(good, 0.5), quantile(good, 0.99), quantile(refused, 0.5), cpu, one.begun, one.moments),
            )
        )
    return found


class Running:
    """The client at work, in its own process."""

    def __init__(self, url: str, streams: Sequence[Stream], seconds: float) -> None:
        self._file = tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8")  # noqa: SIM115 - lives as long
        json.dump({"url": url, "seconds": seconds, "streams": [asdict(stream) for stream in streams]}, self._file)
        self._file.flush()
        command = [sys.executable, "-m", "loadtest.client", self._file.name]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ.copy())

    def result(self) -> list[Seen]:
        """Wait for its end."""
        output, _ = self._process.communicate()
        self._file.close()
        if self._process.returncode != 0:
            raise RuntimeError("the client failed")
        return [Seen(**seen) for seen in json.loads(output)]


def send(url: str, streams: Sequence[Stream], seconds: float) -> list[Seen]:
    """Run streams beside each other for so many seconds; what came of each."""
    return Running(url, streams, seconds).result()


def main() -> None:
    """Do the job."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    streams = [Stream(**stream) for stream in job["streams"]]
    try:
        import uvloop
    except ImportError:
        found = asyncio.run(_all(job["url"], streams, job["seconds"]))
    else:
        found = uvloop.run(_all(job["url"], streams, job["seconds"]))
    print(json.dumps([asdict(seen) for seen in found]))


if __name__ == "__main__":
    main()
