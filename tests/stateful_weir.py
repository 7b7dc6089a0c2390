"""`weir`, with a fake judge and real state: for tests that kill the process."""

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
from tests.state import StatefulFake, open_stateful_fake


@asynccontextmanager
async def open_runtime(
    settings: Settings, metrics: Metrics | None = None, *, stateful: bool = True
) -> AsyncIterator[StatefulFake]:
    """A runtime over the settings' own store."""
    async with open_stateful_fake(settings, metrics=metrics) as runtime:
        yield runtime


if __name__ == "__main__":
    wiring = ModuleType("service.wiring")
    wiring.open_runtime = open_runtime  # type: ignore[attr-defined]
    sys.modules["service.wiring"] = wiring
    sys.exit(main())
