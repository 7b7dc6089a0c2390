"""Anthropic's replies as edited events, with the official client as the judge of what leaves."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import pytest

from service.api.message_whole import from_events, to_events
from service.api.messages_events import MessageEditor
from service.api.reply_steps import Event, MalformedEvent
from tests.api.reply_driver import edit, stream

USAGE = {"input_tokens": 3, "output_tokens": 1, "service_tier": "standard"}


def reply(*blocks: list[Event], reason: str = "end_turn") -> list[Event]:
    """A whole stream around blocks."""
    message = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": USAGE}
    end = {"stop_reason": reason, "stop_sequence": None}
    return [
        {"type": "ping"},
        {"type": "message_start", "message": message},
        *(event for block in blocks for event in block),
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]


def block(index: int, start: Event, *deltas: Event) -> list[Event]:
    """One block's events."""
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[Event]:
    """A block of text."""
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces))


def thinking(index: int, *pieces: str) -> list[Event]:
    """A block of thinking, signed."""
    deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    start = {"type": "thinking", "thinking": "", "signature": ""}
    return block(index, start, *deltas, {"type": "signature_delta", "signature": "sealed"})


def tool(index: int, *pieces: str) -> list[Event]:
    """A call of a tool."""
    start = {"type": "tool_use", "id": "t1", "name": "find", "input": {}}
    return block(index, start, *({"type": "input_json_delta", "partial_json": piece} for piece in pieces))


def client_reads(events: list[Event]) -> anthropic.types.Message:
    """What the official client makes of the events."""
    body = stream(MessageEditor("m"), events)
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=body))
    with (
        httpx2.Client(transport=transport) as wire,
        anthropic.Anthropic(api_key="k", base_url="http://x", http_client=wire, max_retries=0) as client,
        client.messages.stream(max_tokens=9, model="m", messages=[{"role": "user", "content": "x"}]) as reading,
    ):
        return reading.get_final_message()


def test_a_clean_reply_is_what_it_was() -> None:
    events = reply(thinking(0, "Let me", " see."), text(1, "Hello ", "there."), tool(2, '{"a":', " 1}"))
    message = client_reads(edit(MessageEditor("m"), events))
    first, second, third = message.content
    assert (first.type, second.type, third.type) == ("thinking", "text", "tool_use")
    assert (first.thinking, first.signature) == ("Let me see.", "sealed")
    assert (second.text, third.input) == ("Hello there.", {"a": 1})
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 9)


def test_a_stop_is_a_refusal_with_its_details() -> None:
    left = edit(MessageEditor("m"), reply(text(0, "All is well. ", "Then poison."), text(1, "After.")), harm="poison")
    message = client_reads(left)
    assert message.stop_reason == "refusal"
    assert message.stop_details is not None and message.stop_details.explanation == "Held back."
    assert "poison" not in json.dumps(left) and "After" not in json.dumps(left)
    assert left[-2]["x_weir"] == {"action": "block"}


def test_text_may_be_altered_and_thinking_never() -> None:
    masked = client_reads(edit(MessageEditor("m"), reply(text(0, "a poison b")), harm="poison", mask="****"))
    assert masked.content[0].text == "a **** b"  # type: ignore[union-attr]
    stopped = edit(MessageEditor("m"), reply(thinking(0, "a poison b")), harm="poison", mask="****")
    message = client_reads(stopped)
    assert message.stop_reason == "refusal" and "sealed" not in json.dumps(stopped)


def test_a_prompt_that_is_blocked_is_a_whole_refusal() -> None:
    message = client_reads(edit(MessageEditor("m"), [], harm="x") + MessageEditor("m").stop(_ending()))
    assert (message.content, message.stop_reason, message.model) == ([], "refusal", "m")


def _ending() -> Any:
    from tests.api.reply_driver import ENDING

    return ENDING


