"""A channel's promises: the same output for every chunking, and no character without a verdict that covered it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.segments import MOST_CHARS, OVERLAP_CHARS, next_segment
from service.stream_rules import StreamRules
from service.streaming import MASK, Channel
from service.taxonomy import Action
from service.types import Finding, Judgement, Span, Verdict

BAD = "zugzwang"
HIDDEN = "gambit"  # bad where it opens what is judged, in doubt behind anything else
CASES = max(300, settings().max_examples)  # make bench-streams asks for more
WORDS = st.sampled_from(
    [
        "a",
        "word",
        "sentence.",
        "really?!",
        "wait...",
        "no\n",
        "这是。",
        "é",
        "x" * 60,
        BAD,
        "end. ",
        f"{HIDDEN} ends it.",
    ]
)
TEXTS = st.lists(WORDS, max_size=60).map(" ".join) | st.text(max_size=900)


def verdict(text: str, *, action: Action | None = None, degraded: tuple[str, ...] = ()) -> Verdict:
    at = text.find(BAD)
    blocked = Action.BLOCK if at >= 0 or text.startswith(HIDDEN) else Action.ALLOW
    action = blocked if action is None else action
    findings = (Finding("hate", 1.0, "keyword", "r", Span(at, at + len(BAD))),) if at >= 0 else ()
    score = 1.0 if at >= 0 else 0.3 if HIDDEN in text else 0.0
    judgements = (Judgement("hate", score, 0.5, action),)
    return Verdict(action, judgements, findings, "default", "v", "m", "en", degraded)


class Recorder:
    """A judge that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, text: str) -> Verdict:
        self.asked.append(text)
        return verdict(text)


async def run(
    text: str, cuts: Sequence[int], rules: StreamRules, *, relieve: bool = False
) -> tuple[list[str], Channel, Recorder]:
    judge = Recorder()
    channel = Channel(judge, rules)
    shown: list[str] = []
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    for begin, end in pairwise(places):
        async for release in channel.feed(text[begin:end]):
            shown.append(release.text)
        assert channel.stopped or channel.held <= MOST_CHARS + OVERLAP_CHARS
        if relieve and (release := await channel.relieve()) is not None:
            shown.append(release.text)
    async for release in channel.finish():
        shown.append(release.text)
    return shown, channel, judge


@settings(max_examples=CASES)
@given(TEXTS, st.lists(st.integers(0, 2000), max_size=40), st.sampled_from(["stop", "redact"]))
def test_output_does_not_depend_on_chunking(text: str, cuts: list[int], mode: str) -> None:
    rules = StreamRules(mode=mode)  # type: ignore[arg-type]
    whole, _, asked = asyncio.run(run(text, [], rules))
    pieces, _, again = asyncio.run(run(text, cuts, rules))
    letters, _, each = asyncio.run(run(text, list(range(len(text))), rules))
    assert "".join(whole) == "".join(pieces) == "".join(letters)
    assert asked.asked == again.asked == each.asked


@settings(max_examples=CASES)
@given(TEXTS, st.lists(st.integers(0, 2000), max_size=40))
def test_no_character_leaves_without_a_verdict(text: str, cuts: list[int]) -> None:
    shown, channel, judge = asyncio.run(run(text, cuts, StreamRules(), relieve=True))
    released = "".join(shown)
    assert text.startswith(released)
    assert BAD not in released
    covered = 0
    for asked in judge.asked:
        at = text.rfind(asked, 0, covered + len(asked))  # the same words may stand elsewhere too
        assert at >= 0
        if BAD not in asked:
            covered = max(covered, at + len(asked))
    assert len(released) <= covered
    assert (released == text) is (channel.stopped is None)


async def test_a_phrase_across_a_cut_is_seen() -> None:
    text = "x" * (MOST_CHARS - 4) + BAD + "y" * 300
    shown, channel, _ = await run(text, [], StreamRules())
    assert channel.stopped is not None
    assert BAD not in "".join(shown)
    without, unstopped, _ = await run(text, [], StreamRules(overlap_chars=0))
    assert unstopped.stopped is None
    assert BAD in "".join(without)


