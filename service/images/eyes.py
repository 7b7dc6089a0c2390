"""The service's end of the process that looks at images: started for the first one, started again when it dies.

Owns that process and the line of images before it: how many wait, how long one may take, what was seen of late. Refuses
to know decoding and reading, and what an image means.

Promises, each a test: waiting is bounded (Overloaded at once); an image at hand when the process died is looked at once
more, by a fresh one; one that two died of, or that one hung at, fails alone, and one that two ended with is not tried
again; equal images at the same time are looked at once; what nobody waits for any more is not looked at; closing leaves
no process.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import deque
from dataclasses import dataclass, field

from service.errors import Overloaded
from service.evidence import KEY_BYTES, MOST_HASHED_HERE, derive_key
from service.flights import Flights
from service.images.child import Child, ChildFailed
from service.images.errors import ImageFailed
from service.images.limits import Undecodable
from service.images.reading import Reading
from service.images.worker import Options
from service.lru import Lru
from service.metrics import Metrics

MOST_DEATHS = 2  # of one image; then it is to blame
REMEMBERED = 256  # images that somebody died of
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # before another start, after one that failed

_READING_BYTES, _LINE_BYTES, _HASHES_BYTES = 800, 450, 900  # sizes on CPython 3.11, without texts and pixels

_log = logging.getLogger("weir.images")


@dataclass(slots=True, eq=False)
class _Waiting:
    data: bytes = field(repr=False)
    key: bytes
    answer: asyncio.Future[Reading]
    since: float


class _Died(Exception):
    """The process ended, or said what makes no sense, while it had an image."""


class Eyes:
    """Looks at images, one at a time, in a process of its own. For one event loop."""

    def __init__(
        self,
        options: Options,
        secret: bytes,
        *,
        scoped: bool,
        most_bytes: int,
        most_waiting: int,
        metrics: Metrics,
        start_s: float = 30.0,
    ) -> None:
        """`most_bytes`: of readings that are kept, 0 for none; `scoped` keeps callers apart.

        `options.wall_s` is the longest that the process is waited for, from the moment it has an image.
        """
        self._options = options
        self._base = hashlib.blake2b(key=derive_key(secret, "images"), digest_size=KEY_BYTES)
        self._scoped = scoped
        self._most_waiting = most_waiting
        self._metrics = metrics
        self._start_s = start_s
        self._kept: Lru[Reading] = Lru(most_bytes, "images", metrics)
        self._flights: Flights[Reading] = Flights()
        self._line: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._deaths: dict[bytes, int] = {}
        self._child: Child | None = None
        self._owner: asyncio.Task[None] | None = None
        self._closing = False
        self._pause_s, self._not_before = 0.0, 0.0

    async def look(self, data: bytes, scope: str | None = "") -> Reading:
        """What is found in an image. `scope` names the caller; None where nothing may be kept.

        Raises Undecodable, Overloaded when the line is full, and ImageFailed otherwise.
        """
        large = len(data) > MOST_HASHED_HERE
        key = await asyncio.to_thread(self._digest, data, scope or "") if large else self._digest(data, scope or "")
        kept = None if scope is None else self._kept.get(key)
        if kept is not None:
            return kept
        if self._deaths.get(key, 0) >= MOST_DEATHS:
            raise ImageFailed("The image cannot be looked at.")
        if scope is None:
            return await self._wait_for(data, key)
        if self._flights.flying(key):
            self._metrics.joins.labels("images").inc()
        return await self._flights.run(key, lambda: self._look(data, key))

    async def _look(self, data: bytes, key: bytes) -> Reading:
        reading = await self._wait_for(data, key)
        if self._kept.keeps:
            self._kept.put(key, reading, _size(reading))
        return reading

    def _digest(self, data: bytes, scope: str) -> bytes:
        hashed = self._base.copy()
        written = scope.encode() if self._scoped else b""
        hashed.update(len(written).to_bytes(4, "little") + written)
        hashed.update(data)
        return hashed.digest()

    async def _wait_for(self, data: bytes, key: bytes) -> Reading:
        if self._closing:
            raise ImageFailed("The service is stopping.")
        if len(self._line) >= self._most_waiting:
            raise Overloaded("Too many images are waiting; try again later.")
        if self._owner is None:
            self._owner = asyncio.create_task(self._serve())
        entry = _Waiting(data, key, asyncio.get_running_loop().create_future(), time.perf_counter())
        self._line.append(entry)
        self._metrics.image_queue_depth.set(len(self._line))
        self._arrived.set()
        try:
            return await entry.answer
        finally:
            if entry in self._line:  # whoever asked has left
                self._line.remove(entry)
                self._metrics.image_queue_depth.set(len(self._line))

    async def _serve(self) -> None:
        """One image after the other, until this task is ended."""
        while True:
            while not self._line:
                self._arrived.clear()
                await self._arrived.wait()
            entry = self._line.popleft()
            self._metrics.image_queue_depth.set(len(self._line))
            self._metrics.image_wait_seconds.observe(time.perf_counter() - entry.since)
            try:
                reading = await self._ask(entry)
            except (Undecodable, ImageFailed) as error:
                _fail(entry, error)
            except Exception as error:  # a defect with one image must not end the line
                _log.error("looking at an image failed", extra={"error": type(error).__name__})
                await self._let_go()
                _fail(entry, ImageFailed("The image could not be looked at."))
            except BaseException:
                _fail(entry, ImageFailed("The service is stopping."))
                raise
            else:
                if not entry.answer.done():
                    entry.answer.set_result(reading)

    async def _ask(self, entry: _Waiting) -> Reading:
        """Look at an image, once more if the process dies meanwhile: it may have been killed for another reason."""
        while True:
            try:
                return await self._ask_once(entry)
            except _Died:
                if self._deaths[entry.key] >= MOST_DEATHS:
                    raise ImageFailed("The image could not be looked at.") from None

    async def _ask_once(self, entry: _Waiting) -> Reading:
        child = await self._running()
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(self._options.wall_s):
                reading = await child.look(entry.data)
        except ChildFailed as failed:
            self._metrics.image_failures.labels("failed").inc()
            _log.error("looking at an image failed", extra={"error": failed.name})
            raise ImageFailed("The image could not be looked at.") from None
        except Undecodable:
            self._metrics.image_seconds.observe(time.perf_counter() - begun)
            raise
        except TimeoutError:  # an OSError too, so first
            await self._bury(entry, "hung")
            raise ImageFailed("The image could not be looked at.") from None
        except (OSError, EOFError, ValueError):
            await self._bury(entry, "died")
            raise _Died from None
        self._metrics.image_seconds.observe(time.perf_counter() - begun)
        return reading

    async def _running(self) -> Child:
        """The process, started where there is none; ImageFailed where that fails, or has just failed."""
        if self._child is not None and self._child.alive:
            return self._child
        await self._let_go()
        if time.monotonic() < self._not_before:
            raise ImageFailed("Images cannot be looked at now.")
        try:
            child = Child(self._options)
            self._child = child
            async with asyncio.timeout(self._start_s):
                await child.ready()
        except (TimeoutError, OSError, EOFError, ValueError) as error:
            await self._let_go()
            self._pause_s = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * self._pause_s))
            self._not_before = time.monotonic() + self._pause_s
            self._metrics.image_failures.labels("start").inc()
            _log.error("the process that looks at images did not start", extra={"error": type(error).__name__})
            raise ImageFailed("Images cannot be looked at now.") from None
        self._pause_s = 0.0
        self._metrics.image_starts.inc()
        return child

    async def _bury(self, entry: _Waiting, how: str) -> None:
        """The process has died of an image, or must."""
        await self._let_go()
        self._metrics.image_failures.labels(how).inc()
        _log.error("the process that looks at images had to be ended", extra={"how": how, "bytes": len(entry.data)})
        self._deaths[entry.key] = self._deaths.pop(entry.key, 0) + 1
        while len(self._deaths) > REMEMBERED:
            del self._deaths[next(iter(self._deaths))]

    async def _let_go(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.end()

    async def close(self) -> None:
        """End the process; whoever still waits is told."""
        self._closing = True
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.wait([self._owner])
        while self._line:
            _fail(self._line.popleft(), ImageFailed("The service is stopping."))
        await self._let_go()


def _fail(entry: _Waiting, error: Exception) -> None:
    if not entry.answer.done():
        entry.answer.set_exception(error)
        entry.answer.exception()  # seen, or asyncio would log it where whoever asked has left


def _size(reading: Reading) -> int:
    """About how many bytes a reading takes."""
    texts = sum(2 * len(line.text) + _LINE_BYTES for found in reading.frames for line in found.lines)
    return _READING_BYTES + texts + sum(len(found.pixels) + _HASHES_BYTES for found in reading.frames)