@pytest.mark.parametrize(
    "hidden",
    [
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s",
            "content": [{"type": "x", "title": "poison", "url": "u"}],
        },
        {"type": "web_fetch_tool_result", "content": {"source": {"type": "text", "data": "poison"}}},
        {"type": "of_tomorrow", "novel": {"deep": [["poison"]]}},
        {"type": "of_tomorrow", "poison": 1},
        {"type": "tool_use", "id": "t", "name": "poison", "input": {}},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"a": "poison"}},
        {"type": "text", "text": "poison"},
        {"type": "text", "text": "", "citations": [{"type": "char_location", "cited_text": "poison"}]},
    ],
)
def test_no_place_hides_text(hidden: Event) -> None:
    left = edit(MessageEditor("m"), reply(text(0, "Fine."), block(1, hidden)), harm="poison")
    assert "poison" not in json.dumps(left)
    assert client_reads(left).stop_reason == "refusal"


def test_citations_wait_for_their_text_and_go_with_it() -> None:
    cited = {"type": "citations_delta", "citation": {"type": "char_location", "cited_text": "well"}}
    events = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "All is well."}, cited)
    kinds = [e["delta"]["type"] for e in edit(MessageEditor("m"), reply(events)) if e["type"] == "content_block_delta"]
    assert kinds[-1] == "citations_delta"
    altered = edit(MessageEditor("m"), reply(events), harm="All", mask="***")
    assert "citations_delta" not in json.dumps(altered)


def test_binaries_do_not_pass_unjudged_and_unknown_deltas_are_dropped() -> None:
    fetched = {"type": "web_fetch_tool_result", "content": {"source": {"type": "base64", "data": "JVBERi0="}}}
    odd = block(1, {"type": "text", "text": ""}, {"type": "novel_delta", "novel": "unseen"})
    left = json.dumps(edit(MessageEditor("m"), reply(block(0, fetched), odd)))
    assert "JVBERi0" not in left and "unseen" not in left
    opaque = {"type": "redacted_thinking", "data": "poison"}
    assert "poison" in json.dumps(edit(MessageEditor("m"), reply(block(0, opaque)), harm="poison"))


@pytest.mark.parametrize(
    "events",
    [
        text(0, "too early"),
        [*reply()[:2], {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}],
        [*reply()[:2], {"type": "content_block_start", "index": True, "content_block": {}}],
        [*reply()[:2], *text(0, "x")[:1], *text(0, "x")[:1]],
        [*reply()[:2], {"type": "content_block_stop", "index": 3}],
        [*reply()[:2], {"type": "message_stop"}],
        [*reply()[:2], *block(0, {"type": "text"}, {"type": "thinking_delta", "thinking": "x"})],
        [*reply()[:2], *block(0, {"type": "text"}, {"type": "text_delta", "text": ["x"]})],
    ],
)
def test_what_is_malformed_is_said(events: list[Event]) -> None:
    with pytest.raises(MalformedEvent):
        edit(MessageEditor("m"), events)


def test_an_error_is_raised_by_the_client() -> None:
    editor = MessageEditor("m")
    left = edit(editor, reply(text(0, "Begun"))[:4])
    with pytest.raises(anthropic.APIStatusError) as caught:
        client_reads([*left, *editor.fail("upstream_cut", "The upstream broke off.")])
    assert caught.value.body["error"]["code"] == "upstream_cut"  # type: ignore[index]


def test_a_whole_message_goes_the_same_way() -> None:
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "sealed"},
        {"type": "text", "text": "Well.", "citations": [{"type": "char_location", "cited_text": "w"}]},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"a": [1]}},
    ]
    whole = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": content, "usage": USAGE}
    whole.update(stop_reason="tool_use", stop_sequence=None)
    assert from_events(edit(MessageEditor("m"), to_events(whole))) == whole
    stopped = from_events(edit(MessageEditor("m"), to_events(whole), harm="Well"))
    assert stopped["stop_reason"] == "refusal" and "Well" not in json.dumps(stopped)
    assert stopped["content"][1]["text"] == ""
    for odd in ({}, {"type": "message", "content": "x"}, {**whole, "content": ["x"]}):
        with pytest.raises(MalformedEvent):
            edit(MessageEditor("m"), to_events(odd))
