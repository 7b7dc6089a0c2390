"""What the measurements of streams share: a Weir with an upstream behind it, long innocent texts, and quantiles.

Owns nothing that is measured. Refuses to know the scenarios. Upstream and clients run in the measuring process, on one
event loop: what Weir takes is read from the kernel, of Weir's own processes.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from loadtest.gateway import Gateway, running_gateway
from loadtest.stream_client import Reply, chat
from loadtest.table import Table
from loadtest.texts import neutral_texts
from loadtest.upstream import Script, Sent, Upstream

REST_S = 0.3  # for what was asked to settle, before the kernel is asked


@dataclass(slots=True)
class Rig:
    """One gateway, its upstream, and where figures go."""

    gateway: Gateway
    upstream: Upstream
    table: Table
    quick: bool
    _names: itertools.count[int] = field(default_factory=itertools.count)

    def name(self, script: Script) -> str:
        """A model name that the upstream answers with this script."""
        name = f"script-{next(self._names)}"
        self.upstream.scripts[name] = script
        return name

    async def asked(self, name: str, *, leave_after: int | None = None) -> Reply:
        """One stream through Weir, of the script with this name."""
        return await chat(f"{self.gateway.url}/v1", name, leave_after=leave_after)

    async def through(self, script: Script) -> tuple[Reply, Sent | None]:
        """One stream through Weir, and what the upstream says of it (None where it was not asked)."""
        name = self.name(script)
        reply = await self.asked(name)
        return reply, next(iter(self.upstream.sent.get(name, ())), None)

    async def direct(self, script: Script) -> Reply:
        """The same stream without Weir."""
        return await chat(self.upstream.url, self.name(script))

    async def action(self, text: str) -> str:
        """What Weir does with this text by itself, said by an assistant."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            answer = await client.post(f"{self.gateway.url}/v1/moderate", json={"input": text, "role": "assistant"})
        answer.raise_for_status()
        return str(answer.json()["action"])

    async def cpu_of(self, work: Awaitable[object]) -> float:
        """CPU seconds that Weir took while this was done."""
        await asyncio.sleep(REST_S)
        before = self.gateway.cpu_s()
        await work
        await asyncio.sleep(REST_S)
        return self.gateway.cpu_s() - before


Scenario = Callable[[Rig], Awaitable[None]]


@asynccontextmanager
async def running_rig(table: Table, *, quick: bool) -> AsyncIterator[Rig]:
    """An upstream and a Weir with the shipped model, warm."""
    async with Upstream({}).running() as upstream:
        with running_gateway(upstream_openai=upstream.url.removesuffix("/v1")) as gateway:
            rig = Rig(gateway, upstream, table, quick)
            await asyncio.gather(*(rig.through(Script(text, pack=4)) for text in neutral_texts(4, seed=1)))
            yield rig


def long_texts(count: int, chars: int, seed: int) -> list[str]:
    """`count` different innocent texts of about `chars` characters."""
    each = chars // 200 + 1
    parts = neutral_texts(count * each, seed)
    return [_cut(" ".join(parts[n * each : (n + 1) * each]), chars) for n in range(count)]


def check_whole(script: Script, reply: Reply) -> None:
    """Raise RuntimeError unless an innocent reply came through to its end."""
    if reply.end != "done" or reply.text != script.text:
        chars = f"{len(reply.text)} of {len(script.text)} characters"
        raise RuntimeError(f"an innocent reply ended with {reply.end}, {reply.finish}, after {chars}")


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _cut(text: str, chars: int) -> str:
    """The whole sentences of its first characters."""
    return text[: text.rfind(".", 0, chars) + 1] or text[:chars]
