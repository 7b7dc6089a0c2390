"""OpenAI's responses as edited events, with the official client as the judge of what leaves."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest

from service.api.reply_steps import Event, MalformedEvent
from service.api.response_whole import from_events, to_events
from service.api.responses_events import ResponsesEditor
from tests.api.reply_driver import ENDING, edit, stream

REQUEST: Event = {"model": "m", "input": "x", "instructions": "Be brief."}
USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 5,
}


_LATE = ("arguments", "input", "code", "output", "outputs", "content", "summary")  # what an item has only at its end


def response(status: str, output: list[Event]) -> Event:
    """A response as the upstream sends it."""
    return {
        "id": "r1",
        "object": "response",
        "created_at": 7,
        "model": "m-1",
        "status": status,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": USAGE if status != "in_progress" else None,
        "novel": "unseen",
    }


def reply(*items: tuple[Event, list[Event]], last: str = "completed") -> list[Event]:
    """A whole stream around items, each with its inner events."""
    events: list[Event] = [{"type": "response.created", "response": response("in_progress", [])}]
    events.append({"type": "response.in_progress", "response": response("in_progress", [])})
    for index, (item, inner) in enumerate(items):
        first = {key: value for key, value in item.items() if key not in _LATE} if inner else item
        events.append({"type": "response.output_item.added", "output_index": index, "item": first})
        events.extend({**event, "output_index": index, "item_id": item["id"]} for event in inner)
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    return [*events, {"type": f"response.{last}", "response": response(last, [item for item, _ in items])}]


def message(*pieces: str, **more: Any) -> tuple[Event, list[Event]]:
    """A message of one part of text."""
    text = "".join(pieces)
    part = {"type": "output_text", "text": text, "annotations": more.get("annotations", [])}
    logs = [{"token": "t", "logprob": -1, "bytes": [], "top_logprobs": [{"token": "other", "logprob": -2}]}]
    deltas = [{"type": "response.output_text.delta", "content_index": 0, "delta": p, "logprobs": logs} for p in pieces]
    inner: list[Event] = [
        {"type": "response.content_part.added", "content_index": 0, "part": {**part, "text": ""}},
        *deltas,
        {"type": "response.output_text.done", "content_index": 0, "text": text, "logprobs": []},
        {"type": "response.content_part.done", "content_index": 0, "part": part},
    ]
    return {"id": "i1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}, inner


def call(kind: str, field: str, delta: str, *pieces: str, **more: Any) -> tuple[Event, list[Event]]:
    """A call with something that it says."""
    inner: list[Event] = [{"type": f"response.{delta}.delta", "delta": piece} for piece in pieces]
    inner.append({"type": f"response.{delta}.done", field: "".join(pieces)})
    return {"id": "c1", "type": kind, field: "".join(pieces), "status": "completed", **more}, inner


def reasoning(*pieces: str) -> tuple[Event, list[Event]]:
    """Reasoning with a summary."""
    text = "".join(pieces)
    deltas = [{"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": p} for p in pieces]
    part = {"type": "summary_text", "text": text}
    inner: list[Event] = [
        {"type": "response.reasoning_summary_part.added", "summary_index": 0, "part": {**part, "text": ""}},
        *deltas,
        {"type": "response.reasoning_summary_text.done", "summary_index": 0, "text": text},
        {"type": "response.reasoning_summary_part.done", "summary_index": 0, "part": part},
    ]
    return {"id": "g1", "type": "reasoning", "summary": [part], "encrypted_content": "opaque"}, inner


def editor() -> ResponsesEditor:
    """An editor of a reply to REQUEST."""
    return ResponsesEditor(REQUEST)


def client_reads(events: list[Event]) -> list[Any]:
    """The events as the official client's helper yields them."""
    body = stream(editor(), events)
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=body))
    with (
        httpx2.Client(transport=transport) as wire,
        openai.OpenAI(api_key="k", base_url="http://x", http_client=wire, max_retries=0) as client,
        client.responses.stream(model="m", input="x") as reading,
    ):
        return list(reading)


def test_a_clean_reply_is_what_it_was() -> None:
    find = call("function_call", "arguments", "function_call_arguments", '{"a":', "1}", name="find", call_id="x")
    got = client_reads(edit(editor(), reply(reasoning("Let me", " see."), message("Hello ", "there."), find)))
    final = got[-1].response
    assert [event.sequence_number for event in got if hasattr(event, "sequence_number")][-1] == len(got) - 1
    assert final.output_text == "Hello there."
    assert (final.output[0].summary[0].text, final.output[0].encrypted_content) == ("Let me see.", "opaque")
    assert (final.output[2].arguments, final.output[2].name) == ('{"a":1}', "find")
    assert (final.id, final.model, final.usage.total_tokens, final.instructions) == ("r1", "m-1", 5, "Be brief.")
    assert "unseen" not in final.to_json()


def test_a_stop_closes_what_is_open_and_tells_only_what_was_released() -> None:
    left = edit(editor(), reply(message("All is well. ", "Then poison."), message("After.")), harm="poison")
    got = client_reads(left)
    last = got[-1].response
    assert (got[-1].type, last.status, last.incomplete_details.reason) == (
        "response.incomplete",
        "incomplete",
        "content_filter",
    )
    assert last.output[0].status == "incomplete" and last.output_text == "All i"
    assert "poison" not in json.dumps(left) and "After" not in json.dumps(left)
    kinds = [event["type"].removeprefix("response.") for event in left]
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "incomplete"]


