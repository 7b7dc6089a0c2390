"""Two facts that make a category together: sexual and words that tell of a minor; hateful and violent."""

from __future__ import annotations

import asyncio

import pytest

from service.stages.composition import CompositionStage, has_facts
from service.types import Content, Finding, Span


async def composed(text: str, sexual: float) -> list[Finding]:
    """What the stage makes of a text that a stage before it found to be `sexual`."""
    return await CompositionStage().inspect(
        Content(text),
        [Finding("sexual", sexual, "semantic", "model:fake@0"), Finding("violence", 0.9, "semantic", "m")],
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("He was fifteen years old.", "composition:age"),
        ("a 13-year-old on the bus", "composition:age"),
        ("she is 16, and", "composition:age"),
        ("they were both underage", "composition:minor"),
        ("He saw the ninth graders leave", "composition:child"),
        ("a teenager at the station", "composition:teenager"),
        ("un\u200bderage", "composition:minor"),  # a zero-width space inside
    ],
)
async def test_words_that_tell_of_a_minor(text: str, reason: str) -> None:
    (finding,) = await composed(text, 0.8)
    assert (finding.category, finding.reason, finding.stage) == ("sexual/minors", reason, "composition")
    assert 0.5 < finding.score < 0.8
    assert finding.span is not None and not finding.overrides


@pytest.mark.parametrize(
    "text",
    [
        "We were both 25 years old.",
        "She is 16 minutes late",
        "He turned 1800 pages",
        "two grown women in a bar",
        "miners",
    ],
)
async def test_no_finding_without_such_words(text: str) -> None:
    assert await composed(text, 0.9) == []


def test_the_stage_runs_only_for_a_text_that_has_facts() -> None:
    content = Content("The children were 8 years old.")
    assert not has_facts(content, [Finding("sexual", 0.05, "semantic", "model:fake@0")])
    assert not has_facts(content, [Finding("hate", 0.9, "semantic", "model:fake@0")])
    assert has_facts(content, [Finding("sexual", 0.3, "semantic", "model:fake@0")])


async def test_hate_that_is_violent_threatens_a_group_as_surely_as_the_weaker_of_the_two() -> None:
    place = Span(4, 9)
    facts = [Finding("hate", 0.9, "semantic", "m"), Finding("violence", 0.6, "semantic", "m", place)]
    content = Content("Burn their houses down.")
    assert has_facts(content, facts)
    (finding,) = await CompositionStage().inspect(content, facts)
    assert (finding.category, finding.reason, finding.span) == ("hate/threatening", "composition:violence", place)
    assert 0.5 < finding.score < 0.6 and not finding.overrides


@pytest.mark.parametrize("lacking", ["hate", "violence"])
async def test_one_fact_alone_is_no_threat_to_a_group(lacking: str) -> None:
    scores = {"hate": 0.9, "violence": 0.9, lacking: 0.05}
    facts = [Finding(category, score, "semantic", "m") for category, score in scores.items()]
    assert not has_facts(Content("a text"), facts)
    assert await CompositionStage().inspect(Content("a text"), facts) == []


async def test_talk_of_adults_outweighs_weak_words_only() -> None:
    assert await composed("Adults only, 18+. My teenage years are long gone.", 0.9) == []
    assert (await composed("18+ she said, but she was 14 years old", 0.9))[0].reason == "composition:age"


async def test_the_span_is_of_the_original() -> None:
    text = "Ｔｈｅ ｇｉｒｌ was 12 years old."
    (finding,) = await composed(text, 0.9)
    assert finding.span is not None and text[finding.span.start : finding.span.end] == "12 years old"


async def test_others_are_served_while_a_long_text_is_read() -> None:
    turns = 0

    async def serve() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(serve())
    (finding,) = await composed("some of the words " * 1_500 + "under 18", 0.8)
    others.cancel()
    assert finding.reason == "composition:minor" and turns > 0
