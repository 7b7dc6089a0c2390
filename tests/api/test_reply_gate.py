"""Replies through real channels: whatever the chunking, what is held back never leaves and every reply ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest

from service.api.chat_events import ChatEditor
from service.api.messages_events import MessageEditor
from service.api.reply_gate import ReplyGate
from service.api.reply_steps import Event, ReplyEditor
from service.api.responses_events import ResponsesEditor
from service.errors import Overloaded
from service.stream_rules import Mode, StreamRules
from service.streaming import Channel
from service.types import Content, Verdict
from tests.api.test_chat import END, chunk, said
from tests.api.test_messages_events import reply, text, thinking, tool
from tests.api.test_responses_events import message
from tests.api.test_responses_events import reply as response
from tests.fake_runtime import FakeRuntime

HARM = "You will get a threat from me today."
CALM = "The ferry left at nine, and the lake was calm. "


def gate_of(editor: ReplyEditor, mode: Mode = "stop", hold_ms: int = 0) -> ReplyGate:
    """A gate over a judge that knows some words."""
    runtime = FakeRuntime()

    async def judge(asked: str) -> Verdict:
        return await runtime.moderate(Content(asked, role="assistant"))

    return ReplyGate(editor, lambda whole: Channel(judge, StreamRules(mode=mode), whole=whole), hold_ms)


class Source:
    """An upstream's events, which remembers whether it was closed."""

    def __init__(self, events: list[Event], *, stalls: bool = False, error: Exception | None = None) -> None:
        self.events, self.stalls, self.error = events, stalls, error
        self.closed = False

    async def read(self) -> AsyncGenerator[Event, None]:
        try:
            for event in self.events:
                yield event
            if self.error is not None:
                raise self.error
            if self.stalls:
                await asyncio.Event().wait()
        finally:
            self.closed = True


async def leaves(gate: ReplyGate, source: Source) -> list[Event]:
    """All that leaves."""
    return [event async for event in gate.edited(source.read())]


def cut(words: str, size: int) -> list[str]:
    return [words[n : n + size] for n in range(0, len(words), size)]


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_harm_never_leaves_and_what_stood_before_does(size: int) -> None:
    pieces = cut(CALM * 3 + HARM, size)
    both: list[tuple[ReplyEditor, list[Event]]] = [
        (MessageEditor("m"), reply(text(0, *pieces))),
        (ResponsesEditor({}), response(message(*pieces))),
    ]
    for editor, events in both:
        gate, source = gate_of(editor), Source(events)
        out = json.dumps(await leaves(gate, source))
        assert "from me" not in out and "lake" in out
        assert gate.stopped is not None and source.closed and editor.ended


async def test_redaction_masks_text_and_stops_thinking() -> None:
    masked = await leaves(gate_of(MessageEditor("m"), "redact"), Source(reply(text(0, CALM, HARM, " " + CALM))))
    out = json.dumps(masked)
    assert "a threat" not in out and "[removed]" in out and masked[-2]["delta"]["stop_reason"] == "end_turn"
    stopped = await leaves(gate_of(MessageEditor("m"), "redact"), Source(reply(thinking(0, CALM, HARM))))
    assert stopped[-2]["delta"]["stop_reason"] == "refusal" and "from me" not in json.dumps(stopped)


async def test_observing_alters_nothing() -> None:
    gate = gate_of(MessageEditor("m"), "observe")
    out = await leaves(gate, Source(reply(text(0, HARM), tool(1, '{"a": "insult"}'))))
    assert HARM in json.dumps(out) and gate.strictest is not None and gate.strictest.flagged


@pytest.mark.parametrize("editor", [MessageEditor("m"), ResponsesEditor({})])
async def test_a_reply_without_an_end_ends_explicitly(editor: ReplyEditor) -> None:
    events = reply(text(0, CALM)) if isinstance(editor, MessageEditor) else response(message(CALM))
    gate, source = gate_of(editor), Source(events[:4])
    out = await leaves(gate, source)
    assert gate.failed == "upstream_cut" and editor.ended and source.closed
    assert out[-1]["type"] in ("error", "response.failed")


@pytest.mark.parametrize(
    ("last", "code"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "unseen"}}, "upstream_error"),
        ({"error": {"message": "unseen"}}, "upstream_error"),
        ({"type": "content_block_stop", "index": 9}, "upstream_malformed"),
    ],
)
async def test_faults_of_the_upstream_are_told_and_not_quoted(last: Event, code: str) -> None:
    gate = gate_of(MessageEditor("m"))
    out = await leaves(gate, Source([*reply(text(0, CALM))[:4], last]))
    assert gate.failed == code and out[-1]["error"]["code"] == code and "unseen" not in json.dumps(out)


async def test_what_cannot_be_judged_does_not_leave() -> None:
    gate = gate_of(MessageEditor("m"))
    out = await leaves(gate, Source(reply(text(0, CALM, "overload the reader, if you can. ", CALM))))
    assert gate.failed == Overloaded.code and "overload the" not in json.dumps(out)


async def test_silence_releases_up_to_the_last_word_after_a_verdict() -> None:
    gate = gate_of(MessageEditor("m"), hold_ms=1)
    source = Source(reply(text(0, "The ferry left at ni"))[:4], stalls=True)
    said = ""
    reading = gate.edited(source.read())
    async for event in reading:
        said += event.get("delta", {}).get("text", "")
        if said:
            break
    await reading.aclose()  # type: ignore[attr-defined]
    assert said == "The ferry left at " and source.closed


async def test_who_leaves_closes_the_upstream() -> None:
    source = Source(reply(text(0, CALM))[:3], stalls=True)
    task = asyncio.create_task(leaves(gate_of(MessageEditor("m")), source))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed


async def test_a_phrase_split_by_a_tool_call_is_seen_whole() -> None:
    call = {"index": 0, "id": "t1", "function": {"name": "find", "arguments": "{}"}}
    events = [*said("You will get a thr"), chunk({"tool_calls": [call]}), *said("eat from me today."), *END]
    left = await leaves(gate_of(ChatEditor({"model": "m"})), Source(events))
    choices = [choice for event in left for choice in event.get("choices", ())]
    assert "threat" not in "".join(choice["delta"].get("content", "") for choice in choices)
    assert choices[-1]["finish_reason"] == "content_filter"
