"""The upstreams that settings name, and the client that reaches them.

Owns their assembly. Refuses to know dialects and requests.
"""

from __future__ import annotations

from collections.abc import Sized
from contextlib import AsyncExitStack

from service.backends.upstream import Upstream, UpstreamClient, UpstreamKind
from service.config import Settings

FIRST_BYTE_S = 120.0  # for which an upstream may think before it answers
STALL_S = 60.0  # between two pieces of an answer


def load_upstreams(settings: Settings) -> dict[tuple[UpstreamKind, str], Upstream]:
    """The upstreams that are configured, by dialect and name; an address may end in /v1, as clients write it."""
    addresses: tuple[tuple[UpstreamKind, str | None], ...] = (
        ("openai", settings.upstream_openai),
        ("anthropic", settings.upstream_anthropic),
    )
    return {
        (kind, "default"): Upstream("default", kind, address.rstrip("/").removesuffix("/v1"))
        for kind, address in addresses
        if address is not None
    }


def open_client(stack: AsyncExitStack, upstreams: Sized) -> UpstreamClient | None:
    """A client that `stack` closes, where there is an upstream to reach."""
    if not upstreams:
        return None
    client = UpstreamClient(first_byte_s=FIRST_BYTE_S, stall_s=STALL_S)
    stack.push_async_callback(client.close)
    return client
