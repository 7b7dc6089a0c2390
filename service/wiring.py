"""The one file that names concrete classes: it opens what a running service needs, and owns every lifetime.

Owns assembly. Refuses to know HTTP and the command line.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.backends.artifact import Artifact, load_artifact
from service.backends.batcher import SLICE_ITEMS
from service.backends.buckets import HostBuckets, Limiter
from service.backends.cache import ScoreCache
from service.backends.onnx_text import OnnxTextScorer
from service.caches import open_evidence, open_scores
from service.config import CONCURRENT_ITEMS, Settings
from service.constitution.doubt import Doubt
from service.constitution.live import LiveConstitutions
from service.constitution.opinion import Judge as ConstitutionJudge
from service.constitution.reviser import Reviser
from service.constitution_parts import ConstitutionParts, embedded_judge, open_constitutions, open_judge, open_llm
from service.errors import ArtifactInvalid, ScorerFailed, StartRefused, StoreRefused, StoreUnavailable
from service.evidence import EvidenceCache
from service.feedback.shadow import Shadow
from service.feedback_parts import Keep, State, build_state, open_keep, start_loops
from service.image_parts import Sight, can_see, open_fetcher, open_sight
from service.images.bank_desk import BankDesk
from service.language import LanguageDetector
from service.metrics import Metrics
from service.normalize import Readings
from service.parts import Parts, Users
from service.pipeline import Pipeline
from service.policy import LivePolicies, PolicyBook
from service.policy_files import load_policies
from service.runtime import Runtime, last_reload
from service.spacing import with_spaces
from service.stages.composition import CompositionStage
from service.stages.constitution import ConstitutionStage
from service.stages.context import ContextStage
from service.stages.identifiers import IdentifierPatterns
from service.stages.judge import JudgeStage
from service.stages.keyword import KeywordStage
from service.stages.lexicon import Lexicon, load_lexicon
from service.stages.semantic import SemanticStage
from service.steps import GATES, load_steps
from service.types import Content, Stage, Verdict
from service.upstreams import load_upstreams, open_client

if TYPE_CHECKING:
    from service.backends.llm_judge import LlmJudge
    from service.backends.otel import Tracing

DATA = Path(__file__).with_name("data")
WARM_UP = ("A short text.", "A longer one, so that the kernels of both lengths are ready. " * 12)


@asynccontextmanager
async def open_runtime(
    settings: Settings, metrics: Metrics | None = None, *, stateful: bool = True, constitution: Path | None = None
) -> AsyncIterator[Runtime]:
    """Everything that serves, opened in order and closed in reverse. Raises StartRefused with one sentence.

    Without `stateful` nothing is kept or read but what files say: no receipts, no store, no learnt thresholds.
    `constitution` is a file that stands in for all constitutions.
    """
    metrics = metrics or Metrics()
    async with AsyncExitStack() as stack:
        keep = await open_keep(stack, settings, stateful=stateful)
        tracing = _open_tracing(stack, settings)
        lexicon = await asyncio.to_thread(load_lexicon, DATA / "lexicon.toml")
        llm = open_llm(stack, settings, metrics)
        sight = await open_sight(stack, settings, keep.secret, metrics, keep.store)

        async def build() -> Parts:
            return await _open_parts(
                *(settings, keep, lexicon, metrics, tracing, llm, sight), stateful=stateful, constitution=constitution
            )

        try:
            seen = await last_reload(keep.store)
        except StoreUnavailable as error:
            raise StoreRefused("The store does not answer.") from error
        limits = _open_limits(stack, settings, metrics)
        runtime = Runtime(
            settings, metrics, await build(), build, keep.store, seen=seen, limits=limits, tracing=tracing
        )
        stack.push_async_callback(runtime.close)
        runtime.sees_images = can_see()
        runtime.visual_categories = frozenset() if sight.classifier is None else sight.classifier.categories
        runtime.image_fetcher = open_fetcher(stack, settings, metrics)
        runtime.banks = BankDesk(keep.store, None if sight.known is None else sight.known.refresh)
        runtime.upstreams = load_upstreams(settings)
        runtime.upstream_client = open_client(stack, runtime.upstreams, settings.max_streams)
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
    settings: Settings,
    keep: Keep,
    lexicon: Lexicon,
    metrics: Metrics,
    tracing: Tracing | None,
    llm: LlmJudge | None,
    sight: Sight,
    *,
    stateful: bool,
    constitution: Path | None,
) -> Parts:
    """All that belongs to the artefact and the policies that now lie on disk, proved by a batch that really ran."""
    async with AsyncExitStack() as stack:
        artifact = await asyncio.to_thread(load_artifact, settings.model_dir)
        book = _load_book(settings, artifact)
        live, users = LivePolicies(book), Users()
        scorer = await _open_scorer(stack, settings, keep, artifact, metrics)
        constitutions = await open_constitutions(settings, scorer, constitution)
        doubtful = open_judge(llm, embedded_judge(live, scorer))
        evidence = open_evidence(settings, keep.secret, artifact.digest, metrics, lambda: sight.version)
        pipeline = _build_pipeline(
            *(settings, artifact, scorer, lexicon, live, constitutions, doubtful, metrics, sight, tracing, evidence)
        )

        async def judge(content: Content) -> Verdict:
            with users:
                return await pipeline.judge(content)

        state = build_state(keep, settings, metrics, live, judge, (artifact.version, artifact.digest))
        if stateful:
            await start_loops(stack, state)
            if settings.shadow_model_dir is not None:
                await _start_shadow(stack, settings, settings.shadow_model_dir, lexicon, state, metrics, sight)
        return Parts(
            *(live, artifact.version, artifact.languages, pipeline, scorer),
            *(state.feedback, state.versions, state.tuning, state.ledger if stateful else None),
            constitution=ConstitutionParts(
                constitutions, doubtful, llm, Reviser(judge, scorer, llm, constitutions, live, metrics)
            ),
            users=users,
            stack=stack.pop_all(),
        )


def _load_book(settings: Settings, artifact: Artifact) -> PolicyBook:
    """The policies as files and settings have them, over an artefact's presets."""
    return load_policies(
        *(DATA / "thresholds.toml", settings.policy_dir, artifact.presets, artifact.digest, settings.preset),
        on_unscanned_image=settings.on_unscanned_image,
    )


