"""OpenAI's dialect, with the official client as the judge, over a real server."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest
from openai.types import ModerationMultiModalInputParam

from service.taxonomy import OPENAI_CATEGORIES
from tests.fake_runtime import FakeRuntime


@pytest.fixture(scope="module")
def sdk(server: str) -> Iterator[openai.OpenAI]:
    """The official client."""
    with openai.OpenAI(base_url=f"{server}/v1", api_key="unused", max_retries=0) as made:
        yield made


def test_a_string_gives_one_result(sdk: openai.OpenAI) -> None:
    reply = sdk.moderations.create(input="an insult", model="omni-moderation-latest")
    assert reply.id.startswith("modr-")
    assert reply.model == "fake@00000000"
    result = reply.results[0]
    assert result.flagged and result.categories.harassment and not result.categories.violence
    assert result.category_scores.harassment == 0.9
    assert result.category_applied_input_types.harassment == ["text"]
    assert set(result.categories.to_dict()) == set(OPENAI_CATEGORIES)
    assert reply._request_id


def test_strings_give_a_result_each_in_order(sdk: openai.OpenAI) -> None:
    texts = [f"text {number}" + " insult" * (number % 3 == 0) for number in range(40)]
    reply = sdk.moderations.create(input=texts)
    assert [result.flagged for result in reply.results] == [number % 3 == 0 for number in range(40)]


def test_parts_give_one_result(sdk: openai.OpenAI) -> None:
    parts: list[ModerationMultiModalInputParam] = [{"type": "text", "text": "an"}, {"type": "text", "text": "insult"}]
    reply = sdk.moderations.create(input=parts)
    assert [result.flagged for result in reply.results] == [True]


def test_what_is_not_openais_stands_under_x_weir(sdk: openai.OpenAI) -> None:
    result = sdk.moderations.create(input="rude").results[0]
    assert not result.flagged
    own = result.to_dict()["x_weir"]
    assert own["action"] == "block"  # type: ignore[index]
    assert own["categories"]["toxicity"]["flagged"]  # type: ignore[index]


def test_unknown_fields_are_ignored(sdk: openai.OpenAI) -> None:
    assert sdk.moderations.create(input="x", extra_body={"novel": {"deep": []}}).results


@pytest.mark.parametrize(
    ("texts", "model", "error", "code", "param"),
    [
        ("", None, openai.BadRequestError, "empty_input", "input"),
        ([], None, openai.BadRequestError, "empty_input", "input"),
        (["x", " \n"], None, openai.BadRequestError, "empty_input", "input[1]"),
        (["x", 5], None, openai.BadRequestError, "invalid_request", "input[1]"),
        (["x", {"type": "text", "text": "x"}], None, openai.BadRequestError, "invalid_request", "input[1]"),
        ([{"type": "text", "text": "x"}, "x"], None, openai.BadRequestError, "invalid_request", "input[1]"),
        ([{"type": "text"}], None, openai.BadRequestError, "invalid_request", "input[0].text"),
        (
            [{"type": "image_url", "image_url": {"url": "x"}}],
            None,
            openai.BadRequestError,
            "image_url_refused",
            "input[0].image_url.url",
        ),
        (7, None, openai.BadRequestError, "invalid_request", "input"),
        ("x", "gpt-9", openai.NotFoundError, "model_not_found", "model"),
        (["x"] * 300, None, openai.APIStatusError, "too_many_items", "input"),
        ("x" * 200_001, None, openai.APIStatusError, "text_too_long", "input"),
        ("overload", None, openai.RateLimitError, "overloaded", None),
        ("broken", None, openai.InternalServerError, "scorer_failed", None),
        ("surprise", None, openai.InternalServerError, "internal_error", None),
    ],
)
def test_errors_are_the_clients_own(
    sdk: openai.OpenAI, texts: object, model: str | None, error: type[Exception], code: str, param: str | None
) -> None:
    with pytest.raises(error) as caught:
        sdk.moderations.create(input=texts, model=model or "text-moderation-stable")  # type: ignore[arg-type]
    assert isinstance(caught.value, openai.APIStatusError)
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.request_id


async def test_waiting_helps_and_is_said(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/moderations", json={"input": "overload"})
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
    assert reply.json()["error"]["type"] == "rate_limit_error"


async def test_no_spans_are_asked_for(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    await client.post("/v1/moderations", json={"input": "x"}, headers={"X-Weir-Policy": "kids"})
    assert (runtime.seen[0].explain, runtime.seen[0].policy) == (False, "kids")


async def test_our_own_model_may_be_named(client: httpx.AsyncClient) -> None:
    for model in ("fake", "fake@00000000"):
        assert (await client.post("/v1/moderations", json={"input": "x", "model": model})).status_code == 200