def test_altered_text_is_altered_everywhere() -> None:
    noted = {"type": "url_citation", "url": "https://example.org", "title": "t", "start_index": 0, "end_index": 1}
    left = edit(editor(), reply(message("a poison b", annotations=[noted])), harm="poison", mask="******")
    assert "poison" not in json.dumps(left)
    assert client_reads(left)[-1].response.output_text == "a ****** b"
    assert "example.org" not in json.dumps(left)
    clean = edit(editor(), reply(message("a b", annotations=[noted])))
    assert "example.org" in json.dumps(clean) and '"other"' not in json.dumps(clean)


@pytest.mark.parametrize(
    "hidden",
    [
        call("function_call", "arguments", "function_call_arguments", "poi", "son", name="n", call_id="x"),
        call("function_call", "arguments", "function_call_arguments", "x", name="poison", call_id="x"),
        call("custom_tool_call", "input", "custom_tool_call_input", "poi", "son", name="n", call_id="x"),
        call("mcp_call", "arguments", "mcp_call_arguments", "x", name="n", server_label="s", output="poison"),
        call("code_interpreter_call", "code", "code_interpreter_call_code", "poi", "son", container_id="x"),
        call("code_interpreter_call", "code", "code_interpreter_call_code", "x", outputs=[{"logs": "poison"}]),
        reasoning("poi", "son"),
        ({"id": "w", "type": "web_search_call", "action": {"query": "poison"}}, []),
        ({"id": "f", "type": "file_search_call", "results": [{"text": "poison"}]}, []),
        ({"id": "g", "type": "image_generation_call", "result": None, "revised_prompt": "poison"}, []),
        ({"id": "n", "type": "of_tomorrow", "deep": [{"poison": 1}]}, []),
        ({"id": "i", "type": "message", "content": [{"type": "refusal", "refusal": "poison"}]}, []),
        ({"id": "i", "type": "message", "content": [{"type": "output_text", "text": "poison"}]}, []),
        (
            {"id": "g", "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "poison"}]},
            [],
        ),
    ],
)
def test_no_place_hides_text(hidden: tuple[Event, list[Event]]) -> None:
    left = edit(editor(), reply(message("Fine."), hidden), harm="poison")
    assert "poison" not in json.dumps(left)
    assert left[-1]["type"] == "response.incomplete"
    assert left[-1]["response"]["output"][0]["content"][0]["text"] == "Fine."


def test_images_and_unknown_events_and_parts_are_dropped() -> None:
    image = {"id": "g", "type": "image_generation_call", "result": "aW1hZ2U=", "status": "completed"}
    partial = {"type": "response.image_generation_call.partial_image", "partial_image_b64": "aW1hZ2U="}
    odd = {"type": "response.of_tomorrow", "text": "aW1hZ2U="}
    part = {"id": "i", "type": "message", "content": [{"type": "of_tomorrow", "text": "aW1hZ2U="}]}
    left = edit(editor(), reply((image, [partial, odd]), (part, [])))
    assert "aW1hZ2U" not in json.dumps(left) and left[-1]["type"] == "response.completed"


def test_failures_are_explicit_and_quote_nothing() -> None:
    failed = reply(message("Hi."), last="failed")
    failed[-1]["response"]["error"] = {"code": "server_error", "message": "unseen"}
    left = edit(editor(), failed)
    assert left[-1]["response"]["error"]["code"] == "server_error" and "unseen" not in json.dumps(left)
    cut = editor()
    begun = edit(cut, reply(message("Hello there, and more."))[:5])
    got = client_reads([*begun, *cut.fail("upstream_cut", "The upstream broke off.")])
    assert (got[-1].type, got[-1].response.error.code) == ("response.failed", "upstream_cut")
    assert got[-1].response.output_text == "Hello there, a"


def test_a_prompt_that_is_blocked_is_a_whole_response() -> None:
    got = client_reads(editor().stop(ENDING))
    assert [event.type for event in got] == ["response.created", "response.incomplete"]
    assert got[-1].response.model == "m"


@pytest.mark.parametrize(
    "events",
    [
        reply(message("x"))[2:],
        [*reply()[:2], {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "x"}],
        [*reply(message("x"))[:3], reply(message("x"))[2]],
        [*reply(message("x"))[:3], {"type": "response.output_text.delta", "output_index": 0, "delta": "x"}],
        [*reply(message("x"))[:4], {**reply(message("x"))[4], "delta": ["x"]}],
        [*reply(message("x"))[:7], reply(message("x"))[4]],
        [{"type": "response.created", "response": "x"}],
    ],
)
def test_what_is_malformed_is_said(events: list[Event]) -> None:
    with pytest.raises(MalformedEvent):
        edit(editor(), events)


def test_a_whole_response_goes_the_same_way() -> None:
    find = call("function_call", "arguments", "", '{"a":1}', name="find", call_id="x")
    whole = response("completed", [reasoning("Hm.")[0], message("Hello.")[0], find[0]])
    got = from_events(edit(editor(), to_events(whole)))
    assert [item["type"] for item in got["output"]] == ["reasoning", "message", "function_call"]
    assert got["output"][1]["content"][0]["text"] == "Hello." and got["usage"] == USAGE
    stopped = from_events(edit(editor(), to_events(whole), harm="Hello"))
    assert stopped["incomplete_details"] == {"reason": "content_filter"} and "Hello" not in json.dumps(stopped)
    for odd in ({}, {**whole, "status": "queued"}, {**whole, "output": ["x"]}):
        with pytest.raises(MalformedEvent):
            edit(editor(), to_events(odd))
