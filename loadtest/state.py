"""What feedback's state costs: receipts on the hot path, durable writes, and how fast two replicas agree.

    python -m loadtest.state [redis://host:port/0]

Owns these figures. Refuses to judge them. Over the shipped artefact; with an address, the store is that Redis, which is
emptied of nothing: give it one of your own.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from service.config import Settings
from service.feedback.desk import Opinion
from service.runtime import Runtime
from service.types import Content
from service.wiring import open_runtime

TEXT = "The ferry left at nine, and nobody on the pier knew when the next one would come. " * 5  # 400 characters
CALLS = 2_000
WRITES = 300
SWAPS = 20


async def main() -> None:
    """Measure and print."""
    url = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.model_validate(
            {"data_dir": Path(folder), "store_url": url, "secret": "a secret of the benchmark's own", "threads": 1}
        )
        async with open_runtime(settings) as one, open_runtime(settings) as other:
            print(f"store: {'redis' if url else 'sqlite'}")
            await _hot_path(one)
            await _writes(one)
            await _swaps(one, other)


async def _hot_path(runtime: Runtime) -> None:
    content = Content(TEXT, explain=False)
    verdict = await runtime.pipeline.moderate(content)
    assert runtime.ledger is not None
    samples: list[float] = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        runtime.ledger.enter(content, verdict)
        samples.append(time.perf_counter() - begun)
    issued: list[float] = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        runtime.ledger.receipts.issue(
            content, verdict, made=begun, identity=os.urandom(12), audited=False, audit_share=0.01
        )
        issued.append(time.perf_counter() - begun)
    judged: list[float] = []
    for _ in range(50):
        begun = time.perf_counter()
        await runtime.pipeline.moderate(content)
        judged.append(time.perf_counter() - begun)
    print(f"receipt alone, 400 characters: {statistics.median(issued) * 1e6:.1f} us")
    print(f"receipt, count and draw: {statistics.median(samples) * 1e6:.1f} us")
    print(f"the verdict itself, in process: {statistics.median(judged) * 1e6:.0f} us")


async def _writes(runtime: Runtime) -> None:
    entries = []
    for n in range(WRITES * 2):
        verdict = await runtime.moderate(Content(f"tea {n}", explain=False))
        entries.append(runtime.feedback.on_receipt(runtime.feedback.open(verdict.receipt), Opinion("bench", False)))
    samples: list[float] = []
    for entry in entries[:WRITES]:
        begun = time.perf_counter()
        await runtime.feedback.record([entry])
        samples.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    await runtime.feedback.record(entries[WRITES:])
    print(f"one durable feedback: median {statistics.median(samples) * 1e3:.1f} ms, worst {max(samples) * 1e3:.1f} ms")
    print(f"{WRITES} in one call: {(time.perf_counter() - begun) * 1e3:.0f} ms")


async def _swaps(one: Runtime, other: Runtime) -> None:
    samples: list[float] = []
    for n in range(SWAPS):
        lines = one.versions.lines("default")
        lines["hate"] = (0.30 + n / 1000, 0.65, 0.85)
        await one.versions.set_lines("default", lines, author="bench", reason="put")
        begun = time.perf_counter()  # from here on the writer itself decides by the new lines
        while other.policies.get("default").version != one.policies.get("default").version:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        samples.append(time.perf_counter() - begun)
        await asyncio.sleep(0.037 * (n % 7))
    print(f"the other replica follows after: median {statistics.median(samples):.3f} s, worst {max(samples):.3f} s")


if __name__ == "__main__":
    asyncio.run(main())