@pytest.mark.parametrize("mode", ["stop", "redact"])
async def test_a_short_sentence_in_front_does_not_hide_the_one_behind(mode: str) -> None:
    calm = "It was a fine day outside. "
    shown, channel, judge = await run(f"{calm}Note 3. {HIDDEN} ends it. More.", [], StreamRules(mode=mode))  # type: ignore[arg-type]
    assert judge.asked[1:4] == [f" Note 3. {HIDDEN} ends it.", " Note 3. ", f"{HIDDEN} ends it."]
    assert HIDDEN not in "".join(shown)
    assert (channel.stopped is not None) is (mode == "stop")


async def test_redaction_masks_the_span_and_goes_on() -> None:
    text = f"It was a fine day outside. You {BAD} of a man, go. And so it went on."
    shown, channel, _ = await run(text, [], StreamRules(mode="redact"))
    assert "".join(shown) == text.replace(BAD, MASK)
    assert channel.stopped is None
    assert channel.strictest is not None
    assert channel.strictest.action is Action.BLOCK


async def test_what_is_left_of_a_masked_segment_is_judged_too() -> None:
    calm = "It was a fine day outside. "  # the verdict points to the first of them only
    shown, channel, judge = await run(f"{calm}You {BAD}, and {BAD}. And so it went on.", [], StreamRules(mode="redact"))
    assert "".join(shown) == f"{calm.rstrip()}{MASK} And so it went on."
    assert channel.stopped is None
    assert channel.verdicts == len(judge.asked) == 4


async def test_observing_alters_and_holds_nothing() -> None:
    text = f"First there is this sentence. Then {BAD} comes. And more."
    shown, channel, judge = await run(text, [7, 40], StreamRules(mode="observe"))
    assert "".join(shown) == text
    assert channel.held == 0
    assert any(BAD in asked for asked in judge.asked)


@pytest.mark.parametrize(
    ("action", "degraded", "rules", "stops"),
    [
        (Action.REVIEW, (), StreamRules(), False),
        (Action.REVIEW, (), StreamRules(on_review="stop"), True),
        (Action.REVIEW, ("semantic",), StreamRules(), True),
        (Action.REVIEW, ("semantic",), StreamRules(on_degraded="pass"), False),
        (Action.REVIEW, ("semantic",), StreamRules(mode="redact"), True),
        (Action.FLAG, (), StreamRules(on_review="stop"), False),
    ],
)
async def test_what_stops(action: Action, degraded: tuple[str, ...], rules: StreamRules, stops: bool) -> None:
    async def judge(text: str) -> Verdict:
        return verdict(text, action=action, degraded=degraded)

    channel = Channel(judge, rules)
    released = [release.text async for release in channel.feed("A sentence of some length. ")]
    released += [release.text async for release in channel.finish()]
    assert (channel.stopped is not None) is stops
    assert bool(released) is not stops


async def test_what_a_signature_vouches_for_is_stopped_rather_than_masked() -> None:
    channel = Channel(Recorder(), StreamRules(mode="redact"), whole=True)
    assert [release async for release in channel.feed(f"A thought about {BAD} at length. ")] == []
    assert channel.stopped is not None


async def test_a_revision_takes_the_place_of_its_segment_once_it_has_passed() -> None:
    async def revise(text: str, found: Verdict) -> str | None:
        return text.replace(BAD, "friend") if "please" in text else text

    judge = Recorder()
    channel = Channel(judge, StreamRules(mode="revise"), revise=revise)
    shown = [release async for release in channel.feed(f"Hello there {BAD} please sit. ")]
    assert [(release.text, release.kept) for release in shown] == [("Hello there friend please sit.", ())]
    assert judge.asked[-1] == shown[0].text
    assert [release async for release in channel.feed(f"And now {BAD} again comes. ")] == []
    assert channel.stopped is not None


async def test_work_is_linear() -> None:
    text = "".join(f"This is sentence number {n} of a long reply. " for n in range(220))
    _, _, judge = await run(text, list(range(0, len(text), 3)), StreamRules())
    assert sum(map(len, judge.asked)) < 3 * len(text)
    _, _, wide = await run("word " * 2000, [], StreamRules())
    assert sum(map(len, wide.asked)) < 1.5 * 10_000


def test_segments_keep_to_their_sizes() -> None:
    text = "no end in sight " * 100
    start = 0
    while (segment := next_segment(text, start, closed=True)) is not None:
        assert 0 < segment.end - segment.start <= MOST_CHARS
        assert segment.start - segment.judged_from <= OVERLAP_CHARS
        assert segment.start == start
        start = segment.end
    assert start == len(text)
