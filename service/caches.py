"""The caches that settings ask for: evidence in this process, scores here and perhaps in Redis.

Owns which tiers there are, their room and their keys. Refuses to know what is kept in them; `wiring` owns their lives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from service.backends.cache import ScoreCache
from service.config import Settings
from service.evidence import EvidenceCache, derive_key
from service.metrics import Metrics

EVIDENCE_SHARE = 0.75  # of the room; an entry of scores is a quarter of one of evidence
_DATA = Path(__file__).with_name("data")
_FILES = ("lexicon.toml", "words.txt", "pipeline.toml")  # that evidence hangs on beside the artefact


def open_scores(
    stack: AsyncExitStack, settings: Settings, secret: bytes, artifact_digest: str, metrics: Metrics
) -> ScoreCache:
    """What remembers logits, with Redis behind it where that is wanted. A Redis that is away stops no start."""
    shared = None
    if settings.cache_url is not None:
        # Here, so that who has no Redis loads no client of it.
        from service.backends.redis_scores import RedisScores

        shared = RedisScores(settings.cache_url.get_secret_value(), metrics)
    cache = ScoreCache(
        derive_key(secret, "scores"),
        artifact_digest,
        scoped=settings.cache_scoped,
        most_bytes=int(settings.cache_bytes * (1 - EVIDENCE_SHARE)),
        metrics=metrics,
        shared=shared,
    )
    stack.push_async_callback(cache.close)
    return cache


def open_evidence(
    settings: Settings, secret: bytes, artifact_digest: str, metrics: Metrics, of_images: Callable[[], str]
) -> EvidenceCache:
    """What remembers findings, under everything that they hang on; of images, also on what `of_images` names."""
    digests = [hashlib.sha256((_DATA / name).read_bytes()).hexdigest() for name in _FILES]
    return EvidenceCache(
        secret,
        (artifact_digest, *digests),
        scoped=settings.cache_scoped,
        most_bytes=int(settings.cache_bytes * EVIDENCE_SHARE),
        metrics=metrics,
        of_images=of_images,
    )
