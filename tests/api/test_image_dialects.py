"""Images in every dialect, with the official clients where there is one: judged, refused or sent on as judged."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import anthropic
import httpx
import openai
import pytest
from starlette.types import Receive, Scope, Send

from service.api.image_bodies import size_without_images, takes_images
from service.app import create_app
from service.config import Settings
from service.images.errors import ImageUrlRefused
from service.policy import PolicyBook
from service.stream_rules import StreamRules
from tests.api import test_chat, test_relay
from tests.api.conftest import client_of
from tests.fake_runtime import FakeRuntime

ASIDE = "https://cdn.example.org/a.png"


def encoded(words: str) -> str:
    """A file whose bytes are words."""
    return base64.b64encode(words.encode()).decode()


def data_url(words: str) -> str:
    return f"data:image/png;base64,{encoded(words)}"


class FakeFetcher:
    """Gives what an address holds."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url != ASIDE:
            raise ImageUrlRefused("Not from there.")
        return b"GIF8 calm"


class FakeModels:
    """An upstream for all three dialects."""

    def __init__(self) -> None:
        self.chat, self.other = test_chat.FakeModel(), test_relay.FakeModel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.chat if scope["path"].endswith("/chat/completions") else self.other)(scope, receive, send)

    @property
    def asked(self) -> list[dict[str, Any]]:
        return [*self.chat.asked, *(wanted for _, _, wanted in self.other.asked)]

    def forget(self) -> None:
        self.chat.asked.clear()
        self.other.asked.clear()


@dataclass
class Bench:
    runtime: test_relay.RelayRuntime
    models: FakeModels
    openai: openai.OpenAI
    anthropic: anthropic.Anthropic

    def chat(self, url: str, **more: Any) -> str:
        """How a chat completion ended."""
        parts: Any = [{"type": "text", "text": "Hello?"}, {"type": "image_url", "image_url": {"url": url}}]
        wanted: Any = [{"role": "user", "content": parts}]
        return self.openai.chat.completions.create(model="clean", messages=wanted, **more).choices[0].finish_reason

    def response(self, url: str, **more: Any) -> str:
        parts: Any = [{"type": "input_text", "text": "Hello?"}, {"type": "input_image", "image_url": url}]
        wanted: Any = [{"role": "user", "content": parts}]
        reply = self.openai.responses.create(model="m", input=wanted, **more)
        return "content_filter" if reply.status == "incomplete" else "stop"

    def message(self, url: str, **more: Any) -> str:
        source = {"type": "url", "url": url}
        if url.startswith("data:"):
            source = {"type": "base64", "media_type": "image/png", "data": url.partition(",")[2]}
        parts: Any = [{"type": "text", "text": "Hello?"}, {"type": "image", "source": source}]
        wanted: Any = [{"role": "user", "content": parts}]
        reply = self.anthropic.messages.create(model="m", max_tokens=9, messages=wanted, **more)
        return "content_filter" if reply.stop_reason == "refusal" else "stop"

    @property
    def ways(self) -> list[Callable[..., str]]:
        return [self.chat, self.response, self.message]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    models, runtime = FakeModels(), test_relay.RelayRuntime(Settings())
    runtime.image_fetcher = FakeFetcher()
    book = runtime.policies.policies
    lax = replace(book["default"], name="lax", stream=StreamRules(allow_unjudged_parts=True))
    runtime.policies = PolicyBook({**book, "lax": lax})
    upstream = test_relay.Served(models)
    runtime.url = upstream.url
    weir = test_relay.Served(create_app(runtime.settings, runtime=runtime), runtime.upstream_client.close)
    with (
        openai.OpenAI(base_url=f"{weir.url}/v1", api_key="theirs", max_retries=0) as one,
        anthropic.Anthropic(base_url=weir.url, api_key="theirs", max_retries=0) as other,
    ):
        yield Bench(runtime, models, one, other)
    weir.stop()
    upstream.stop()


def test_an_image_of_a_turn_is_judged_with_its_text(bench: Bench) -> None:
    for way in bench.ways:
        bench.runtime.seen.clear()
        assert way(data_url("calm")) == "stop"
        assert (bench.runtime.seen[0].text, bench.runtime.seen[0].images) == ("Hello?", (b"calm",))


