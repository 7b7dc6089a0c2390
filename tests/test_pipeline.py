"""The path of one content: order, gates, budgets, degradation, and what is said about it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import pytest

from service.errors import BadInput, DeadlineExceeded, Overloaded, ScorerFailed, UnknownPolicy
from service.metrics import Metrics
from service.pipeline import (
    REVISION_LIMIT,
    Gate,
    Pipeline,
    Step,
    always,
    asks_constitution,
    has_context,
    has_images,
    has_text,
    revise,
)
from service.policy import LivePolicies, Policy, PolicyBook, Thresholds
from service.taxonomy import CATEGORIES, Action
from service.types import Content, Finding, Judgement, Span, Turn

CANARY = "canary-7f3a91"
Look = Callable[[Content, Sequence[Finding]], Awaitable[list[Finding]]]


class FakeStage:
    """Does what it is told, and remembers what it was shown."""

    def __init__(self, name: str, *findings: Finding, look: Look | None = None) -> None:
        self.name = name
        self.shown: list[tuple[Finding, ...]] = []
        self._findings, self._look = list(findings), look

    async def inspect(self, content: Content, so_far: Sequence[Finding]) -> list[Finding]:
        self.shown.append(tuple(so_far))
        return await self._look(content, so_far) if self._look else self._findings


def failing(error: BaseException, name: str = "semantic") -> FakeStage:
    """A stage that raises."""

    async def look(content: Content, so_far: Sequence[Finding]) -> list[Finding]:
        raise error

    return FakeStage(name, look=look)


def found(score: float, category: str = "violence", span: Span | None = None, stage: str = "keyword") -> Finding:
    return Finding(category, score, stage, "rule", span)


def step(stage: FakeStage, gate: Gate = always, budget_s: float = 5.0, *, fail_open: bool = False) -> Step:
    return Step(stage, budget_s, gate, fail_open)


def pipeline(
    *steps: Step,
    on_degraded: Action = Action.REVIEW,
    on_language: Action = Action.ALLOW,
    language: tuple[str, bool] = ("en", True),
    metrics: Metrics | None = None,
) -> Pipeline:
    lines = dict.fromkeys(CATEGORIES, Thresholds(0.3, 0.6, 0.9, max_lowering=0.3))
    policy = Policy("default", "default-1", "balanced", lines, on_degraded, on_language)
    policies = LivePolicies(PolicyBook({"default": policy}))
    return Pipeline(steps, policies, lambda text: language, "fake@0", metrics or Metrics())


async def test_stages_run_in_order_and_see_what_was_found_before() -> None:
    first, second = found(0.4), found(0.7, "hate", stage="semantic")
    stages = [FakeStage("keyword", first), FakeStage("semantic", second), FakeStage("context")]
    verdict = await pipeline(*map(step, stages)).moderate(Content("text"))
    assert [stage.shown for stage in stages] == [[()], [(first,)], [(first, second)]]
    assert verdict.findings == (first, second)
    assert (verdict.action, verdict.policy, verdict.policy_version) == (Action.REVIEW, "default", "default-1")
    assert (verdict.model, verdict.language, verdict.degraded) == ("fake@0", "en", ())
    assert verdict.top is not None and verdict.top.category == "hate"
    assert list(verdict.timings_ms) == ["keyword", "semantic", "context", "total"]


async def test_a_gate_decides_whether_a_stage_runs() -> None:
    context = FakeStage("context", found(1.0))
    made = pipeline(step(context, has_context))
    for turns in ((), (Turn(" \n"),)):
        verdict = await made.moderate(Content("text", context=turns))
        assert verdict.action == Action.ALLOW and "context" not in verdict.timings_ms
    assert (await made.moderate(Content("text", context=(Turn("before"),)))).action == Action.BLOCK
    assert len(context.shown) == 1


async def test_texts_stages_pass_over_an_image_without_text_and_no_other() -> None:
    text, image = FakeStage("semantic", found(1.0)), FakeStage("image", found(0.7))
    made = pipeline(step(text, has_text), step(image, has_images))
    assert (await made.moderate(Content("", images=(b"x",)))).action == Action.REVIEW and not text.shown
    assert (await made.moderate(Content(""))).action == Action.BLOCK and len(image.shown) == 1
    alone = Content("", (Turn("before"),), images=(b"x",), constitution="always")
    assert not has_context(alone, ()) and not asks_constitution(alone, ())


@pytest.mark.parametrize("fail_open", [False, True])
async def test_what_could_not_be_looked_at_is_named_and_raises(*, fail_open: bool) -> None:
    note = Finding("", 0.0, "image", "image:unread", image=0, missing="image:unread")
    verdict = await pipeline(step(FakeStage("image", note, note), fail_open=fail_open)).moderate(Content("text"))
    assert verdict.degraded == ("image:unread",) and not verdict.whole
    assert verdict.action == (Action.ALLOW if fail_open else Action.REVIEW)


async def test_a_note_raises_nothing_by_itself_and_is_no_missing_stage() -> None:
    note = Finding("", 0.0, "image", "visual:not_scanned", missing="visual:not_scanned")
    language = Finding("", 0.0, "image", "language:fr", missing="language:fr")
    verdict = await pipeline(step(FakeStage("image", note, language)), on_language=Action.FLAG).moderate(Content("a"))
    assert verdict.degraded == ("visual:not_scanned", "language:fr") and verdict.whole
    assert verdict.action == Action.FLAG


async def test_an_image_that_is_none_is_the_caller_s_error() -> None:
    async def refuse(content: Content, so_far: Sequence[Finding]) -> list[Finding]:
        raise BadInput("no image")

    with pytest.raises(BadInput):
        await pipeline(step(FakeStage("image", look=refuse))).moderate(Content("text"))


async def test_an_adjudicator_may_lower() -> None:
    lower = Finding("violence", 0.1, "context", "model", overrides=True)
    made = pipeline(step(FakeStage("semantic", found(0.7))), step(FakeStage("context", lower)))
    assert (await made.moderate(Content("text"))).action == Action.FLAG


async def test_a_stage_over_its_budget_is_stopped_and_named() -> None:
    stopped = asyncio.Event()

    async def never(content: Content, so_far: Sequence[Finding]) -> list[Finding]:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return []

    late, after = FakeStage("semantic", look=never), FakeStage("context", found(0.4))
    async with asyncio.timeout(10):
        verdict = await pipeline(step(late, budget_s=0.01), step(after)).moderate(Content("text"))
    assert stopped.is_set() and len(after.shown) == 1
    assert (verdict.action, verdict.degraded) == (Action.REVIEW, ("semantic",))


@pytest.mark.parametrize(
    "error", [ValueError(CANARY), ScorerFailed(), DeadlineExceeded(), TimeoutError(), KeyError(CANARY), MemoryError()]
)
@pytest.mark.parametrize("on_degraded", Action)
async def test_a_stage_that_fails_only_raises(error: Exception, on_degraded: Action) -> None:
    made = pipeline(step(FakeStage("keyword", found(0.4))), step(failing(error)), on_degraded=on_degraded)
    verdict = await made.moderate(Content("text"))
    assert verdict.degraded == ("semantic",)
    assert verdict.action == max(Action.FLAG, on_degraded)
    assert verdict.findings == (found(0.4),)


async def test_a_failure_that_may_pass_is_named_all_the_same() -> None:
    steps = [step(failing(ScorerFailed()), fail_open=True), step(FakeStage("keyword", found(0.4)))]
    verdict = await pipeline(*steps).moderate(Content("text"))
    assert (verdict.action, verdict.degraded) == (Action.FLAG, ("semantic",))
    both = await pipeline(*steps, step(failing(ScorerFailed(), "context"))).moderate(Content("text"))
    assert (both.action, both.degraded) == (Action.REVIEW, ("semantic", "context"))


@pytest.mark.parametrize("fail_open", [False, True])
async def test_no_room_is_said_to_the_caller(fail_open: bool) -> None:
    metrics = Metrics()
    made = pipeline(step(failing(Overloaded()), fail_open=fail_open), metrics=metrics)
    with pytest.raises(Overloaded):
        await made.moderate(Content("text"))
    counts = [line for line in metrics.render().decode().splitlines() if line.startswith("weir_verdicts_total{")]
    assert all(line.endswith(" 0.0") for line in counts)


async def test_an_unknown_policy_costs_nothing() -> None:
    stage = FakeStage("keyword")
    with pytest.raises(UnknownPolicy):
        await pipeline(step(stage)).moderate(Content("text", policy="other"))
    assert not stage.shown


async def test_whoever_leaves_stops_the_work() -> None:
    made = pipeline(step(failing(asyncio.CancelledError())), step(after := FakeStage("context")))
    with pytest.raises(asyncio.CancelledError):
        await made.moderate(Content("text"))
    assert not after.shown


@pytest.mark.parametrize("on_language", Action)
async def test_an_unmeasured_language_is_noted_and_raises_by_policy(on_language: Action) -> None:
    made = pipeline(on_language=on_language, on_degraded=Action.BLOCK, language=("fr", False))
    verdict = await made.moderate(Content("texte"))
    assert (verdict.language, verdict.degraded, verdict.action) == ("fr", ("language:fr",), on_language)
    measured = await pipeline(on_language=on_language).moderate(Content("text"))
    assert (measured.degraded, measured.action) == ((), Action.ALLOW)


async def test_metrics_count_verdicts_flags_and_failures() -> None:
    metrics = Metrics()
    steps = [step(FakeStage("keyword", found(0.95))), step(failing(ScorerFailed()))]
    await pipeline(*steps, metrics=metrics, language=("fr", False)).moderate(Content("text"))
    value = metrics.registry.get_sample_value
    assert value("weir_verdicts_total", {"action": "block"}) == 1
    assert value("weir_flags_total", {"category": "violence"}) == 1
    assert value("weir_degraded_total", {"stage": "semantic"}) == 1
    assert value("weir_degraded_total", {"stage": "language"}) == 1
    assert value("weir_stage_seconds_count", {"stage": "semantic"}) == 1


async def test_no_text_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    steps = [step(failing(ValueError(CANARY), "keyword")), step(failing(ScorerFailed(CANARY)))]
    steps.append(step(FakeStage("context", found(1.0, span=Span(0, 5)))))
    content = Content(CANARY, context=(Turn(CANARY),))
    verdict = await pipeline(*steps, language=("fr", False)).moderate(content)
    assert [record.stage for record in caplog.records] == ["keyword", "semantic"]  # type: ignore[attr-defined]
    assert CANARY not in caplog.text and not any(record.exc_info for record in caplog.records)
    assert all(CANARY not in str(vars(record)) for record in caplog.records)
    assert CANARY not in repr(content) and CANARY not in repr(verdict)


async def test_a_blocked_text_comes_with_a_revision() -> None:
    text = "Hi. I kill you."
    steps = [step(FakeStage("keyword", found(0.95, span=Span(4, 15))))]
    assert (await pipeline(*steps).moderate(Content(text))).suggested_revision == "Hi. [removed: violence]"
    milder = await pipeline(step(FakeStage("keyword", found(0.8, span=Span(4, 15))))).moderate(Content(text))
    assert milder.suggested_revision is None


def judged(**scores: float) -> list[Judgement]:
    """Judgements with a flag line of 0.5."""
    return [
        Judgement(name, score, 0.5, Action.BLOCK if score >= 0.5 else Action.ALLOW) for name, score in scores.items()
    ]


@pytest.mark.parametrize(
    ("spans", "revised"),
    [
        ([(2, 4, "hate")], "01[removed: hate]456789"),
        ([(6, 8, "violence"), (2, 4, "hate")], "01[removed: hate]45[removed: violence]89"),
        ([(2, 5, "hate"), (4, 8, "violence")], "01[removed: hate]89"),  # overlapping: one hole, the first's name
        ([(2, 8, "hate"), (3, 4, "violence"), (5, 9, "violence")], "01[removed: hate]9"),
        ([(2, 4, "hate"), (2, 6, "violence")], "01[removed: violence]6789"),
        ([(2, 4, "hate"), (4, 6, "hate")], "01[removed: hate][removed: hate]6789"),
        ([(0, 10, "hate"), (0, 10, "hate")], "[removed: hate]"),
        ([(2, 4, "privacy")], None),  # not flagged
        ([], None),
    ],
)
def test_spans_are_cut_out(spans: list[tuple[int, int, str]], revised: str | None) -> None:
    findings = [found(0.7, category, Span(start, end)) for start, end, category in spans]
    assert revise("0123456789", findings, judged(hate=0.7, violence=0.7, privacy=0.2)) == revised


def test_weak_findings_and_those_without_a_place_are_left() -> None:
    findings = [found(0.4, "hate", Span(0, 2)), found(0.9, "hate")]
    assert revise("0123456789", findings, judged(hate=0.9)) is None
    assert revise("x" * (REVISION_LIMIT + 1), [found(0.9, "hate", Span(0, 2))], judged(hate=0.9)) is None
