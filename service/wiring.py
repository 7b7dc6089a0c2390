"""The one file that names concrete classes: it opens what a running service needs, and owns every lifetime.

Owns assembly. Refuses to know HTTP and the command line.
"""

from __future__ import annotations

import asyncio
import secrets
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from service.backends.artifact import Artifact, load_artifact
from service.backends.batcher import SLICE_ITEMS
from service.backends.onnx_text import OnnxTextScorer
from service.backends.secret import load_secrets
from service.backends.sqlite_store import SqliteStore
from service.backends.upstream import Upstream, UpstreamClient, UpstreamKind
from service.config import CONCURRENT_ITEMS, Settings, read_secret
from service.errors import ArtifactInvalid, ScorerFailed, StartRefused, StoreRefused, StoreUnavailable, UnknownUpstream
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
from service.pipeline import Gate, Pipeline, Step, always, has_context
from service.policy import LivePolicies
from service.policy_files import load_policies
from service.records import Store
from service.stages.composition import CompositionStage, is_sexual
from service.stages.context import ContextStage
from service.stages.identifiers import IdentifierPatterns
from service.stages.keyword import KeywordStage
from service.stages.lexicon import load_lexicon
from service.stages.semantic import SemanticStage
from service.types import Content, Stage, Verdict
from service.upstream_files import read_upstreams

DATA = Path(__file__).with_name("data")
GATES: Mapping[str, Gate] = {"always": always, "context": has_context, "sexual": is_sexual}
FIRST_BYTE_S = 120.0  # for which an upstream may think before it answers
STALL_S = 60.0  # between two pieces of an answer
WARM_UP = ("A short text.", "A longer one, so that the kernels of both lengths are ready. " * 12)


