"""What the stages found in a content, kept for the next time the same content comes.

Owns what "the same" means: everything that the stages are fed, under the caller's scope. Refuses to know thresholds:
a policy decides afresh over what is kept, so a changed threshold needs no invalidation. No text lies in an entry or in
a key: a key is a keyed BLAKE2b (RFC 7693, a MAC without HMAC's second pass) under a key derived from the secret.
What a stage is missing from is never kept, nor what the constitution has a say in: its files change apart from all
this, and a judge may answer otherwise the next time.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import struct
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from service.flights import Flights
from service.lru import Lru
from service.metrics import Metrics
from service.types import Content, Finding

KEY_BYTES = 16
MOST_HASHED_HERE = 1 << 18  # bytes of images; more would keep the event loop for longer than a text takes
# Sizes on CPython 3.11: an entry with its tuples, a finding with its score, a span with its numbers.
_ENTRY_BYTES, _FINDING_BYTES, _SPAN_BYTES = 400, 130, 110
_COUNTS = struct.Struct("<6I")


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a verdict needs besides a policy. `failed` names stages that had no say, in order.

    `doubtful`: one of those may not pass silently. `timings_ms` are those of the stages.
    """

    findings: tuple[Finding, ...]
    language: str
    measured: bool
    failed: tuple[str, ...] = ()
    doubtful: bool = False
    timings_ms: Mapping[str, float] = field(default_factory=dict)


class Source(Enum):
    """Where evidence came from: it was gathered for this caller, together with another one, or kept from before."""

    GATHERED = "gathered"
    JOINED = "joined"
    KEPT = "kept"


def derive_key(secret: bytes, purpose: str) -> bytes:
    """A key for one purpose: one-step derivation with HMAC as the function (NIST SP 800-56C, 4)."""
    return hmac.digest(secret, f"weir cache {purpose}".encode(), "sha256")


class EvidenceCache:
    """Evidence by content, in this process. With no room it keeps nothing, and equal contents are still joined."""

    def __init__(
        self,
        secret: bytes,
        identity: Sequence[str],
        *,
        scoped: bool,
        most_bytes: int,
        metrics: Metrics,
        of_images: Callable[[], str] = str,
    ) -> None:
        """`identity` names everything that evidence hangs on besides the content; `scoped` keeps callers apart.

        `of_images` names what else evidence on images hangs on at this moment, such as the lists of known ones.
        """
        self._base = hashlib.blake2b(key=derive_key(secret, "evidence"), digest_size=KEY_BYTES)
        for part in identity:
            encoded = part.encode()
            self._base.update(struct.pack("<I", len(encoded)) + encoded)
        self._scoped = scoped
        self._of_images = of_images
        self._kept: Lru[Evidence] = Lru(most_bytes, "evidence", metrics)
        self._flights: Flights[Evidence] = Flights()
        self._joins = metrics.joins.labels("evidence")

    def __len__(self) -> int:
        return len(self._kept)

    async def of(
        self, content: Content, gather: Callable[[Content], Coroutine[Any, Any, Evidence]]
    ) -> tuple[Evidence, Source]:
        """The evidence on a content: kept, or gathered together with whoever asks for the same at this time."""
        if not content.store or content.constitution != "off":
            return await gather(content), Source.GATHERED
        large = sum(map(len, content.images)) > MOST_HASHED_HERE
        key = await asyncio.to_thread(self._key, content) if large else self._key(content)
        kept = self._kept.get(key)
        if kept is not None:
            return kept, Source.KEPT
        joined = self._flights.flying(key)
        if joined:
            self._joins.inc()
        evidence = await self._flights.run(key, lambda: self._gather(key, content, gather))
        return evidence, Source.JOINED if joined else Source.GATHERED

    async def _gather(
        self, key: bytes, content: Content, gather: Callable[[Content], Coroutine[Any, Any, Evidence]]
    ) -> Evidence:
        evidence = await gather(content)
        if not evidence.failed and self._kept.keeps:
            plain = Evidence(evidence.findings, evidence.language, evidence.measured, doubtful=evidence.doubtful)
            self._kept.put(key, plain, _size(evidence.findings))
        return evidence

    def _key(self, content: Content) -> bytes:
        """Every part after its length, so that no two contents are written alike."""
        hashed = self._base.copy()
        scope = content.scope.encode() if self._scoped else b""
        role, text = content.role.encode(), _encode(content.text)
        turns = content.context
        counts = (len(scope), len(role), len(text), len(turns), len(content.images), content.explain)
        hashed.update(_COUNTS.pack(*counts) + scope + role)
        hashed.update(text)
        for turn in turns:
            role, text = turn.role.encode(), _encode(turn.text)
            hashed.update(struct.pack("<II", len(role), len(text)) + role + text)
        if content.images:
            hashed.update(self._of_images().encode() + b"\0")
        for image in content.images:
            hashed.update(struct.pack("<I", len(image)) + image)
        return hashed.digest()


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _size(findings: Sequence[Finding]) -> int:
    spans = sum(finding.span is not None for finding in findings)
    return _ENTRY_BYTES + _FINDING_BYTES * len(findings) + _SPAN_BYTES * spans
