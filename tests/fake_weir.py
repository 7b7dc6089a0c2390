"""`weir`, with a fake runtime where the model would be: for tests that need a process of its own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from service.cli import main
from service.config import Settings
from service.metrics import Metrics
from service.policy import PolicyBook
from service.stream_rules import StreamRules
from tests.fake_runtime import FakeRuntime


@asynccontextmanager
async def open_runtime(
    settings: Settings, metrics: Metrics | None = None, *, stateful: bool = True
) -> AsyncIterator[FakeRuntime]:
    """A runtime that says when it was closed."""
    runtime = FakeRuntime(settings, metrics or Metrics())
    book = runtime.policies.policies
    masked = replace(book["default"], name="masked", version="masked-1", stream=StreamRules(mode="redact"))
    runtime.policies = PolicyBook({**book, "masked": masked})
    try:
        yield runtime
    finally:
        print("runtime closed", file=sys.stderr)


if __name__ == "__main__":
    wiring = ModuleType("service.wiring")
    wiring.open_runtime = open_runtime  # type: ignore[attr-defined]
    sys.modules["service.wiring"] = wiring
    sys.exit(main())
