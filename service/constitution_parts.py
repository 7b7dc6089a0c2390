"""The constitution's part of the assembly: which files are read, and who is asked in doubt.

Owns the concrete judges. Refuses to know the pipeline, HTTP and the command line; `wiring` owns every lifetime.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from service.backends.onnx_text import OnnxTextScorer
from service.config import Settings
from service.constitution.embedded_judge import EmbeddedJudge, JudgeWithFallback
from service.constitution.live import LiveConstitutions
from service.constitution.opinion import Judge
from service.constitution.reviser import Reviser
from service.constitution.second_look import load_second_look
from service.metrics import Metrics
from service.policy import LivePolicies
from service.stages.constitution import plain_reading

if TYPE_CHECKING:
    from service.backends.llm_judge import LlmJudge

DATA = Path(__file__).with_name("data")
SECOND_LOOK = "second_look.json"

_log = logging.getLogger("weir.constitution")


@dataclass(frozen=True)
class ConstitutionParts:
    """The constitutions in force, who is asked in doubt, and who revises. `llm` is None where none is configured."""

    live: LiveConstitutions
    judge: Judge
    llm: LlmJudge | None
    reviser: Reviser


async def open_constitutions(settings: Settings, scorer: OnnxTextScorer, only: Path | None = None) -> LiveConstitutions:
    """The constitution of the house and those of an operator's folder, their examples read."""
    file, folder = (DATA / "constitution.toml", settings.policy_dir) if only is None else (only, None)
    live = LiveConstitutions(file, folder, DATA / "contrasts.toml", scorer)
    await live.reload()
    return live


def embedded_judge(policies: LivePolicies, scorer: OnnxTextScorer) -> EmbeddedJudge:
    """The judge that needs no LLM, with the second look of this artefact if there is one."""
    second_look = load_second_look(DATA / SECOND_LOOK, scorer.artifact.digest)
    if second_look is None:
        _log.warning("no second look in doubt: its weights belong to another artefact", extra={"file": SECOND_LOOK})
    return EmbeddedJudge(policies, second_look, partial(plain_reading, scorer))


def open_llm(stack: AsyncExitStack, settings: Settings, metrics: Metrics) -> LlmJudge | None:
    """The judge behind WEIR_JUDGE_URL, or None; it outlives a reload, so that its budget does."""
    if settings.judge_url is None:
        return None
    from service.backends.llm_judge import open_llm_judge  # here, so that who asks no LLM loads no HTTP client

    judge = open_llm_judge(
        settings.judge_url,
        settings.judge_model or "",
        None if settings.judge_key is None else settings.judge_key.get_secret_value(),
        per_minute=settings.judge_per_minute,
        timeout_s=settings.judge_timeout_s,
        on_breaker=lambda is_open: metrics.judge_open.set(int(is_open)),
    )
    stack.push_async_callback(judge.close)
    return judge


def open_judge(llm: LlmJudge | None, embedded: EmbeddedJudge) -> Judge:
    """Whoever is asked in doubt."""
    return embedded if llm is None else JudgeWithFallback(llm, embedded)
