"""Spans of requests and stages: their tree, their facts, and nothing of what was written."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.app import create_app
from service.backends import otel
from service.backends.otel import Tracing
from service.config import Settings
from service.errors import StartRefused
from service.wiring import open_runtime
from tests.api.conftest import client_of
from tests.fake_runtime import FakeRuntime

SECRET = "xyzzy plugh"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What was exported."""
    exporter = InMemorySpanExporter()
    yield exporter
    exporter.shutdown()


@pytest.fixture
def tracing(spans: InMemorySpanExporter) -> Tracing:
    """Exports at once."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Tracing(provider)


def everything(found: tuple[ReadableSpan, ...]) -> str:
    return " ".join(span.to_json() for span in found)


async def test_a_request_and_its_stages_are_one_tree_without_content(
    tracing: Tracing, spans: InMemorySpanExporter, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otel, "open_tracing", lambda: tracing)
    settings = Settings(model_dir=tiny_folder, data_dir=tmp_path, threads=1, otel="on")
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with open_runtime(settings) as runtime:
        spans.clear()  # of the start's own batch
        transport = httpx.ASGITransport(create_app(settings, runtime=runtime))
        async with httpx.AsyncClient(transport=transport, base_url="http://weir") as client:
            body = {"input": f"{SECRET} you glorp", "context": [{"role": "user", "content": SECRET}]}
            headers = {"traceparent": parent, "X-Request-Id": "plugh", "X-Weir-Key": SECRET}
            reply = await client.post(f"/v1/moderate?note={SECRET}", json=body, headers=headers)
            assert reply.status_code == 200
            await client.get("/livez")
    found = spans.get_finished_spans()
    (request,) = (span for span in found if span.name == "POST /v1/moderate")
    stages = {span.name for span in found} - {request.name}
    assert stages == {"stage semantic", "stage keyword", "stage context"}
    assert {span.parent.span_id for span in found if span is not request and span.parent} == {request.context.span_id}
    assert f"{request.context.trace_id:032x}" == parent.split("-")[1]
    facts = dict(request.attributes or {})
    assert facts.pop("weir.request_id", "").startswith("sha256:")  # type: ignore[union-attr,arg-type]
    assert facts == {
        **{"http.request.method": "POST", "http.route": "/v1/moderate", "http.response.status_code": 200},
        **{"weir.action": "block", "weir.chars": len(body["input"])},
    }
    assert not any(word in everything(found) for word in (*SECRET.split(), "glorp"))


@pytest.mark.parametrize(
    ("text", "status", "code"), [("surprise", 500, "internal_error"), ("overload", 429, "overloaded")]
)
async def test_a_failure_is_named_and_its_message_is_not(
    tracing: Tracing, spans: InMemorySpanExporter, text: str, status: int, code: str
) -> None:
    runtime = FakeRuntime()
    runtime.tracing = tracing
    async with client_of(runtime) as client:
        reply = await client.request("POST", "/v1/moderate", json={"input": f"{text} {SECRET}"})
    (span,) = spans.get_finished_spans()
    assert reply.status_code == status
    assert dict(span.attributes or {})["error.type"] == code
    assert span.status.is_ok is not (status >= 500)
    assert "xyzzy" not in everything((span,)) and not span.events


async def test_a_stage_that_fails_is_named_by_its_error(tracing: Tracing, spans: InMemorySpanExporter) -> None:
    class Failing:
        name = "semantic"

        async def inspect(self, content: Any, so_far: Any) -> list[Any]:
            raise ValueError(SECRET)

    with pytest.raises(ValueError, match="xyzzy"):
        await tracing.around(Failing()).inspect(None, ())  # type: ignore[arg-type]
    (span,) = spans.get_finished_spans()
    assert json.loads(span.to_json())["attributes"] == {"weir.stage": "semantic", "error.type": "ValueError"}
    assert "xyzzy" not in everything((span,))


async def test_without_the_extra_the_start_says_what_to_install(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "service.backends.otel", None)
    with pytest.raises(StartRefused, match="otel"):
        async with open_runtime(Settings(model_dir=tiny_folder, data_dir=tmp_path, otel="on")):
            raise AssertionError("it started")


async def test_it_opens_and_closes_with_nobody_listening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    opened = otel.open_tracing()
    assert opened._provider.resource.attributes["service.name"] == "mine"
    await opened.close()
