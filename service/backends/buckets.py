"""Who is charged where: rate limits in buckets that hosts share, or else in those of one host's processes.

Owns the host's buckets, in a file that its processes share, and the choice. Refuses to know keys, only their names,
and what a refusal looks like. Where the shared buckets do not answer, the host's decide: they have been charged all
along, so nobody is ever unlimited.
"""

from __future__ import annotations

import fcntl
import mmap
import struct
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from service.metrics import Metrics
from service.rates import Rate, RateLimits, Standing, take

_PAIR = struct.Struct("=dd")  # spent items, and when (seconds of the host's monotonic clock)


class SharedBuckets(Protocol):
    """Buckets that several hosts share."""

    async def take(self, name: str, rate: Rate, cost: int) -> Standing | None:
        """Charge a bucket; None when it cannot be asked in time."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...


class HostBuckets:
    """Buckets in a file that the processes of one host share, each change under a lock of the file's."""

    def __init__(self, folder: Path | None, names: Iterable[str]) -> None:
        """`names` must be the same in every process. Without a folder, the buckets are this process's own."""
        self._places = {name: place * _PAIR.size for place, name in enumerate(sorted(names))}
        size = max(1, len(self._places)) * _PAIR.size
        self._file = tempfile.TemporaryFile() if folder is None else (folder / "buckets").open("a+b")  # noqa: SIM115 - lives as long as this
        self._file.truncate(size)
        self._memory = mmap.mmap(self._file.fileno(), size)

    def take(self, name: str, rate: Rate, cost: int, *, whatever: bool = False) -> Standing:
        """Charge a bucket; with `whatever`, also where it has too little left."""
        place = self._places[name]
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            spent, at = _PAIR.unpack_from(self._memory, place)
            now = time.monotonic()
            after, standing = take(rate, spent, now - at, cost)
            if whatever and standing.retry_after_s is not None:
                after += cost
            _PAIR.pack_into(self._memory, place, after, now)
            return standing
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file."""
        self._memory.close()
        self._file.close()


class Limiter:
    """Charges keys by their rates: in the shared buckets where they answer, else in the host's."""

    def __init__(self, limits: RateLimits, host: HostBuckets, shared: SharedBuckets | None, metrics: Metrics) -> None:
        self._limits = limits
        self._host = host
        self._shared = shared
        self._metrics = metrics
        self._empty: dict[str, tuple[float, float]] = {}  # what was spent, and when

    def refused(self, name: str) -> Standing | None:
        """Where a key's bucket stands that is known to have nothing left; costs no question to anybody."""
        if name not in self._empty:
            return None
        spent, at = self._empty[name]
        rate = self._limits.of(name)
        assert rate is not None
        _, standing = take(rate, spent, time.monotonic() - at, 1)
        if standing.retry_after_s is None:
            del self._empty[name]
            return None
        return standing

    async def take(self, name: str, cost: int) -> Standing | None:
        """Charge a key for so many items; None where it has no limit."""
        rate = self._limits.of(name)
        if rate is None:
            return None
        standing = None if self._shared is None else await self._shared.take(name, rate, cost)
        if standing is None:
            standing = self._host.take(name, rate, cost)
            if self._shared is not None:
                self._metrics.limit_fallbacks.inc()
        elif standing.retry_after_s is None:
            self._host.take(name, rate, cost, whatever=True)
        if standing.remaining == 0:
            self._empty[name] = (standing.reset_s * rate.per_s, time.monotonic())
        return standing

    async def close(self) -> None:
        """Let go of file and connection."""
        if self._shared is not None:
            await self._shared.close()
        self._host.close()
