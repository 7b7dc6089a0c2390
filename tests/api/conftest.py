"""The application around a fake runtime, in process and as a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from service.app import create_app
from service.config import Settings
from tests.fake_runtime import FakeRuntime
from tests.running import Running


def client_of(runtime: FakeRuntime) -> httpx.AsyncClient:
    """An HTTP client whose other end is the application itself."""
    app = create_app(runtime.settings, runtime=runtime)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://weir")


@pytest.fixture
def runtime() -> FakeRuntime:
    """A runtime with default settings."""
    return FakeRuntime(Settings())


@pytest.fixture
async def client(runtime: FakeRuntime) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application around that runtime."""
    async with client_of(runtime) as made:
        yield made


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of `weir serve` in a process of its own, over uvicorn."""
    with Running() as running:
        yield running.url
