"""`weir`, with a fake runtime where the model would be: for tests that need a process of its own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from service.cli import main
from service.config import Settings
from service.metrics import Metrics
from tests.fake_runtime import FakeRuntime


@asynccontextmanager
async def open_runtime(
    settings: Settings, metrics: Metrics | None = None, *, stateful: bool = True
) -> AsyncIterator[FakeRuntime]:
    """A runtime that says when it was closed."""
    try:
        yield FakeRuntime(settings, metrics or Metrics())
    finally:
        print("runtime closed", file=sys.stderr)


if __name__ == "__main__":
    wiring = ModuleType("service.wiring")
    wiring.open_runtime = open_runtime  # type: ignore[attr-defined]
    sys.modules["service.wiring"] = wiring
    sys.exit(main())
