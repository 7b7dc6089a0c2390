"""What of a request is read, in both dialects, and what is refused as unjudged."""

from __future__ import annotations

from typing import Any

import pytest

from service.api import chat_prompt, messages_prompt, responses_prompt
from service.api.prompt_turns import UnjudgedContent
from service.errors import BadInput


def message(*blocks: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


def said(prompt: Any) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in prompt.turns]


def test_the_newest_turn_is_judged_with_those_before_it() -> None:
    body = {
        "system": "Be kind.",
        "messages": [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "reply"},
            message({"type": "text", "text": "second"}, {"type": "tool_result", "content": "found"}),
        ],
    }
    prompt = messages_prompt.read_prompt(body, allow_unjudged=False)
    contents = prompt.contents("kids", judge_system=False)
    assert [(c.text, c.role) for c in contents[:2]] == [("second", "user"), ("found", "tool")]
    assert [turn.text for turn in contents[0].context] == ["first", "reply"]
    assert [(c.text, len(c.context)) for c in contents[2:]] == [("first", 0), ("reply", 0)]
    assert prompt.contents("kids", judge_system=True)[-1].text == "Be kind."


@pytest.mark.parametrize(
    ("block", "role", "words"),
    [
        ({"type": "text", "text": "words"}, "user", "words"),
        ({"type": "tool_result", "content": [{"type": "text", "text": "words"}]}, "tool", "words"),
        ({"type": "document", "source": {"type": "text", "data": "words"}}, "tool", "source\ndata\nwords"),
        ({"type": "search_result", "content": [{"type": "text", "text": "words"}]}, "tool", "content\ntext\nwords"),
        ({"type": "tool_use", "name": "n", "input": {"a": "words"}}, "user", "name\nn\ninput\na\nwords"),
        ({"type": "thinking", "thinking": "words", "signature": "x"}, "user", "thinking\nwords"),
        ({"type": "of_tomorrow", "novel": ["words"]}, "user", "novel\nwords"),
    ],
)
def test_every_block_of_a_message_is_read(block: dict[str, Any], role: str, words: str) -> None:
    assert said(messages_prompt.read_prompt({"messages": [message(block)]}, allow_unjudged=False)) == [(role, words)]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "document", "source": {"type": "base64", "data": "eA=="}},
        {"type": "document", "source": {"type": "url", "url": "https://example.org"}},
        {"type": "container_upload", "file_id": "f"},
        {"type": "tool_result", "content": [{"type": "image", "source": {"type": "file"}}]},
        {"type": "of_tomorrow", "deep": [{"source": {"type": "file", "file_id": "f"}}]},
    ],
)
def test_what_is_no_text_is_refused_unless_allowed(block: dict[str, Any]) -> None:
    body = {"messages": [message(block)]}
    with pytest.raises(UnjudgedContent) as caught:
        messages_prompt.read_prompt(body, allow_unjudged=False)
    assert caught.value.code == "unjudged_content" and caught.value.param is not None
    messages_prompt.read_prompt(body, allow_unjudged=True)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"role": "user", "content": "words"}, ("user", "words")),
        ({"type": "message", "role": "developer", "content": "words"}, ("developer", "words")),
        ({"role": "user", "content": [{"type": "input_text", "text": "words"}]}, ("user", "words")),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "words"}]}, ("assistant", "words")),
        ({"type": "function_call_output", "call_id": "c", "output": "words"}, ("tool", "words")),
        ({"type": "function_call", "call_id": "c", "arguments": "words"}, ("assistant", "arguments\nwords")),
        ({"type": "reasoning", "summary": [{"text": "words"}]}, ("assistant", "summary\ntext\nwords")),
        ({"type": "shell_call_output", "output": [{"stdout": "words"}]}, ("tool", "output\nstdout\nwords")),
        ({"type": "of_tomorrow", "novel": "words"}, ("assistant", "novel\nwords")),
    ],
)
def test_every_item_of_a_response_is_read(item: dict[str, Any], expected: tuple[str, str]) -> None:
    assert said(responses_prompt.read_prompt({"input": [item]}, allow_unjudged=False)) == [expected]


@pytest.mark.parametrize(
    "body",
    [
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "x"}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]},
        {"input": [{"type": "function_call_output", "output": [{"type": "input_image", "file_id": "x"}]}]},
        {"input": [{"type": "computer_call_output", "output": {"type": "computer_screenshot", "file_id": "x"}}]},
        {"input": [{"type": "item_reference", "id": "x"}]},
        {"input": "x", "previous_response_id": "r"},
        {"input": "x", "conversation": "c"},
        {"input": "x", "prompt": {"id": "p"}},
    ],
)
def test_what_lies_elsewhere_is_refused_unless_allowed(body: dict[str, Any]) -> None:
    with pytest.raises(UnjudgedContent):
        responses_prompt.read_prompt(body, allow_unjudged=False)
    responses_prompt.read_prompt(body, allow_unjudged=True)


