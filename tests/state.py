"""The application with real state: over the tiny artefact, or, where the model is beside the point, a fake judge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from service.app import create_app
from service.config import Settings
from service.feedback_parts import build_state, open_keep, start_loops
from service.metrics import Metrics
from service.policy import LivePolicies, PolicyBook, name_version
from service.runtime import Runtime
from service.types import Content, Verdict
from service.wiring import open_runtime
from tests.fake_runtime import FakeRuntime

DIGEST = "0" * 64


@dataclass
class StatefulFake(FakeRuntime):
    """A fake judge whose verdicts are entered, and whose thresholds have versions."""

    versions: Any = None
    tuning: Any = None
    ledger: Any = None
    loops: Any = None

    async def moderate(self, content: Content) -> Verdict:
        """Judge one text, count and enter it."""
        verdict: Verdict = self.ledger.enter(content, await super().moderate(content))
        return verdict


@dataclass
class Replica:
    """One process's worth of Weir, in this process."""

    runtime: Runtime | StatefulFake
    client: httpx.AsyncClient

    async def moderate(self, text: str, **more: Any) -> dict[str, Any]:
        """A verdict in the native shape."""
        reply = await self.client.post("/v1/moderate", json={"input": text, **more})
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    async def tag(self, policy: str = "default") -> str:
        """The ETag in force."""
        return (await self.client.get(f"/v1/policies/{policy}")).headers["etag"]

    async def put(self, tag: str | None, policy: str = "default", **lines: dict[str, float]) -> httpx.Response:
        """Set thresholds; category names have `_` for `/` and `-`."""
        headers = {} if tag is None else {"If-Match": tag}
        return await self.client.put(f"/v1/policies/{policy}/thresholds", json={"categories": lines}, headers=headers)


@asynccontextmanager
async def replica(artifact: Path, data: Path, **settings: Any) -> AsyncIterator[Replica]:
    """Open a whole one; several over the same `data` are workers of one host."""
    made = Settings(model_dir=artifact, data_dir=data, threads=1, **settings)
    async with open_runtime(made) as runtime, _client(made, runtime) as client:
        yield Replica(runtime, client)


@asynccontextmanager
async def open_stateful_fake(
    settings: Settings, *, digest: str = DIGEST, metrics: Metrics | None = None
) -> AsyncIterator[StatefulFake]:
    """A runtime whose judge is fake and whose state is real."""
    runtime = StatefulFake(settings, metrics or Metrics())
    named = {name: replace(p, version=name_version(p, digest)) for name, p in runtime.policies.policies.items()}
    live = LivePolicies(PolicyBook(named))
    runtime.policies = live  # type: ignore[assignment]
    async with AsyncExitStack() as stack:
        keep = await open_keep(stack, settings)
        state = build_state(keep, settings, runtime.metrics, live, runtime.judge, (runtime.model, digest))
        runtime.feedback, runtime.versions = state.feedback, state.versions  # type: ignore[assignment]
        runtime.tuning, runtime.ledger, runtime.loops = state.tuning, state.ledger, state.loops
        await start_loops(stack, state)
        yield runtime


@asynccontextmanager
async def fake_replica(data: Path, *, digest: str = DIGEST, **settings: Any) -> AsyncIterator[Replica]:
    """The same without a model: `what an insult` is harassment at 0.9 under lines of 0.4, 0.6 and 0.8."""
    made = Settings(data_dir=data, **settings)
    async with open_stateful_fake(made, digest=digest) as runtime, _client(made, runtime) as client:
        yield Replica(runtime, client)


def _client(settings: Settings, runtime: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(settings, runtime=runtime))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
