"""The one file that names concrete classes: it opens what a running service needs, and owns every lifetime.

Owns assembly. Refuses to know HTTP and the command line.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.backends.artifact import Artifact, load_artifact
from service.backends.batcher import SLICE_ITEMS
from service.backends.buckets import HostBuckets, Limiter
from service.backends.cache import ScoreCache
from service.backends.onnx_text import OnnxTextScorer
from service.backends.secret import load_secrets
from service.backends.sqlite_store import SqliteStore
from service.caches import open_evidence, open_scores
from service.config import CONCURRENT_ITEMS, Settings
from service.errors import ArtifactInvalid, ScorerFailed, StartRefused, StoreRefused, StoreUnavailable
from service.evidence import EvidenceCache
from service.feedback.desk import FeedbackDesk, Judge
from service.feedback.ledger import Ledger
from service.feedback.loops import Loops
from service.feedback.receipts import Receipts
from service.feedback.shadow import Shadow
from service.feedback.traffic import Traffic
from service.feedback.tuning import Tuning
from service.feedback.versions import PolicyVersions
from service.goal_files import load_goals
from service.language import LanguageDetector
from service.metrics import Metrics
from service.normalize import Readings
from service.parts import Parts, Users
from service.pipeline import Pipeline
from service.policy import LivePolicies
from service.policy_files import load_policies
from service.records import Store
from service.runtime import Runtime, last_reload
from service.stages.composition import CompositionStage
from service.stages.context import ContextStage
from service.stages.identifiers import IdentifierPatterns
from service.stages.keyword import KeywordStage
from service.stages.lexicon import Lexicon, load_lexicon
from service.stages.semantic import SemanticStage
from service.steps import load_steps
from service.types import Content, Stage, Verdict
from service.upstreams import load_upstreams, open_client

if TYPE_CHECKING:
    from service.backends.otel import Tracing

DATA = Path(__file__).with_name("data")
WARM_UP = ("A short text.", "A longer one, so that the kernels of both lengths are ready. " * 12)


@asynccontextmanager
async def open_runtime(
    settings: Settings, metrics: Metrics | None = None, *, stateful: bool = True
) -> AsyncIterator[Runtime]:
    """Everything that serves, opened in order and closed in reverse. Raises StartRefused with one sentence.

    Without `stateful` nothing is kept or read but what files say: no receipts, no store, no learnt thresholds.
    """
    metrics = metrics or Metrics()
    async with AsyncExitStack() as stack:
        keep = await open_keep(stack, settings, stateful=stateful)
        tracing = _open_tracing(stack, settings)
        lexicon = await asyncio.to_thread(load_lexicon, DATA / "lexicon.toml")

        async def build() -> Parts:
            return await _open_parts(settings, keep, lexicon, metrics, tracing, stateful=stateful)

        try:
            seen = await last_reload(keep.store)
        except StoreUnavailable as error:
            raise StoreRefused("The store does not answer.") from error
        limits = _open_limits(stack, settings, metrics)
        runtime = Runtime(
            settings, metrics, await build(), build, keep.store, seen=seen, limits=limits, tracing=tracing
        )
        stack.push_async_callback(runtime.close)
        runtime.upstreams = load_upstreams(settings)
        runtime.upstream_client = open_client(stack, runtime.upstreams)
        metrics.name_model(runtime.model)
        if stateful:
            runtime.follow()
        yield runtime


def _open_limits(stack: AsyncExitStack, settings: Settings, metrics: Metrics) -> Limiter | None:
    """What charges keys; the cache's Redis rather than the store's, which writes all it is told to disk."""
    names = [key.name for key in settings.caller_keys if settings.rate_limit.of(key.name) is not None]
    if not names:
        return None
    url = settings.cache_url or settings.store_url
    shared = None
    if url is not None:
        from service.backends.redis_buckets import RedisBuckets  # here, as for the store

        shared = RedisBuckets(url.get_secret_value(), metrics)
    limiter = Limiter(settings.rate_limit, HostBuckets(metrics.shared, names), shared, metrics)
    stack.push_async_callback(limiter.close)
    return limiter


def _open_tracing(stack: AsyncExitStack, settings: Settings) -> Tracing | None:
    """What makes spans, where they are wanted; an extra, so loaded only then."""
    if settings.otel == "off":
        return None
    try:
        from service.backends.otel import open_tracing
    except ImportError as error:
        raise StartRefused("WEIR_OTEL=on needs the extra otel: pip install 'weir[otel]'.") from error
    tracing = open_tracing()
    stack.push_async_callback(tracing.close)
    return tracing


async def _open_parts(
    settings: Settings, keep: Keep, lexicon: Lexicon, metrics: Metrics, tracing: Tracing | None, *, stateful: bool
) -> Parts:
    """All that belongs to the artefact and the policies that now lie on disk, proved by a batch that really ran."""
    async with AsyncExitStack() as stack:
        artifact = await asyncio.to_thread(load_artifact, settings.model_dir)
        book = load_policies(
            DATA / "thresholds.toml", settings.policy_dir, artifact.presets, artifact.digest, settings.preset
        )
        live, users = LivePolicies(book), Users()
        scorer = OnnxTextScorer(
            artifact,
            workers=settings.threads,
            threads=1,
            max_items=settings.queue_items,
            slice_items=max(1, min(SLICE_ITEMS, settings.queue_items // (4 * CONCURRENT_ITEMS))),
            budget_s=settings.request_budget_s,
            cache=open_scores(stack, settings, keep.secret, artifact.digest, metrics),
            metrics=metrics,
        )
        stack.push_async_callback(scorer.close)
        evidence = open_evidence(settings, keep.secret, artifact.digest, metrics)
        pipeline = _build_pipeline(settings, artifact, scorer, lexicon, live, metrics, tracing, evidence)

        async def judge(content: Content) -> Verdict:
            with users:
                return await pipeline.judge(content)

        state = build_state(keep, settings, metrics, live, judge, (artifact.version, artifact.digest))
        try:
            for text in WARM_UP:
                await scorer.score([(text, "")], "post")
        except ScorerFailed as error:
            raise ArtifactInvalid(f"{artifact.name}: the model cannot be run") from error
        if stateful:
            await start_loops(stack, state)
            if settings.shadow_model_dir is not None:
                await _start_shadow(stack, settings, settings.shadow_model_dir, lexicon, state, metrics)
        return Parts(
            *(live, artifact.version, artifact.languages, pipeline, scorer),
            *(state.feedback, state.versions, state.tuning, state.ledger if stateful else None),
            users=users,
            stack=stack.pop_all(),
        )


@dataclass(frozen=True)
class Keep:
    """Where state lies, the keys that receipts are signed with, and the secret that others are derived from."""

    store: Store
    receipts: Receipts
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class State:
    """The parts that feedback and thresholds need, around one store."""

    feedback: FeedbackDesk
    versions: PolicyVersions
    tuning: Tuning
    ledger: Ledger
    loops: Loops


async def open_keep(stack: AsyncExitStack, settings: Settings, *, stateful: bool = True) -> Keep:
    """The store and the keys; opened early, so that a wrong setting is told before the model is loaded."""
    store: Store
    if not stateful:
        secret = [secrets.token_bytes(32)]
        store = await SqliteStore.open(None)
    else:
        given = None if settings.secret is None else settings.secret.get_secret_value()
        secret = await asyncio.to_thread(load_secrets, given, settings.data_dir)
        if settings.store_url is None:
            store = await SqliteStore.open(settings.data_dir / "weir.db")
        else:
            # Here, so that who keeps everything on one host loads no client of Redis.
            from service.backends.redis_store import RedisStore

            store = await RedisStore.open(settings.store_url.get_secret_value())
    stack.push_async_callback(store.close)
    return Keep(store, Receipts(secret, days=settings.receipt_days), secret[0])


def build_state(
    keep: Keep, settings: Settings, metrics: Metrics, policies: LivePolicies, judge: Judge, artifact: tuple[str, str]
) -> State:
    """The parts, not yet running. `artifact` is its version and its whole digest."""
    version, digest = artifact
    store, traffic = keep.store, Traffic()
    versions = PolicyVersions(policies.current, digest, policies, store, metrics)
    tuning = Tuning(versions, store, load_goals(DATA / "thresholds.toml", settings.policy_dir), version)
    return State(
        FeedbackDesk(keep.receipts, store, policies, judge, version, metrics),
        versions,
        tuning,
        Ledger(keep.receipts, traffic, policies, metrics, settings.audit_share),
        Loops(
            *(versions, tuning, traffic, store, metrics),
            owner=secrets.token_hex(8),
            policies=tuple(policies.current.policies),
            adapt_every_s=settings.adapt_every_s,
        ),
    )


async def start_loops(stack: AsyncExitStack, state: State) -> None:
    """Take the thresholds of the store, then keep up with it."""
    try:
        await state.versions.refresh(force=True)
    except StoreUnavailable as error:
        raise StoreRefused("The store does not answer.") from error
    state.loops.start()
    stack.push_async_callback(state.loops.close)


async def _start_shadow(
    stack: AsyncExitStack, settings: Settings, folder: Path, lexicon: Lexicon, state: State, metrics: Metrics
) -> None:
    """A whole pipeline around a draft model, under the presets of its own manifest and with metrics of its own."""
    artifact = await asyncio.to_thread(load_artifact, folder)
    apart = Metrics(apart=True)
    scorer = OnnxTextScorer(
        artifact,
        workers=1,
        threads=1,
        max_items=settings.queue_items,
        metrics=apart,
        cache=ScoreCache(secrets.token_bytes(32), artifact.digest, scoped=False, most_bytes=0, metrics=apart),
    )
    stack.push_async_callback(scorer.close)
    book = load_policies(
        DATA / "thresholds.toml", settings.policy_dir, artifact.presets, artifact.digest, settings.preset
    )
    pipeline = _build_pipeline(settings, artifact, scorer, lexicon, LivePolicies(book), apart)
    shadow = Shadow(pipeline.judge, artifact.version, state.ledger.traffic, metrics, share=settings.shadow_share)
    shadow.start()
    stack.push_async_callback(shadow.close)
    state.ledger.shadow, state.tuning.shadow_artifact = shadow, shadow.artifact


def _build_pipeline(
    settings: Settings,
    artifact: Artifact,
    scorer: OnnxTextScorer,
    lexicon: Lexicon,
    policies: LivePolicies,
    metrics: Metrics,
    tracing: Tracing | None = None,
    evidence: EvidenceCache | None = None,
) -> Pipeline:
    read = Readings()
    stages: dict[str, Callable[[dict[str, Any]], Stage]] = {
        "keyword": lambda _: KeywordStage(lexicon, IdentifierPatterns(), read),
        "semantic": lambda _: SemanticStage(scorer, window_shift=artifact.window_shift, read=read),
        "composition": lambda _: CompositionStage(),
        "context": lambda options: ContextStage(
            scorer, trusted_roles=options["trusted_roles"], window_shift=artifact.window_shift
        ),
    }
    steps = load_steps(DATA / "pipeline.toml", stages, settings.request_budget_s, settings.fail_open)
    if tracing is not None:
        steps = [replace(step, stage=tracing.around(step.stage)) for step in steps]
    return Pipeline(steps, policies, LanguageDetector(artifact.languages), artifact.version, metrics, evidence)
