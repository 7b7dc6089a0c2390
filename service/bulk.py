"""`weir moderate`: a file or a pipe in, one JSON line per text out, in order.

Owns reading lines, the bounded window of texts in flight and the progress bar. Refuses to know HTTP; fields and
replies are those of the native dialect.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from service.api.auth import Caller
from service.api.native import judge_item

if TYPE_CHECKING:
    from service.runtime import Runtime

IN_FLIGHT = 32  # texts read ahead: fills the model's batches, and bounds memory for a file of any size
CLEAN, FLAGGED, ERROR = 0, 1, 2


class Job(NamedTuple):
    """A line that is being judged."""

    number: int
    size: int
    reply: asyncio.Task[dict[str, Any]]


class Progress:
    """A bar on a terminal's standard error; silent anywhere else."""

    WIDTH = 28
    EVERY_S = 0.1

    def __init__(self, stream: IO[str], total_bytes: int) -> None:
        """`total_bytes` is 0 for a pipe, whose end is not known."""
        self._stream = stream if stream.isatty() else None
        self._total = total_bytes
        self._started = self._shown = time.monotonic()
        self._texts = self._bytes = 0

    def advance(self, size: int) -> None:
        """One more text is done, which took this many bytes of the input."""
        self._texts += 1
        self._bytes += size
        if self._stream is not None and time.monotonic() - self._shown >= self.EVERY_S:
            self._show()

    def close(self) -> None:
        """Leave the bar as it stands, and the cursor below it."""
        if self._stream is not None and self._texts:
            self._show()
            self._stream.write("\n")

    def _show(self) -> None:
        assert self._stream is not None
        self._shown = time.monotonic()
        rate = self._texts / max(self._shown - self._started, 1e-6)
        line = f"{self._texts:,} texts  {rate:,.0f}/s"
        if self._total:
            part = min(1.0, self._bytes / self._total)
            line = f"[{'#' * int(part * self.WIDTH):<{self.WIDTH}}] {part:4.0%}  {line}"
        self._stream.write(f"\r{line}\x1b[K")
        self._stream.flush()


class Rows:
    """Lines as requests. Whether they are JSON or plain text is decided by the first one that is not blank."""

    def __init__(self, policy: str | None, role: str) -> None:
        """`policy` and `role` hold where a row names none."""
        self._defaults = {key: value for key, value in (("policy", policy), ("role", role)) if value}
        self._is_json: bool | None = None

    def request(self, line: str) -> object:
        """The native request that a line stands for; None where it is none, which is then refused like a bad item."""
        if self._is_json is None:
            self._is_json = isinstance(_loads(line), dict)
        if not self._is_json:
            return {**self._defaults, "input": line, "explain": True}
        row = _loads(line)
        if isinstance(row, dict) and "text" in row and "input" not in row:
            # A row of a data set: its other columns are its own business.
            row = {"input": row["text"]}
        return {**self._defaults, **row} if isinstance(row, dict) else None


def _loads(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


async def moderate_lines(runtime: Runtime, source: IO[bytes], sink: IO[str], rows: Rows, progress: Progress) -> int:
    """Judge every line; CLEAN, FLAGGED or ERROR. An error in one line does not stop the others."""
    waiting: asyncio.Queue[Job | OSError | None] = asyncio.Queue(IN_FLIGHT)

    async def start(number: int, raw: bytes, line: str) -> None:
        task = asyncio.create_task(judge_item(runtime, rows.request(line), Caller(), None))
        await waiting.put(Job(number, len(raw), task))

    _read_in_thread(source, start, waiting.put)
    worst = CLEAN
    try:
        while (job := await waiting.get()) is not None:
            if isinstance(job, OSError):
                raise job
            reply = await job.reply
            worst = max(worst, ERROR if "error" in reply else FLAGGED if reply["flagged"] else CLEAN)
            sink.write(json.dumps({"line": job.number, **reply}) + "\n")
            sink.flush()
            progress.advance(job.size)
    finally:
        progress.close()
    return worst


def _read_in_thread(
    source: IO[bytes],
    start: Callable[[int, bytes, str], Coroutine[Any, Any, None]],
    end: Callable[[OSError | None], Coroutine[Any, Any, None]],
) -> None:
    """Hand each line to `start` as it comes, no further ahead than it lets us; then `end`, whatever happened.

    The thread is a daemon, and alone closes the source: one that waits for standard input must not hold up an exit.
    """
    loop = asyncio.get_running_loop()

    def read() -> None:
        failure = None
        try:
            with source:
                for number, raw in enumerate(source, start=1):
                    line = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
                    if number == 1:
                        line = line.removeprefix("\ufeff")  # a byte order mark, with which nothing is JSON
                    if line.strip():
                        asyncio.run_coroutine_threadsafe(start(number, raw, line), loop).result()
        except OSError as exc:
            failure = exc
        asyncio.run_coroutine_threadsafe(end(failure), loop)

    threading.Thread(target=read, name="weir-lines", daemon=True).start()


def open_source(name: str) -> tuple[IO[bytes], int]:
    """The input and its size, 0 where that is not known; `-` is standard input."""
    if name == "-":
        # Not sys.stdin: the interpreter closes that at exit, and would trip over a thread that still reads it.
        return open(0, "rb", closefd=False), 0
    path = Path(name)
    return path.open("rb"), path.stat().st_size
