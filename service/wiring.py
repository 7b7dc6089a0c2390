"""The one file that names concrete classes: it opens what a running service needs, and owns every lifetime.

Owns assembly. Refuses to know HTTP and the command line.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.backends.artifact import load_artifact
from service.backends.batcher import SLICE_ITEMS
from service.backends.onnx_text import OnnxTextScorer
from service.config import CONCURRENT_ITEMS, Settings
from service.errors import ArtifactInvalid, ScorerFailed, StartRefused
from service.language import LanguageDetector
from service.metrics import Metrics
from service.pipeline import Gate, Pipeline, Step, always, has_context
from service.policy import PolicyBook
from service.policy_files import load_policies
from service.stages.context import ContextStage
from service.stages.identifiers import IdentifierPatterns
from service.stages.keyword import KeywordStage
from service.stages.lexicon import load_lexicon
from service.stages.semantic import SemanticStage
from service.types import Content, Stage, Verdict

DATA = Path(__file__).with_name("data")
GATES: Mapping[str, Gate] = {"always": always, "context": has_context}
WARM_UP = ("A short text.", "A longer one, so that the kernels of both lengths are ready. " * 12)


@dataclass
class Runtime:
    """What the API works with. `ready` is proved by work; `draining` is set when the process is about to stop."""

    settings: Settings
    policies: PolicyBook
    metrics: Metrics
    model: str
    pipeline: Pipeline = field(repr=False)
    scorer: OnnxTextScorer = field(repr=False)
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
        """Judge one content; raises UnknownPolicy and Overloaded."""
        return await self.pipeline.moderate(content)

    async def judge(self, content: Content) -> Verdict:
        """Judge a part of a content that is moderated as a whole: nothing is counted."""
        return await self.pipeline.judge(content)


@asynccontextmanager
async def open_runtime(settings: Settings, metrics: Metrics | None = None) -> AsyncIterator[Runtime]:
    """Everything that serves, opened in order and closed in reverse. Raises StartRefused with one sentence."""
    metrics = metrics or Metrics()
    async with AsyncExitStack() as stack:
        artifact = await asyncio.to_thread(load_artifact, settings.model_dir)
        policies = load_policies(
            DATA / "thresholds.toml", settings.policy_dir, artifact.presets, artifact.digest, settings.preset
        )
        scorer = OnnxTextScorer(
            artifact,
            workers=settings.threads,
            threads=1,
            max_items=settings.queue_items,
            slice_items=max(1, min(SLICE_ITEMS, settings.queue_items // (4 * CONCURRENT_ITEMS))),
            metrics=metrics,
        )
        stack.push_async_callback(scorer.close)
        lexicon = await asyncio.to_thread(load_lexicon, DATA / "lexicon.toml")
        stages: dict[str, Callable[[dict[str, Any]], Stage]] = {
            "keyword": lambda _: KeywordStage(lexicon, IdentifierPatterns()),
            "semantic": lambda _: SemanticStage(scorer, window_shift=artifact.window_shift),
            "context": lambda options: ContextStage(
                scorer, trusted_roles=options["trusted_roles"], window_shift=artifact.window_shift
            ),
        }
        steps = load_steps(DATA / "pipeline.toml", stages, settings.request_budget_s)
        pipeline = Pipeline(steps, policies, LanguageDetector(artifact.languages), artifact.version, metrics)
        metrics.name_model(artifact.version)
        runtime = Runtime(settings, policies, metrics, artifact.version, pipeline, scorer)
        try:
            for text in WARM_UP:
                await scorer.score([(text, "")], "post")
        except ScorerFailed as error:
            raise ArtifactInvalid(f"{artifact.name}: the model cannot be run") from error
        runtime.warm = True
        yield runtime


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