async def _open_scorer(
    stack: AsyncExitStack, settings: Settings, keep: Keep, artifact: Artifact, metrics: Metrics
) -> OnnxTextScorer:
    """The model, warm; ArtifactInvalid where it cannot be run."""
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
    try:
        for text in WARM_UP:
            await scorer.score([(text, "")], "post")
    except ScorerFailed as error:
        raise ArtifactInvalid(f"{artifact.name}: the model cannot be run") from error
    return scorer


async def _start_shadow(
    stack: AsyncExitStack,
    settings: Settings,
    folder: Path,
    lexicon: Lexicon,
    state: State,
    metrics: Metrics,
    sight: Sight,
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
    policies = LivePolicies(_load_book(settings, artifact))
    constitutions = await open_constitutions(settings, scorer)
    judge = embedded_judge(policies, scorer)
    pipeline = _build_pipeline(settings, artifact, scorer, lexicon, policies, constitutions, judge, apart, sight)
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
    constitutions: LiveConstitutions,
    doubtful: ConstitutionJudge,
    metrics: Metrics,
    sight: Sight,
    tracing: Tracing | None = None,
    evidence: EvidenceCache | None = None,
) -> Pipeline:
    read, language_of = Readings(), LanguageDetector(artifact.languages)
    keyword = KeywordStage(lexicon, IdentifierPatterns(), read)
    semantic = SemanticStage(scorer, window_shift=artifact.window_shift, read=read, read_next=constitutions.reads)
    composition = CompositionStage()
    # As pipeline.toml has them; words are looked for with lost spaces put back too, which the classifier does without.
    readers = (semantic, KeywordStage(lexicon, IdentifierPatterns(), with_spaces(read)), composition)
    stages: dict[str, Callable[[dict[str, Any]], Stage]] = {
        "keyword": lambda _: keyword,
        "semantic": lambda _: semantic,
        "composition": lambda _: composition,
        "image": lambda _: sight.stage(readers, language_of, metrics, most_images=settings.image_max_count),
        "context": lambda options: ContextStage(
            scorer, trusted_roles=options["trusted_roles"], window_shift=artifact.window_shift
        ),
        "constitution": lambda _: ConstitutionStage(constitutions, scorer, read),
        "judge": lambda _: JudgeStage(doubtful, constitutions, policies, metrics),
    }
    gates = {**GATES, "doubt": Doubt(policies, constitutions)}
    steps = load_steps(DATA / "pipeline.toml", stages, settings.request_budget_s, settings.fail_open, gates)
    if tracing is not None:
        steps = [replace(step, stage=tracing.around(step.stage)) for step in steps]
    return Pipeline(steps, policies, language_of, artifact.version, metrics, evidence)
