"""The upstreams that settings name, and the client that reaches them.

Owns their assembly. Refuses to know dialects and requests.
"""

from __future__ import annotations

from collections.abc import Sized
from contextlib import AsyncExitStack

from pydantic import SecretStr

from service.backends.upstream import CONNECTIONS, Upstream, UpstreamClient, UpstreamKind
from service.config import Settings
from service.environment import read_secret
from service.upstream_files import read_upstreams

FIRST_BYTE_S = 120.0  # for which an upstream may think before it answers
STALL_S = 60.0  # between two pieces of an answer


def load_upstreams(settings: Settings) -> dict[tuple[UpstreamKind, str], Upstream]:
    """The upstreams that are configured, by dialect and name; an address may end in /v1, as clients write it."""
    defaults: tuple[tuple[UpstreamKind, str | None, SecretStr | None], ...] = (
        ("openai", settings.upstream_openai, settings.upstream_openai_key),
        ("anthropic", settings.upstream_anthropic, settings.upstream_anthropic_key),
    )
    found = [
        Upstream("default", kind, url.rstrip("/").removesuffix("/v1"), key.get_secret_value() if key else "")
        for kind, url, key in defaults
        if url is not None
    ]
    named = read_upstreams(settings.upstreams, read_secret) if settings.upstreams else []
    return {(upstream.kind, upstream.name): upstream for upstream in (*found, *named)}


def open_client(stack: AsyncExitStack, upstreams: Sized, most_streams: int) -> UpstreamClient | None:
    """A client that `stack` closes, where there is an upstream to reach, with a connection for each stream."""
    if not upstreams:
        return None
    client = UpstreamClient(first_byte_s=FIRST_BYTE_S, stall_s=STALL_S, connections=max(CONNECTIONS, most_streams))
    stack.push_async_callback(client.close)
    return client