@pytest.mark.parametrize("words", ["a threat", "damaged"])
def test_a_harmful_or_unreadable_image_never_reaches_the_upstream(bench: Bench, words: str) -> None:
    bench.models.forget()
    assert [way(data_url(words)) for way in bench.ways] == ["content_filter"] * 3
    assert bench.models.asked == []


def test_the_upstream_is_sent_what_was_judged_and_no_address(bench: Bench) -> None:
    bench.models.forget()
    assert [way(ASIDE) for way in bench.ways] == ["stop"] * 3
    assert len(bench.models.asked) == 3
    for wanted in bench.models.asked:
        assert ASIDE not in json.dumps(wanted) and encoded("GIF8 calm") in json.dumps(wanted)


@pytest.mark.parametrize(
    ("url", "code"),
    [("https://other.example/a.png", "image_url_refused"), (data_url("<svg"), "unsupported_image")],
)
def test_what_is_no_image_is_refused_by_its_field_unless_the_policy_lets_it_pass(
    bench: Bench, url: str, code: str
) -> None:
    bench.models.forget()
    told = []
    for way in bench.ways:
        with pytest.raises((openai.BadRequestError, anthropic.BadRequestError)) as caught:
            way(url)
        body: Any = caught.value.body
        error = body.get("error", body)
        assert error["code"] == code and url not in error["message"]
        told.append(error["param"])
    last = "data" if url.startswith("data:") else "url"
    assert told == [
        *("messages[0].content[1].image_url.url", "input[0].content[1].image_url"),
        f"messages[0].content[1].source.{last}",
    ]
    assert bench.models.asked == []
    assert [way(url, extra_headers={"X-Weir-Policy": "lax"}) for way in bench.ways] == ["stop"] * 3


def test_a_large_image_goes_through_and_a_large_text_does_not(bench: Bench) -> None:
    assert [way(data_url("calm" * 800_000)) for way in bench.ways] == ["stop"] * 3
    with pytest.raises(openai.APIStatusError) as caught:
        bench.openai.chat.completions.create(model="clean", messages=[{"role": "user", "content": "x" * 3_000_000}])
    assert caught.value.status_code == 413


# The native dialect and OpenAI's moderations.


async def test_native_images_reach_the_pipeline_and_findings_say_where(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    images = [{"data": encoded("calm")}, {"data": data_url("an insult")}, {"url": data_url("a bomb")}]
    reply = (await client.post("/v1/moderate", json={"input": "Hi", "images": images})).json()
    assert runtime.seen[0].images == (b"calm", b"an insult", b"a bomb")
    found = [(finding["category"], finding["image"], finding["box"]) for finding in reply["findings"]]
    box = {"left": 1, "top": 2, "width": 30, "height": 40}
    assert found == [("harassment", 1, box), ("illicit/violent", 2, box)]
    alone = (await client.post("/v1/moderate", json={"images": images[:1]})).json()
    assert (alone["action"], runtime.seen[-1].text) == ("allow", "")


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({}, 400, "invalid_request", "input"),
        ({"images": []}, 400, "invalid_request", "input"),
        ({"input": "", "images": []}, 400, "empty_input", "input"),
        ({"images": [{}]}, 400, "invalid_request", "images.0"),
        ({"images": [{"data": "AA==", "url": "x"}]}, 400, "invalid_request", "images.0"),
        ({"images": [{"data": "A"}]}, 400, "invalid_request", "images.0.data"),
        ({"images": [{"data": "AA==AAAA"}]}, 400, "invalid_request", "images.0.data"),
        ({"images": [{"data": ""}]}, 400, "invalid_request", "images.0.data"),
        ({"images": [{"data": "data:image/png,AA"}]}, 400, "invalid_request", "images.0.data"),
        ({"images": [{"data": "data:image/png"}]}, 400, "invalid_request", "images.0.data"),
        ({"images": [{"url": "https://x.example/a.png"}]}, 400, "image_url_refused", "images.0.url"),
        ({"images": [{"url": "file:///etc/passwd"}]}, 400, "image_url_refused", "images.0.url"),
        ({"images": [{"data": "AA=="}] * 5}, 413, "too_many_images", "images.4.data"),
        ({"images": [{"data": "A" * 14_000_000}]}, 413, "image_too_large", "images.0.data"),
        ({"input": [{"type": "image_url"}]}, 400, "unsupported_input", "input"),
    ],
)
async def test_images_that_cannot_be_taken(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, code: str, param: str
) -> None:
    reply = await client.post("/v1/moderate", json=body)
    assert (reply.status_code, reply.json()["error"]["code"], reply.json()["error"]["param"]) == (status, code, param)
    batch = await client.post("/v1/moderate/batch", json={"items": [body, {"input": "fine"}]})
    errors = [result.get("error", {}).get("code") for result in batch.json()["results"]]
    assert errors == [code, None]


