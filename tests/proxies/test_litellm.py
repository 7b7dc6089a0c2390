"""LiteLLM's real proxy in front of Weir's guardrail: what leaks with its defaults, and that nothing does with ours.

Not part of `make test`, which deselects the marker: see `make test-litellm`.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import openai
import pytest
import pytest_asyncio

from loadtest.upstream import Script, Upstream
from tests.proxies.litellm_proxy import PROXY_KEY, configuration, proxying
from tests.running import Running

pytestmark = [pytest.mark.litellm, pytest.mark.asyncio(loop_scope="module")]

KEY = "the key of the guardrail"
CLEAN = "The garden is in bloom. " * 12
# FakeRuntime blocks what holds `bomb`. Nothing of the second sentence may be shown.
BEFORE = "It was a fine day in spring, and nobody had a care. "
HARM = "Then she told all of them in some detail how the bomb is put together from what the shop sells. "
AFTER = "And they went home for tea. " * 6
SCRIPTS = {
    "clean": Script(CLEAN),
    "harm": Script(BEFORE + HARM + AFTER),
    "half": Script(BEFORE + "By now half of it was gone. " + AFTER),  # FakeRuntime is degraded by `half`
}


@dataclass(frozen=True)
class Shown:
    """What the official client saw of one stream."""

    text: str
    error: openai.APIError | None


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def upstream() -> AsyncIterator[Upstream]:
    """The LLM's server."""
    async with Upstream(dict(SCRIPTS)).running() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(upstream: Upstream) -> Iterator[str]:
    """The proxy's address; Weir stands behind it, with a key."""
    keys = f"litellm:{hashlib.sha256(KEY.encode()).hexdigest()}"
    with (
        Running(WEIR_API_KEYS=keys) as weir,
        proxying(configuration(weir.url, KEY, upstream.url, iter(SCRIPTS))) as url,
    ):
        yield url


@pytest_asyncio.fixture(loop_scope="module")
async def client(proxy: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, of which only the base URL is changed."""
    async with openai.AsyncOpenAI(base_url=f"{proxy}/v1", api_key=PROXY_KEY, max_retries=0) as made:
        yield made


async def stream(client: openai.AsyncOpenAI, model: str, guardrail: str, prompt: str = "Tell me.") -> Shown:
    text, error = "", None
    try:
        async with await client.chat.completions.create(
            model=model,
            stream=True,
            messages=[{"role": "user", "content": prompt}],
            extra_body={"guardrails": [guardrail]},
        ) as chunks:
            async for chunk in chunks:
                text += "".join(choice.delta.content or "" for choice in chunk.choices)
    except openai.APIError as found:
        error = found
    return Shown(text, error)


@pytest.mark.parametrize("guardrail", ["weir", "block-only", "redact"])
async def test_a_clean_stream_is_what_the_upstream_wrote(client: openai.AsyncOpenAI, guardrail: str) -> None:
    shown = await stream(client, "clean", guardrail)
    assert (shown.text, shown.error) == (CLEAN, None)


async def test_by_default_litellm_shows_what_is_then_blocked(client: openai.AsyncOpenAI) -> None:
    shown = await stream(client, "harm", "block-only")
    assert shown.error is not None
    assert shown.text.startswith(BEFORE) and len(shown.text) > len(BEFORE)  # the leak


async def test_with_our_configuration_nothing_of_it_is_shown(client: openai.AsyncOpenAI) -> None:
    shown = await stream(client, "harm", "weir")
    assert BEFORE.startswith(shown.text)
    assert shown.error is not None and "held back" in shown.error.message


async def test_a_redacted_stream_goes_on(client: openai.AsyncOpenAI) -> None:
    shown = await stream(client, "harm", "redact")
    assert shown.error is None
    assert "bomb" not in shown.text
    assert shown.text.startswith(BEFORE) and shown.text.endswith(AFTER)


@pytest.mark.parametrize("guardrail", ["weir", "block-only"])
async def test_a_blocked_prompt_never_reaches_the_upstream(
    client: openai.AsyncOpenAI, upstream: Upstream, guardrail: str
) -> None:
    before = len(upstream.sent.get("clean", ()))
    shown = await stream(client, "clean", guardrail, prompt="a bomb, please")
    assert isinstance(shown.error, openai.BadRequestError) and shown.text == ""
    assert "bomb" not in str(shown.error)
    assert len(upstream.sent.get("clean", ())) == before


async def test_an_image_is_blocked_while_images_are_not_judged(client: openai.AsyncOpenAI) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(
            model="clean",
            messages=[{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}],  # type: ignore[list-item]
            extra_body={"guardrails": ["weir"]},
        )
    assert "image" in refused.value.message


async def test_what_weir_cannot_judge_is_the_operators_choice(client: openai.AsyncOpenAI) -> None:
    closed = await stream(client, "half", "weir")
    assert closed.error is not None and BEFORE.startswith(closed.text)
    opened = await stream(client, "half", "fail-open")
    assert (opened.text, opened.error) == (SCRIPTS["half"].text, None)


async def test_a_wrong_key_lets_nothing_through(client: openai.AsyncOpenAI) -> None:
    shown = await stream(client, "clean", "wrong-key")
    assert shown.text == "" and shown.error is not None
