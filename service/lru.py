"""A mapping bounded by bytes, the least recently used entries given up first.

Owns order, size and the counts of one tier. Refuses to know what is kept and how a key came about. Belongs to one
event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from service.metrics import Metrics

Value = TypeVar("Value")

ENTRY_BYTES = 250  # of the mapping itself and of a key of 16 bytes, on CPython 3.11


class Lru(Generic[Value]):
    """At most `most_bytes`, as estimated by whoever puts; with none, it keeps nothing and counts nothing."""

    def __init__(self, most_bytes: int, tier: str, metrics: Metrics) -> None:
        """`tier` is the metrics' name for this one."""
        self._most_bytes = most_bytes
        self._bytes = 0
        self._entries: OrderedDict[bytes, tuple[Value, int]] = OrderedDict()
        self._hits = metrics.cache_hits.labels(tier)
        self._misses = metrics.cache_misses.labels(tier)
        self._evictions = metrics.cache_evictions.labels(tier)
        self._held = metrics.cache_entries.labels(tier)
        self._size = metrics.cache_bytes.labels(tier)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def keeps(self) -> bool:
        """Whether anything put here can be found again."""
        return self._most_bytes > 0

    def get(self, key: bytes) -> Value | None:
        """What was put under the key, or None."""
        if not self._most_bytes:
            return None
        entry = self._entries.get(key)
        if entry is None:
            self._misses.inc()
            return None
        self._entries.move_to_end(key)
        self._hits.inc()
        return entry[0]

    def put(self, key: bytes, value: Value, size: int) -> None:
        """Keep a value of `size` bytes; what would not fit by itself is not kept."""
        size += ENTRY_BYTES
        if size > self._most_bytes:
            return
        old = self._entries.pop(key, None)
        self._bytes += size - (0 if old is None else old[1])
        self._entries[key] = (value, size)
        gone = 0
        while self._bytes > self._most_bytes:
            _, (_, freed) = self._entries.popitem(last=False)
            self._bytes -= freed
            gone += 1
        if gone:
            self._evictions.inc(gone)
        self._tell()

    def drop(self, key: bytes) -> None:
        """Forget what was put under the key, if it is still here."""
        old = self._entries.pop(key, None)
        if old is not None:
            self._bytes -= old[1]
            self._tell()

    def _tell(self) -> None:
        self._held.set(len(self._entries))
        self._size.set(self._bytes)
