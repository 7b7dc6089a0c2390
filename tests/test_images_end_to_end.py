"""Images through the whole service, with the official clients: words in them, alone, beside and split from a text."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx
import openai
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families as families

from tests.api.test_chat import FakeModel
from tests.api.test_relay import Served as Upstream
from tests.images.pictures import card
from tests.images.warm import PATIENT, warm_up
from tests.serving import Served, serving

HARM = "go kill yourself,\nyou worthless idiot"
CALM = "the ferry leaves\nat nine today"


def url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


@dataclass
class Bench:
    served: Served
    sdk: openai.OpenAI
    claude: anthropic.Anthropic
    upstream: FakeModel

    def moderate(self, *parts: str | bytes) -> Any:
        """One result of OpenAI's moderations: strings are texts, bytes are images."""
        given: Any = [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "image_url", "image_url": {"url": url(part)}}
            for part in parts
        ]
        (result,) = self.sdk.moderations.create(model="omni-moderation-latest", input=given).results
        return result


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    model = FakeModel()
    upstream = Upstream(model)
    with ExitStack() as stack:
        stack.callback(upstream.stop)
        settings = {"WEIR_UPSTREAM_OPENAI": upstream.url, "WEIR_UPSTREAM_ANTHROPIC": upstream.url}
        served = stack.enter_context(serving(**PATIENT, **settings))
        warm_up(served)
        sdk = openai.OpenAI(base_url=f"{served.url}/v1", api_key="x", max_retries=0, timeout=120)
        claude = anthropic.Anthropic(base_url=served.url, api_key="x", max_retries=0, timeout=120)
        yield Bench(served, stack.enter_context(sdk), stack.enter_context(claude), model)


def test_words_in_an_image_are_judged_and_every_category_says_on_what(bench: Bench) -> None:
    result = bench.moderate(card(HARM))
    assert result.flagged and result.categories.harassment
    assert set(map(tuple, result.category_applied_input_types.to_dict().values())) == {("image",)}
    assert result.to_dict()["x_weir"]["degraded"] == ["visual:not_scanned"]
    both = bench.moderate("Look at this.", card(CALM), card(HARM))
    assert both.flagged and both.category_applied_input_types.violence == ["text", "image"]
    calm = bench.moderate("Look at this.", card(CALM))
    assert not calm.flagged and calm.category_applied_input_types.hate == ["text", "image"]


def test_an_image_without_words_was_judged_for_nothing(bench: Bench) -> None:
    file = io.BytesIO()
    Image.new("RGB", (200, 200), (90, 120, 90)).save(file, "PNG")
    result = bench.moderate("Hello.", file.getvalue())
    assert not result.flagged
    assert set(map(tuple, result.category_applied_input_types.to_dict().values())) == {("text",)}


def test_a_sentence_split_between_text_and_image_is_seen(bench: Bench) -> None:
    first, second = "I am going to kill", "you tomorrow"
    assert not bench.moderate(first).flagged
    assert not bench.moderate(card(second)).flagged
    assert bench.moderate(first, card(second)).categories.violence


def test_an_image_of_a_chat_turn_stops_the_prompt(bench: Bench) -> None:
    bench.upstream.asked.clear()

    def ask(image: bytes) -> Any:
        parts: Any = [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": url(image)}},
        ]
        wanted: Any = [{"role": "user", "content": parts}]
        return bench.sdk.chat.completions.create(model="clean", messages=wanted).choices[0].finish_reason

    assert ask(card(HARM)) == "content_filter"
    damaged = card(CALM)
    assert ask(damaged[: len(damaged) // 2]) == "content_filter"  # nobody could look at it
    assert bench.upstream.asked == []
    assert ask(card(CALM)) == "stop"
    assert len(bench.upstream.asked) == 1


def test_an_image_of_a_message_stops_the_prompt(bench: Bench) -> None:
    data = base64.b64encode(card(HARM)).decode()
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    reply = bench.claude.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": [image]}])
    assert reply.stop_reason == "refusal"


def test_errors_are_the_clients_own(bench: Bench) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        bench.moderate(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert (caught.value.code, caught.value.param) == ("unsupported_image", "input[0].image_url.url")
    with pytest.raises(openai.BadRequestError) as refused:
        part: Any = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}
        bench.sdk.moderations.create(input=[part])
    assert refused.value.code == "image_url_refused"


def test_nothing_of_an_image_is_in_the_log_or_in_a_metric(bench: Bench) -> None:
    bench.moderate("Look.", card(HARM))
    assert "worthless" not in bench.served.log() and "base64" not in bench.served.log()
    metrics = httpx.get(f"{bench.served.url}/metrics").text
    assert "worthless" not in metrics
    looked = [sample for family in families(metrics) if family.name == "weir_images" for sample in family.samples]
    assert sum(sample.value for sample in looked if sample.name == "weir_images_total") >= 1
