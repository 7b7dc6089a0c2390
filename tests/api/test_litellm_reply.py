"""A reply as it grows, call by call, as LiteLLM's proxy shows it: what leaves, what stays, what is computed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api.litellm_reply import JudgedText, ReplyJudge
from service.api.segment_memo import SegmentMemo
from service.segments import MOST_CHARS, OVERLAP_CHARS
from service.stream_rules import Mode, StreamRules
from service.streaming import MASK
from service.types import Content
from tests.fake_runtime import FakeRuntime

BAD = "bomb"
WORDS = st.sampled_from(["a", "word", "sentence.", "really?!", "no\n", "这是。", "é", "x" * 60, BAD, "end. ", MASK])
TEXTS = st.lists(WORDS, max_size=60).map(" ".join)
CUTS = st.lists(st.integers(0, 2000), max_size=30)
LONG = "".join(f"This is sentence number {n}, and it says nothing that matters. " for n in range(60))


@dataclass
class Bench:
    """A judge over a counting runtime."""

    rules: StreamRules = field(default_factory=StreamRules)
    memo: SegmentMemo = field(default_factory=SegmentMemo)
    runtime: FakeRuntime = field(default_factory=FakeRuntime)

    def judge(self) -> ReplyJudge:
        policy = replace(self.runtime.policies.get("default"), stream=self.rules)
        return ReplyJudge(self.runtime.judge, self.runtime.moderate, self.memo, policy)

    async def judged(self, text: str) -> JudgedText:
        return await self.judge().judged(text)

    @property
    def asked(self) -> int:
        """Characters that were judged."""
        return sum(len(content.text) for content in self.runtime.seen)

    @property
    def counted(self) -> float:
        """Verdicts that were counted."""
        samples = self.runtime.metrics.verdicts.collect()[0].samples
        return sum(sample.value for sample in samples if sample.name.endswith("_total"))


async def show(bench: Bench, text: str, lengths: Iterable[int]) -> tuple[str, JudgedText]:
    """What the proxy's `incremental_diff` has shown at the end, and the last answer."""
    shown, last = "", JudgedText("", 0, None, None)
    for length in (*lengths, len(text)):
        last = await bench.judged(text[:length])
        if last.stopped is not None:
            return shown, last
        assert last.text.startswith(shown)  # else the proxy ends the stream
        shown = last.text[: max(len(shown), len(last.text) - last.held)]
    return last.text, last


def places(text: str, cuts: Sequence[int]) -> list[int]:
    return sorted(cut % (len(text) + 1) for cut in cuts)


@settings(max_examples=80)
@given(TEXTS, CUTS)
def test_nothing_of_a_harmful_segment_is_shown_however_the_text_grows(text: str, cuts: list[int]) -> None:
    shown, last = asyncio.run(show(Bench(), text, places(text, cuts)))
    assert text.startswith(shown)
    assert BAD not in shown
    assert (shown == text) is (last.stopped is None)


@settings(max_examples=80)
@given(TEXTS, CUTS)
def test_a_rewritten_text_extends_what_was_shown_and_is_not_rewritten_again(text: str, cuts: list[int]) -> None:
    rules = StreamRules(mode="redact")
    shown, last = asyncio.run(show(Bench(rules), text, places(text, cuts)))
    assert last.stopped is None
    assert shown == asyncio.run(Bench(rules).judged(text)).text  # a function of the text, memo or none
    assert BAD not in shown
    assert asyncio.run(Bench(rules).judged(shown)).text == shown


async def test_what_is_whole_is_judged_once() -> None:
    growing, whole = Bench(), Bench()
    steps = range(0, len(LONG), 40)
    await show(growing, LONG, steps)
    await whole.judged(LONG)
    ends = sum(min(MOST_CHARS + OVERLAP_CHARS, length) for length in steps)  # of what is not whole yet, once a call
    assert len(LONG) <= whole.asked < growing.asked <= whole.asked + ends
    before = growing.asked
    await growing.judged(LONG)
    assert growing.asked == before


async def test_the_work_of_a_growing_text_is_linear() -> None:
    half, full = Bench(), Bench()
    await show(half, LONG[: len(LONG) // 2], range(0, len(LONG) // 2, 40))
    await show(full, LONG, range(0, len(LONG), 40))
    assert full.asked < 2.1 * half.asked


async def test_without_the_memo_it_would_not_be() -> None:
    known, forgotten = Bench(), Bench(memo=SegmentMemo(most=1))
    text = LONG[:2000]
    for bench in (known, forgotten):
        await show(bench, text, range(0, len(text), 40))
    assert forgotten.asked > 5 * known.asked


@pytest.mark.parametrize("mode", ["stop", "redact"])
async def test_one_harmful_sentence_is_counted_once(mode: Mode) -> None:
    bench = Bench(StreamRules(mode=mode))
    text = "The ferry left at nine. It carried a bomb of some weight, and nobody knew. They went home for tea then."
    await show(bench, text, range(0, len(text), 5))
    assert bench.counted == 1


async def test_an_outcome_belongs_to_its_policy_and_its_context() -> None:
    memo, runtime = SegmentMemo(), FakeRuntime()
    content = Content("The ferry left.", role="assistant")
    others = (replace(content, role="user"), replace(content, explain=False), replace(content, text="The ferry"))
    for asked in (content, *others, content):
        await memo.recall(asked, "default-1", runtime.judge)
    assert len(runtime.seen) == 4
    await memo.recall(content, "default-2", runtime.judge)
    await memo.recall(content, "default-2", runtime.judge)
    assert len(runtime.seen) == 6  # its verdict was of another version than was asked for, so it is not kept


@pytest.mark.parametrize("text", ["half of it", "half a bomb"])
async def test_an_outcome_for_want_of_a_stage_is_not_kept(text: str) -> None:
    memo, runtime = SegmentMemo(), FakeRuntime()
    for _ in range(2):
        await memo.recall(Content(text), "default-1", runtime.judge)
    assert len(runtime.seen) == 2 and len(memo) == 0


async def test_the_memo_is_bounded_and_holds_no_text() -> None:
    memo, runtime = SegmentMemo(most=3), FakeRuntime()
    for n in range(10):
        verdict = await memo.recall(Content(f"secret{n}, revise this bomb"), "default-1", runtime.judge)
        assert verdict.suggested_revision
    assert len(memo) == 3
    kept = await memo.recall(Content("secret9, revise this bomb"), "default-1", runtime.judge)
    assert len(runtime.seen) == 10
    assert (kept.suggested_revision, kept.receipt) == (None, "")
    assert kept.action == verdict.action and kept.top is not None and kept.findings
    assert "secret9" not in repr(vars(memo)) and all(len(key) == 16 for key in memo._outcomes)
