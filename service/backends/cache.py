"""Logits of inputs that were computed before: in this process, then perhaps in a cache that several share.

Owns keys and the order of the tiers. Refuses to know calibration, thresholds and verdicts: what is kept is what the
model said of some token ids. A key is a keyed BLAKE2b under a key derived from the secret, over the artefact, the
caller's scope and exactly the ids that the model is fed; so windows of a growing text that stay the same are found
again. Only a service with the same secret can make a key, or a value that is believed.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.lru import Lru
from service.metrics import Metrics

KEY_BYTES = 16
SEAL_BYTES = 8  # of a value in the shared tier, so that nobody else's is believed
_OBJECT_BYTES = 40  # of a bytes object beside its content

Ids = tuple[list[int], int]  # token ids, and how many of them are the first segment's
Logits = NDArray[np.float32]


class SharedScores(Protocol):
    """A cache outside this process. It may lose anything, and never raises; both cost a computation."""

    async def find(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What is kept under each key, within a few milliseconds."""
        ...

    def keep(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep key and value of each, later."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...


class ScoreCache:
    """Two tiers, either of which may be absent."""

    def __init__(
        self,
        key: bytes,
        artifact_digest: str,
        *,
        scoped: bool,
        most_bytes: int,
        metrics: Metrics,
        shared: SharedScores | None = None,
    ) -> None:
        """`key` has at most 64 bytes; `scoped` keeps callers apart."""
        self._base = hashlib.blake2b(artifact_digest.encode() + b"\0", key=key, digest_size=KEY_BYTES)
        self._seal = hashlib.blake2b(b"seal\0", key=key, digest_size=SEAL_BYTES)
        self._scoped = scoped
        self._memory: Lru[bytes] = Lru(most_bytes, "memory", metrics)
        self._shared = shared
        self._metrics = metrics

    def __len__(self) -> int:
        return len(self._memory)

    def keys(self, items: Sequence[Ids], scope: str) -> list[bytes]:
        """The key of each input, for this caller."""
        begun = self._base.copy()
        name = scope.encode() if self._scoped else b""
        begun.update(len(name).to_bytes(4, "little") + name)
        keys = []
        for ids, first in items:
            hashed = begun.copy()
            hashed.update(array("i", (first, *ids)).tobytes())
            keys.append(hashed.digest())
        return keys

    async def find(self, keys: Sequence[bytes]) -> list[Logits | None]:
        """Logits (C,) of each key that is known."""
        found = [self._memory.get(key) for key in keys]
        missing = [n for n, value in enumerate(found) if value is None]
        if missing and self._shared is not None:
            told = await self._shared.find([keys[n] for n in missing])
            for n, sealed in zip(missing, told, strict=True):
                value = None if sealed is None else self._opened(keys[n], sealed)
                (self._metrics.cache_misses if value is None else self._metrics.cache_hits).labels("redis").inc()
                if value is not None:
                    found[n] = value
                    self._memory.put(keys[n], value, len(value) + _OBJECT_BYTES)
        return [None if value is None else np.frombuffer(value, dtype=np.float32) for value in found]

    def keep(self, keys: Sequence[bytes], logits: Sequence[Logits]) -> None:
        """Keep what was computed."""
        entries = [(key, row.tobytes()) for key, row in zip(keys, logits, strict=True)]
        for key, value in entries:
            self._memory.put(key, value, len(value) + _OBJECT_BYTES)
        if self._shared is not None:
            self._shared.keep([(key, value + self._sealed(key, value)) for key, value in entries])

    async def close(self) -> None:
        """Let go of the shared tier."""
        if self._shared is not None:
            await self._shared.close()

    def _sealed(self, key: bytes, value: bytes) -> bytes:
        seal = self._seal.copy()
        seal.update(key + value)
        return seal.digest()

    def _opened(self, key: bytes, sealed: bytes) -> bytes | None:
        value, seal = sealed[:-SEAL_BYTES], sealed[-SEAL_BYTES:]
        return value if value and seal == self._sealed(key, value) else None