@dataclass
class Runtime:
    """What the API works with. `ready` is proved by work; `draining` is set when the process is about to stop."""

    settings: Settings
    policies: LivePolicies
    metrics: Metrics
    model: str
    pipeline: Pipeline = field(repr=False)
    scorer: OnnxTextScorer = field(repr=False)
    feedback: FeedbackDesk = field(repr=False)
    versions: PolicyVersions = field(repr=False)
    tuning: Tuning = field(repr=False)
    ledger: Ledger | None = field(repr=False, default=None)
    upstreams: Mapping[tuple[UpstreamKind, str], Upstream] = field(repr=False, default_factory=dict)
    upstream_client: UpstreamClient | None = field(repr=False, default=None)
    revise: Callable[[Content, Verdict], Awaitable[str | None]] | None = field(repr=False, default=None)
    warm: bool = False
    draining: bool = False

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the model was measured on, its own first (ISO 639-1)."""
        return self.scorer.artifact.languages

    @property
    def ready(self) -> bool:
        """Whether a batch really ran, every worker is alive and nobody asked for a stop."""
        return self.warm and self.scorer.alive and not self.draining

    async def moderate(self, content: Content) -> Verdict:
        """Judge one content, and enter the verdict; raises UnknownPolicy and Overloaded."""
        verdict = await self.pipeline.moderate(content)
        return verdict if self.ledger is None else self.ledger.enter(content, verdict)

    def enter(self, content: Content, verdict: Verdict) -> Verdict:
        """Count and enter a verdict that `judge` gave: of a content whose parts were judged one by one."""
        self.metrics.count_verdict(verdict)
        return verdict if self.ledger is None else self.ledger.enter(content, verdict)

    def upstream(self, kind: UpstreamKind, name: str) -> Upstream:
        """The upstream of that name that speaks this dialect; UnknownUpstream where none is configured."""
        try:
            return self.upstreams[kind, name]
        except KeyError:
            raise UnknownUpstream("No upstream is configured for this path.") from None

    async def judge(self, content: Content) -> Verdict:
        """Judge a part of a content that is moderated as a whole: nothing is counted."""
        return await self.pipeline.judge(content)


@asynccontextmanager
async def open_runtime(
    settings: Settings, metrics: Metrics | None = None, *, stateful: bool = True
) -> AsyncIterator[Runtime]:
    """Everything that serves, opened in order and closed in reverse. Raises StartRefused with one sentence.

    Without `stateful` nothing is kept or read but what files say: no receipts, no store, no learnt thresholds.
    """
    metrics = metrics or Metrics()
    async with AsyncExitStack() as stack:
        artifact = await asyncio.to_thread(load_artifact, settings.model_dir)
        book = load_policies(
            DATA / "thresholds.toml", settings.policy_dir, artifact.presets, artifact.digest, settings.preset
        )
        live = LivePolicies(book)
        keep = await open_keep(stack, settings, stateful=stateful)
        scorer = OnnxTextScorer(
            artifact,
            workers=settings.threads,
            threads=1,
            max_items=settings.queue_items,
            slice_items=max(1, min(SLICE_ITEMS, settings.queue_items // (4 * CONCURRENT_ITEMS))),
            metrics=metrics,
        )
        stack.push_async_callback(scorer.close)
        pipeline = await _build_pipeline(settings, artifact, scorer, live, metrics)
        metrics.name_model(artifact.version)
        state = build_state(keep, settings, metrics, live, pipeline.judge, (artifact.version, artifact.digest))
        runtime = Runtime(
            *(settings, live, metrics, artifact.version, pipeline, scorer),
            *(state.feedback, state.versions, state.tuning, state.ledger if stateful else None),
        )
        try:
            for text in WARM_UP:
                await scorer.score([(text, "")], "post")
        except ScorerFailed as error:
            raise ArtifactInvalid(f"{artifact.name}: the model cannot be run") from error
        if stateful:
            await start_loops(stack, state)
            if settings.shadow_model_dir is not None:
                await _start_shadow(stack, settings, settings.shadow_model_dir, state, metrics)
        runtime.upstreams = load_upstreams(settings)
        if runtime.upstreams:
            runtime.upstream_client = UpstreamClient(first_byte_s=FIRST_BYTE_S, stall_s=STALL_S)
            stack.push_async_callback(runtime.upstream_client.close)
        runtime.warm = True
        yield runtime


def load_upstreams(settings: Settings) -> dict[tuple[UpstreamKind, str], Upstream]:
    """The upstreams that are configured, by dialect and name; an address may end in /v1, as clients write it."""
    defaults: tuple[tuple[UpstreamKind, str | None, SecretStr | None], ...] = (
        ("openai", settings.upstream_openai, settings.upstream_openai_key),
        ("anthropic", settings.upstream_anthropic, settings.upstream_anthropic_key),
    )
    found = [
        Upstream("default", kind, url.rstrip("/").removesuffix("/v1"), key.get_secret_value() if key else "")
        for kind, url, key in defaults
        if url is not None
    ]
    named = read_upstreams(settings.upstreams, read_secret) if settings.upstreams else []
    return {(upstream.kind, upstream.name): upstream for upstream in (*found, *named)}


@dataclass(frozen=True)
class Keep:
    """Where state lies, and the keys that receipts are signed with."""

    store: Store
    receipts: Receipts


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
    return Keep(store, Receipts(secret, days=settings.receipt_days))


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
    stack: AsyncExitStack, settings: Settings, folder: Path, state: State, metrics: Metrics
) -> None:
    """A whole pipeline around a draft model, under the presets of its own manifest and with metrics of its own."""
    artifact = await asyncio.to_thread(load_artifact, folder)
    apart = Metrics()
    scorer = OnnxTextScorer(
        artifact, workers=1, threads=1, max_items=settings.queue_items, slice_items=SLICE_ITEMS, metrics=apart
    )
    stack.push_async_callback(scorer.close)
    book = load_policies(
        DATA / "thresholds.toml", settings.policy_dir, artifact.presets, artifact.digest, settings.preset
    )
    pipeline = await _build_pipeline(settings, artifact, scorer, LivePolicies(book), apart)
    shadow = Shadow(pipeline.judge, artifact.version, state.ledger.traffic, metrics, share=settings.shadow_share)
    shadow.start()
    stack.push_async_callback(shadow.close)
    state.ledger.shadow, state.tuning.shadow_artifact = shadow, shadow.artifact


async def _build_pipeline(
    settings: Settings, artifact: Artifact, scorer: OnnxTextScorer, policies: LivePolicies, metrics: Metrics
) -> Pipeline:
    lexicon = await asyncio.to_thread(load_lexicon, DATA / "lexicon.toml")
    stages: dict[str, Callable[[dict[str, Any]], Stage]] = {
        "keyword": lambda _: KeywordStage(lexicon, IdentifierPatterns()),
        "semantic": lambda _: SemanticStage(scorer, window_shift=artifact.window_shift),
        "composition": lambda _: CompositionStage(),
        "context": lambda options: ContextStage(
            scorer, trusted_roles=options["trusted_roles"], window_shift=artifact.window_shift
        ),
    }
    steps = load_steps(DATA / "pipeline.toml", stages, settings.request_budget_s)
    return Pipeline(steps, policies, LanguageDetector(artifact.languages), artifact.version, metrics)


def load_steps(path: Path, stages: Mapping[str, Callable[[dict[str, Any]], Stage]], budget_s: float) -> list[Step]:
    """The pipeline's steps as `pipeline.toml` lists them; raises StartRefused for a name that does not exist."""
    steps: list[Step] = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["steps"]:
        name, gate = entry["stage"], entry.get("gate", "always")
        if name not in stages or gate not in GATES:
            raise StartRefused(f"{path.name}: there is no stage {name!r} or no gate {gate!r}")
        steps.append(
            Step(
                stages[name](entry),
                budget_s=min(float(entry["budget_s"]), budget_s),
                gate=GATES[gate],
                fail_open=bool(entry.get("fail_open", False)),
                beside=bool(entry.get("beside", False)),
            )
        )
    return steps