def test_background_is_refused_always() -> None:
    with pytest.raises(BadInput) as caught:
        responses_prompt.read_prompt({"input": "x", "background": True}, allow_unjudged=True)
    assert caught.value.code == "background_unsupported"


def test_instructions_and_tools_are_system_text() -> None:
    body = {"input": "x", "instructions": "Be brief.", "tools": [{"type": "function", "description": "words"}]}
    system = responses_prompt.read_prompt(body, allow_unjudged=False).system
    assert [turn.text for turn in system] == ["Be brief.", "description\nwords"]


def test_turns_before_the_last_reply_are_earlier_ones() -> None:
    items = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    prompt = responses_prompt.read_prompt({"input": items}, allow_unjudged=False)
    assert (prompt.newest, [turn.text for turn in prompt.turns]) == (1, ["a", "b", "c"])
    assert responses_prompt.read_prompt({"input": items[:2]}, allow_unjudged=False).newest == 2


PNG = "data:image/png;base64,eA=="
ASIDE = "https://cdn.example.org/a.png"


def test_an_image_is_judged_with_the_texts_of_its_message() -> None:
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        {"type": "text", "text": "at this"},
        {"type": "image_url", "image_url": {"url": ASIDE, "alt": "words"}},
    ]
    body = {
        "messages": [message(*parts[:1]), {"role": "assistant", "content": "ok"}, message(*parts), message(*parts[:1])]
    }
    prompt = chat_prompt.read_prompt(body, allow_unjudged=False)
    assert said(prompt) == [
        ("user", "look"),
        ("assistant", "ok"),
        ("user", "look\nat this\nalt\nwords"),
        ("user", "look"),
    ]
    assert [(place, [source.value for source in of]) for place, of in prompt.images.items()] == [(2, [PNG, ASIDE])]
    contents = prompt.contents("kids", judge_system=False, images={2: (b"x", b"y")})
    assert [(content.text[:4], content.images) for content in contents[:2]] == [("look", (b"x", b"y")), ("look", ())]
    prompt.images[2][1].pin(b"GIF8")  # type: ignore[misc]
    assert parts[3]["image_url"] == {"url": "data:image/gif;base64,R0lGOA==", "alt": "words"}


@pytest.mark.parametrize(
    ("block", "role", "value"),
    [
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "eA=="}}, "user", "eA=="),
        ({"type": "image", "source": {"type": "url", "url": ASIDE}}, "user", ASIDE),
        (
            {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": ASIDE}}]},
            "tool",
            ASIDE,
        ),
    ],
)
def test_images_of_messages(block: dict[str, Any], role: str, value: str) -> None:
    prompt = messages_prompt.read_prompt({"messages": [message(block)]}, allow_unjudged=False)
    assert said(prompt) == [(role, "")]
    ((source,),) = prompt.images.values()
    assert (source.value, source.bare) == (value, value == "eA==")
    if source.pin is not None:
        source.pin(b"GIF8")
        assert "'source': {'type': 'base64', 'media_type': 'image/gif', 'data': 'R0lGOA=='}" in str(block)


@pytest.mark.parametrize(
    ("item", "role", "value"),
    [
        ({"role": "user", "content": [{"type": "input_image", "image_url": PNG}]}, "user", PNG),
        ({"type": "function_call_output", "output": [{"type": "input_image", "image_url": ASIDE}]}, "tool", ASIDE),
        ({"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": PNG}}, "tool", PNG),
        ({"type": "image_generation_call", "result": "eA=="}, "assistant", "eA=="),
    ],
)
def test_images_of_responses(item: dict[str, Any], role: str, value: str) -> None:
    prompt = responses_prompt.read_prompt({"input": [item, {"role": "user", "content": "x"}]}, allow_unjudged=False)
    assert said(prompt) == [(role, ""), ("user", "x")]
    assert [source.value for source in prompt.images[0]] == [value]


def test_images_in_instructions_are_not_judged() -> None:
    for role in ("system", "developer"):
        body = {"messages": [message({"type": "image_url", "image_url": {"url": PNG}}, role=role)]}
        with pytest.raises(UnjudgedContent):
            chat_prompt.read_prompt(body, allow_unjudged=False)
    image = {"type": "image", "source": {"type": "base64", "data": "eA=="}}
    with pytest.raises(UnjudgedContent):
        messages_prompt.read_prompt({"system": [image], "messages": [message(image)]}, allow_unjudged=False)


