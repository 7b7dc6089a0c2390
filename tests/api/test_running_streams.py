"""Relayed replies as a whole: counted, bounded, audited, entered once, revised, and ended when the process drains."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import openai
import pytest

from service.app import create_app
from service.backends.upstream import Upstream, UpstreamKind
from service.config import Settings
from service.policy import PolicyBook
from service.stream_rules import StreamRules
from service.types import Content, Verdict
from service.wiring import load_upstreams
from tests.api.test_relay import CALM, FakeModel, RelayRuntime, Served


@dataclass
class NamedRuntime(RelayRuntime):
    """A fake runtime with configured upstreams, beside the default one."""

    named: dict[tuple[UpstreamKind, str], Upstream] = field(default_factory=dict)

    def upstream(self, kind: UpstreamKind, name: str) -> Upstream:
        return self.named.get((kind, name)) or super().upstream(kind, name)


@dataclass
class Line:
    """A client, the gateway's runtime and the model behind it."""

    client: openai.OpenAI
    runtime: NamedRuntime
    model: FakeModel

    def value(self, name: str, **labels: str) -> float:
        return self.runtime.metrics.registry.get_sample_value(name, labels) or 0.0

    def awaited(self, name: str, wanted: float, **labels: str) -> float:
        """A series' value, once it has got there: what follows a reply comes after its last byte."""
        until = time.monotonic() + 5
        while self.value(name, **labels) != wanted and time.monotonic() < until:
            time.sleep(0.01)
        return self.value(name, **labels)

    def reply(self, model: str, prompt: str = "Hello?") -> list[Any]:
        return list(self.client.responses.create(model=model, input=prompt, stream=True))


@contextmanager
def line(rules: StreamRules | None = None, **settings: Any) -> Iterator[Line]:
    model = FakeModel()
    runtime = NamedRuntime(Settings(**settings))
    if rules is not None:
        policies = {name: replace(policy, stream=rules) for name, policy in runtime.policies.policies.items()}
        runtime.policies = PolicyBook(policies)
    upstream = Served(model)
    weir = Served(create_app(runtime.settings, runtime=runtime), runtime.upstream_client.close)
    runtime.url = upstream.url
    try:
        with openai.OpenAI(base_url=f"{weir.url}/v1", api_key="theirs", max_retries=0) as client:
            yield Line(client, runtime, model)
    finally:
        weir.stop()
        upstream.stop()


def test_ends_stops_errors_and_times_are_counted() -> None:
    with line() as one:
        for model in ("m", "harm", "cut"):
            one.reply(model)
        with pytest.raises(openai.RateLimitError):
            one.reply("refused")
        one.reply("m", "a threat")
        for end, wanted in (("finished", 1), ("stopped", 2), ("failed", 2)):
            assert one.awaited("weir_streams_total", wanted, dialect="responses", end=end) == wanted
        for part in ("prompt", "reply"):
            assert one.value("weir_stream_stops_total", part=part, category="harassment") == 1
        for kind in ("cut", "refused"):
            assert one.value("weir_upstream_errors_total", dialect="responses", kind=kind) == 1
        assert one.value("weir_stream_first_text_seconds_count", dialect="responses") >= 2
        assert one.value("weir_stream_hold_seconds_count") == one.value("weir_stream_held_characters_count") > 3
        reading = one.client.responses.create(model="stall", input="Hello?", stream=True)
        next(iter(reading))
        assert one.value("weir_streams_in_flight") == 1
        reading.close()
        assert one.awaited("weir_streams_total", 1, dialect="responses", end="left") == 1
        assert one.awaited("weir_streams_in_flight", 0) == 0


def test_a_reply_is_entered_once_and_told_at_its_end() -> None:
    with line() as one:
        before = len(one.runtime.entered)
        last = one.reply("m")[-1].response
        assert last.to_dict()["x_weir"]["action"] == "allow" and last.to_dict()["x_weir"]["receipt"] == "receipt"
        assert len(one.runtime.entered) == before + 1
        assert one.reply("harm")[-1].response.to_dict()["x_weir"]["action"] == "block"
        assert len(one.runtime.entered) == before + 2 and "threat" in one.runtime.entered[-1].text
        whole = one.client.responses.create(model="m", input="Hello?")
        assert whole.to_dict()["x_weir"]["action"] == "allow"  # type: ignore[index]


def test_one_stream_too_many_is_refused_before_the_upstream() -> None:
    with line(max_streams=1) as one:
        reading = one.client.responses.create(model="stall", input="Hello?", stream=True)
        next(iter(reading))
        asked = len(one.model.asked)
        with pytest.raises(openai.RateLimitError) as caught:
            one.reply("m")
        assert caught.value.response.headers["retry-after"] and len(one.model.asked) == asked
        reading.close()
        assert one.awaited("weir_streams_in_flight", 0) == 0
        assert one.reply("m")[-1].type == "response.completed"


def test_draining_ends_a_stream_explicitly() -> None:
    with line(drain_s=0, request_budget_s=0.1) as one:
        reading = one.client.responses.create(model="stall", input="Hello?", stream=True)
        events = iter(reading)
        next(events)
        one.runtime.draining = True
        last = list(events)[-1]
        assert (last.type, last.response.error.code) == ("response.failed", "draining")


def test_a_named_upstream_is_asked_with_its_own_key() -> None:
    with line() as one:
        text = f'far = {{url = "{one.runtime.url}/v1", kind = "openai"}}'
        one.runtime.named = load_upstreams(Settings(upstreams=text))
        there = one.client.with_options(base_url=str(one.client.base_url).replace("/v1", "/u/far/v1"))
        assert there.responses.create(model="m", input="Hello?").output_text == CALM * 2
        assert one.model.asked[-1][1]["authorization"] == "Bearer theirs"


def test_a_revision_leaves_instead_of_what_is_held_back() -> None:
    async def revise(content: Content, verdict: Verdict) -> str | None:
        return "Kind words. "

    async def decline(content: Content, verdict: Verdict) -> str | None:
        return None

    with line(StreamRules(mode="revise")) as one:
        one.runtime.revise = revise
        last = one.reply("harm")[-1]
        assert last.type == "response.completed" and "Kind words." in last.response.output_text
        assert "threat" not in last.response.output_text
        one.runtime.revise = decline
        assert one.reply("harm")[-1].type == "response.incomplete"


@pytest.mark.parametrize(
    ("rules", "leaked"),
    [(StreamRules(hold_ms=0), 0), (StreamRules(hold_ms=0, segment_chars=40, overlap_chars=0), len("threat"))],
)
def test_an_audit_finds_what_leaves_where_nothing_overlaps(rules: StreamRules, leaked: int) -> None:
    with line(rules, stream_audit_share=1) as one:
        last = one.reply("split")[-1]
        assert (last.type == "response.completed") is (leaked > 0)
        end = "leaked" if leaked else "clean"
        assert one.awaited("weir_stream_audits_total", 1, end=end) == 1
        assert one.value("weir_stream_leaked_characters_total") == leaked


@pytest.mark.parametrize("beside", [False, True])
def test_a_reply_is_judged_beside_its_prompt_where_the_policy_says_so(beside: bool) -> None:
    with line(StreamRules(judge_in_context=beside)) as one:
        one.runtime.seen.clear()
        one.reply("m")
        replies = [content for content in one.runtime.seen if content.role == "assistant"]
        assert replies and all(bool(content.context) is beside for content in replies)
