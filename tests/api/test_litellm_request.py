"""What LiteLLM's guardrail client posts, as turns: roles, what stands in one place only, and parts without text."""

from __future__ import annotations

import pytest

from service.api.litellm_request import GuardrailRequest, to_conversation, tool_texts
from service.errors import BadInput
from service.types import Turn

# As the real proxy (1.108) posted it.
POSTED = {
    "input_type": "request",
    "litellm_call_id": "b6a9",
    "structured_messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "you"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":"\\u0079"}'}}],
        },
        {"role": "tool", "content": "result", "tool_call_id": "a"},
    ],
    "images": None,
    "tools": [{"type": "function", "function": {"name": "f", "description": "does"}}],
    "texts": ["Be kind.", "Hi", "you", "result"],
    "additional_provider_specific_params": {"policy": "kids"},
    "tool_calls": [{"function": {"arguments": '{"x":"\\u0079"}', "name": "f"}, "id": "a", "type": "function"}],
}


def test_every_text_has_its_role_and_comes_once() -> None:
    request = GuardrailRequest.model_validate(POSTED)
    found = to_conversation(request)
    call = Turn("f\nx\ny", "assistant")  # escapes in arguments hide nothing
    assert found.turns == (Turn("Hi", "user"), Turn("you", "user"), call, Turn("result", "tool"))
    assert found.newest == 3 and not found.unjudged
    assert "Be kind." in found.instructions and "does" in found.instructions
    assert request.policy == "kids"


def test_what_no_message_holds_is_a_users() -> None:
    request = GuardrailRequest(input_type="request", texts=["alone"], structured_messages=[{"role": "user"}])
    assert to_conversation(request).turns == (Turn("alone", "user"),)


@pytest.mark.parametrize(
    "given",
    [
        {"images": [{"url": "data:image/png;base64,AA=="}]},
        {"structured_messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"file": "x"}}]}]},
        {"structured_messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"structured_messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
    ],
)
def test_a_part_without_text_is_not_passed_over(given: dict[str, object]) -> None:
    assert to_conversation(GuardrailRequest.model_validate({"input_type": "request", **given})).unjudged


def test_arguments_that_are_cut_short_are_text() -> None:
    assert tool_texts([{"function": {"name": "f", "arguments": '{"x": "hal'}}]) == ['f\n{"x": "hal']
    assert tool_texts([None, {}, {"function": {"name": "", "arguments": ""}}]) == []


def test_a_policy_must_be_a_name() -> None:
    request = GuardrailRequest(input_type="request", additional_provider_specific_params={"policy": 1})
    with pytest.raises(BadInput):
        _ = request.policy


def test_calls_of_other_kinds_are_read_too() -> None:
    assert tool_texts([{"type": "custom", "custom": {"name": "f", "input": "words"}}]) == ["f\nwords"]
    old = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"x":"words"}'}}
    request = GuardrailRequest(input_type="request", structured_messages=[old, {"role": "user", "content": "Hi"}])
    assert to_conversation(request).turns == (Turn("f\nx\nwords", "assistant"), Turn("Hi", "user"))