@pytest.mark.parametrize(
    "body", [{}, {"messages": "x"}, {"messages": ["x"]}, {"messages": [{"role": "x", "content": ""}]}]
)
def test_bad_requests_are_told(body: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        messages_prompt.read_prompt(body, allow_unjudged=False)


@pytest.mark.parametrize("given", [5, ["x"], [{"role": "x", "content": "x"}], [{"role": "user", "content": 5}]])
def test_bad_input_is_told(given: object) -> None:
    with pytest.raises(BadInput):
        responses_prompt.read_prompt({"input": given}, allow_unjudged=False)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,eA=="}},
        {"image_url": "https://example.org/a.png"},
        {"type": "input_image", "image_url": "data:image/png;base64,eA=="},
    ],
)
def test_a_part_of_an_unknown_type_is_refused_in_chat(part: dict[str, Any]) -> None:
    body = {"messages": [message(part)]}
    with pytest.raises(UnjudgedContent):
        chat_prompt.read_prompt(body, allow_unjudged=False)
    assert said(chat_prompt.read_prompt(body, allow_unjudged=True)) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("documents", [{"text": "words"}]), ("chat_template", "words"), ("Messages", [{"content": "words"}])],
)
def test_a_field_of_an_unknown_name_is_judged_in_chat(field: str, value: Any) -> None:
    body = {"model": "m", "user": "u-1", "messages": [{"role": "user", "content": "Hello"}], field: value}
    turns = said(chat_prompt.read_prompt(body, allow_unjudged=False))
    assert turns[-1] == ("user", "Hello")
    assert [(role, "words" in text) for role, text in turns] == [("user", True), ("user", False)]
    assert "u-1" not in str(turns)


@pytest.mark.parametrize("field", ["documents", "extra_body", "chat_template"])
def test_a_field_of_an_unknown_name_is_judged_in_the_other_dialects(field: str) -> None:
    message_body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}], field: ["words"]}
    found = said(messages_prompt.read_prompt(message_body, allow_unjudged=False))
    assert found == [("user", f"{field}\nwords"), ("user", "Hello")]
    body = {"model": "m", "store": False, "input": "Hello", field: ["words"]}
    assert said(responses_prompt.read_prompt(body, allow_unjudged=False)) == found


def test_a_sentence_under_the_key_of_a_name_is_judged() -> None:
    ask = "how do I hurt him"
    tool_use = {"type": "tool_use", "id": "t1", "name": "n", "input": {"id": ask, "type": {"why": ask}}}
    (turn,) = said(messages_prompt.read_prompt({"messages": [message(tool_use)]}, allow_unjudged=False))
    assert turn[1].count(ask) == 2 and "t1" not in turn[1]
    calls = {"role": "assistant", "content": "", "tool_calls": [{"id": ask, "type": "function"}]}
    answer = {"role": "tool", "tool_call_id": ask, "content": "done"}
    found = said(chat_prompt.read_prompt({"messages": [calls, answer]}, allow_unjudged=False))
    assert [ask in text for _, text in found] == [True, False, True]
    plain = {"role": "tool", "tool_call_id": "call_1", "content": "done"}
    assert said(chat_prompt.read_prompt({"messages": [plain]}, allow_unjudged=False)) == [("tool", "done")]


def test_a_tools_input_may_look_like_a_file() -> None:
    block = {"type": "tool_use", "id": "t1", "name": "read", "input": {"type": "file", "path": "notes.txt"}}
    assert "notes.txt" in said(messages_prompt.read_prompt({"messages": [message(block)]}, allow_unjudged=False))[0][1]


def test_a_prompt_that_is_nested_too_deeply_is_bad_input() -> None:
    value: Any = "words"
    for _ in range(80):
        value = [value]
    with pytest.raises(BadInput):
        chat_prompt.read_prompt(
            {"messages": [{"role": "user", "content": "Hello"}], "tools": value}, allow_unjudged=False
        )


def test_a_phrase_that_is_split_over_two_parts_is_judged_whole() -> None:
    body = {"messages": [message({"type": "text", "text": "kill"}, {"type": "text", "text": "yourself"})]}
    contents = chat_prompt.read_prompt(body, allow_unjudged=False).contents("kids", judge_system=False)
    assert [content.text for content in contents] == ["kill", "yourself", "kill\nyourself"]
