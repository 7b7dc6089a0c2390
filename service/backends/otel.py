"""Spans of requests and stages for OpenTelemetry, exported over OTLP/HTTP. The extra `otel` has what it needs.

Owns the tracer, and what stands in a span: facts about a request, as in its log line. Refuses content: no text, no
header but traceparent, no address, no query, no exception's message. Where spans go and which are kept, the standard
OTEL_* variables say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service import __version__
from service.errors import WeirError
from service.types import Content, Finding, Stage

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_NAMES = {
    "route": "http.route",
    "status": "http.response.status_code",
    "code": "error.type",
    "id": "weir.request_id",
    "action": "weir.action",
    "chars": "weir.chars",
    "items": "weir.items",
}
Facts = Mapping[str, str | int | float]


class Tracing:
    """Makes spans. The provider is its own, not the process's."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("weir", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[Callable[[Facts], None]]:
        """A request's span while it is answered; what is yielded takes the facts of its log line."""
        carrier = {n.decode("latin-1"): v.decode("latin-1") for n, v in headers if n in (b"traceparent", b"tracestate")}
        method = method if method in METHODS else "_OTHER"
        with self._tracer.start_as_current_span(
            method,
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method},
            record_exception=False,  # its message may quote the input
            set_status_on_exception=False,
        ) as span:

            def tell(facts: Facts) -> None:
                span.update_name(f"{method} {facts['route']}")
                span.set_attributes({_NAMES[name]: value for name, value in facts.items() if name in _NAMES})
                if int(facts["status"]) >= 500:
                    span.set_status(StatusCode.ERROR)

            yield tell

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage's span while it runs."""
        with self._tracer.start_as_current_span(
            f"stage {name}",
            attributes={"weir.stage": name},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_attribute("error.type", error.code if isinstance(error, WeirError) else type(error).__name__)
                span.set_status(StatusCode.ERROR)
                raise

    def around(self, stage: Stage) -> TracedStage:
        """The stage, with a span around each look."""
        return TracedStage(stage, self)

    async def close(self) -> None:
        """Export what is left."""
        await asyncio.to_thread(self._provider.shutdown)


class TracedStage:
    """A stage with a span around each look."""

    def __init__(self, stage: Stage, tracing: Tracing) -> None:
        self._stage = stage
        self._tracing = tracing

    @property
    def name(self) -> str:
        """The stage's own."""
        return self._stage.name

    async def inspect(self, content: Content, so_far: Sequence[Finding]) -> list[Finding]:
        """What the stage finds."""
        with self._tracing.stage(self._stage.name):
            return await self._stage.inspect(content, so_far)


def open_tracing() -> Tracing:
    """Spans to where OTEL_EXPORTER_OTLP_ENDPOINT says, under OTEL_SERVICE_NAME or `weir`."""
    own = Resource({SERVICE_NAME: "weir", SERVICE_VERSION: __version__})
    # Not Resource.create: its default name, `unknown_service`, would win over ours.
    provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)