async def test_a_deployment_without_the_extra_says_so(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    runtime.sees_images = False
    reply = await client.post("/v1/moderate", json={"images": [{"data": "AA=="}]})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "unsupported_input")


async def test_each_category_says_what_it_was_judged_on(runtime: FakeRuntime) -> None:
    runtime.visual_categories = frozenset({"sexual", "violence"})
    both = [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": data_url("an insult")}}]
    async with client_of(runtime) as client:
        result = (await client.post("/v1/moderations", json={"input": both})).json()["results"][0]
        types = result["category_applied_input_types"]
        assert (types["harassment"], types["sexual"], types["hate"]) == (["text", "image"], ["text", "image"], ["text"])
        alone = (await client.post("/v1/moderations", json={"input": both[1:]})).json()["results"][0]
        assert alone["category_applied_input_types"]["harassment"] == ["image"]
        assert alone["category_applied_input_types"]["hate"] == []
        assert result["flagged"] and result["categories"]["harassment"]
        svg = {"type": "image_url", "image_url": {"url": data_url("<svg")}}
        refused = await client.post("/v1/moderations", json={"input": [*both, svg]})
        assert refused.json()["error"]["param"] == "input[2].image_url.url"


async def test_feedback_takes_the_content_with_its_images(client: httpx.AsyncClient) -> None:
    body = {"content": {"images": [{"data": "A"}]}, "harmful": True}
    assert (await client.post("/v1/feedback", json=body)).json()["error"]["param"] == "images.0.data"


# The size of a body.


async def test_a_body_may_be_larger_where_it_is_images_that_make_it_so(client: httpx.AsyncClient) -> None:
    image = {"data": encoded("calm" * 500_000)}
    assert (await client.post("/v1/moderate", json={"images": [image, image]})).status_code == 200
    for body in (
        {"input": "x", "images": [image], "context": [{"content": "x"}] * 40_000},
        {"input": ["x"] * 300_000},
    ):
        reply = await client.post("/v1/moderate", json=body)
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")

    async def pieces() -> Any:
        yield json.dumps({"images": [image]}).encode()

    assert (await client.post("/v1/moderate", content=pieces())).status_code == 413  # it announces no length


@pytest.mark.parametrize(
    ("raw", "least", "most"),
    [
        (b'{"a": "' + b"x" * 50_000 + b'"}', 0, 100),
        (b'["' + b"x" * 3000 + b'"]', 3000, 3100),
        (b"[" * 50_000, 50_000, 50_000),
        (b'["' + b'\\"' * 25_000 + b'"]', 40_000, 60_000),
        (b'["\\\\","' + b"x" * 50_000 + b'"]', 0, 100),
        (b'["' + b"x" * 50_000, 50_000, 60_000),
        (b'""' * 25_000, 50_000, 1_000_000),
        (b"", 0, 0),
    ],
)
def test_the_size_of_a_body_without_its_images(raw: bytes, least: int, most: int) -> None:
    assert least <= size_without_images(raw, 10_000_000) <= most
    assert size_without_images(raw, 10) > 10 or least <= 10


def test_which_paths_take_images() -> None:
    assert takes_images("/v1/moderate") and takes_images("/u/mine/v1/messages")
    assert not takes_images("/v1/stream") and not takes_images("/u/mine/v1/stream")
