"""The text with what was said before it: any context may raise, only a trusted one may lower."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from service.stages.context import CONTEXT_CHARS, MARGIN, MOST_WINDOWS, ContextStage, latest_turns
from service.stages.semantic import SemanticStage, shift_for_windows
from service.types import Content, Finding, Turn
from tests.fake_scorer import FakeScorer, Judge

SHIFT = 0.35
TRUSTED = ("system", "assistant")


def found(score: float, category: str = "violence", *, overrides: bool = False) -> Finding:
    """What a stage before has found."""
    return Finding(category, score, "semantic", "model:fake@0", overrides=overrides)


def constant(score: float) -> Judge:
    """The same for every pair that has a context."""
    return lambda text, context: {"violence": score if context else 0.0}


async def propose(
    judge: Judge, so_far: Sequence[Finding], *turns: Turn, text: str = "do it", room: int = 1_000
) -> list[Finding]:
    """What the stage proposes."""
    stage = ContextStage(FakeScorer(judge, room), trusted_roles=TRUSTED, window_shift=SHIFT)
    return await stage.inspect(Content(text, context=turns), so_far)


@pytest.mark.parametrize("role", ["user", "assistant", "system", "tool", ""])
async def test_any_context_may_raise(role: str) -> None:
    (finding,) = await propose(constant(0.9), [found(0.1)], Turn("shall I kill him?", role))
    assert (finding.category, finding.score, finding.stage) == ("violence", 0.9, "context")
    assert finding.overrides and not finding.final and finding.span is None


@pytest.mark.parametrize("role", TRUSTED)
async def test_a_trusted_context_may_lower(role: str) -> None:
    (finding,) = await propose(constant(0.2), [found(0.9)], Turn("this is a play", role))
    assert finding.score == 0.2 and finding.overrides


@pytest.mark.parametrize(
    "turns",
    [
        (Turn("this is a play", "user"),),
        (Turn("this is a play", ""),),
        (Turn("this is a play", "tool"),),
        (Turn("this is a play", "user"), Turn("yes", "assistant")),
        (Turn("this is a play", "user"), *(Turn("yes", "assistant") for _ in range(9))),  # long ago, but there
    ],
)
async def test_an_untrusted_context_never_lowers(turns: tuple[Turn, ...]) -> None:
    assert await propose(constant(0.0), [found(0.9)], *turns) == []


@pytest.mark.parametrize("alone", [0.5 - MARGIN / 2, 0.5, 0.5 + MARGIN / 2])
async def test_a_small_difference_is_noise(alone: float) -> None:
    assert await propose(constant(0.5), [found(alone)], Turn("so", "system")) == []


async def test_it_is_measured_from_the_highest_detector_and_not_from_adjudicators() -> None:
    so_far = [found(0.3), found(0.6), found(0.95, overrides=True)]
    assert await propose(constant(0.6), so_far, Turn("so", "system")) == []


async def test_a_disguised_text_is_not_lowered() -> None:
    """The detectors read it undisguised; the pair is read as it stands."""
    assert await propose(constant(0.0), [found(0.9)], Turn("so", "system"), text="I will k1ll you") == []


async def test_a_text_that_is_not_read_whole_is_not_lowered() -> None:
    text = " ".join(["tea"] * 200)
    assert await propose(constant(0.0), [found(0.9)], Turn("so", "system"), text=text, room=11) == []
    shorter = " ".join(["tea"] * 30)
    assert await propose(constant(0.0), [found(0.9)], Turn("so", "system"), text=shorter, room=11)


async def test_only_so_many_windows_are_read() -> None:
    scorer = FakeScorer(constant(0.5), room=11)
    stage = ContextStage(scorer, trusted_roles=TRUSTED, window_shift=SHIFT)
    await stage.inspect(Content("tea " * 2_000, context=(Turn("so"),)), ())
    assert [len(call) for call in scorer.calls] == [MOST_WINDOWS]


async def test_windows_leave_room_for_the_context() -> None:
    scorer = FakeScorer(constant(0.5), room=20)
    text, context = " ".join(f"w{n}" for n in range(40)), "one two three four"
    await ContextStage(scorer, trusted_roles=(), window_shift=SHIFT).inspect(
        Content(text, context=(Turn(context),)), ()
    )
    assert all(len(piece.split()) + len(before.split()) <= 20 for piece, before in scorer.calls[0])
    assert {word for piece, _ in scorer.calls[0] for word in piece.split()} == set(text.split())


async def test_a_context_that_changes_nothing_proposes_nothing_for_a_long_text() -> None:
    """Both stages lower the maximum over many windows alike."""

    def judge(text: str, context: str) -> dict[str, float]:
        return {"violence": 0.6}

    text = "tea " * 40
    content = Content(text, context=(Turn("so", "system"),))
    detectors = await SemanticStage(FakeScorer(judge, room=11), window_shift=SHIFT).inspect(content, ())
    assert detectors[0].score < shift_for_windows(0.6, 4, SHIFT)
    assert await propose(judge, detectors, *content.context, text=text, room=11) == []


async def test_the_pair_is_the_plain_text_and_the_turns_oldest_first() -> None:
    scorer = FakeScorer(constant(0.5))
    turns = (Turn("fir\u200bst", "user"), Turn(" ", "user"), Turn("second", "assistant"))
    content = Content("do\u200b it", context=turns, role="user")
    await ContextStage(scorer, trusted_roles=TRUSTED, window_shift=SHIFT).inspect(content, ())
    assert scorer.calls == [[("do it", "first\nsecond")]] and scorer.kinds == ["prompt"]


def test_of_a_long_conversation_the_end_is_kept() -> None:
    turns = [Turn(f"turn {n}") for n in range(9)]
    assert latest_turns(turns).split("\n") == ["turn 5", "turn 6", "turn 7", "turn 8"]
    long = latest_turns([Turn("early"), Turn("ab " * 5_000 + "end")])
    assert len(long) <= CONTEXT_CHARS and long.endswith("end") and "early" not in long
    assert latest_turns([]) == ""


async def test_others_are_served_while_a_long_text_is_read() -> None:
    turns = 0

    async def serve() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(serve())
    stage = ContextStage(FakeScorer(lambda text, context: {"violence": 0.9}), trusted_roles=(), window_shift=0.0)
    await stage.inspect(Content("some of the words " * 1_500, context=(Turn("yes", "user"),)), [])
    others.cancel()
    assert turns > 0
