"""The real application over the tiny artefact and a store of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from service.app import create_app
from service.config import Settings
from service.wiring import Runtime, open_runtime


@dataclass
class Replica:
    """One process's worth of Weir, in this process."""

    runtime: Runtime
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
        return await self.client.put(
            f"/v1/policies/{policy}/thresholds", json={"categories": lines}, headers=headers
        )


@asynccontextmanager
async def replica(artifact: Path, data: Path, **settings: Any) -> AsyncIterator[Replica]:
    """Open one; several over the same `data` are workers of one host."""
    made = Settings(model_dir=artifact, data_dir=data, threads=1, **settings)
    async with open_runtime(made) as runtime:
        app = create_app(made, runtime=runtime)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Replica(runtime, client)
