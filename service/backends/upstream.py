"""Language models' servers behind Weir: a request goes out, bytes come back, and every fault has one name.

Owns connections, time limits and the headers that may pass. Refuses to know dialects. Nothing that an upstream says
stands in an exception: it may quote the prompt.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Literal

import httpx

UpstreamKind = Literal["openai", "anthropic"]
FaultKind = Literal["connect", "timeout", "stall", "broken", "too_large", "malformed", "ended"]
FAULTS: tuple[FaultKind, ...] = ("connect", "timeout", "stall", "broken", "too_large", "malformed", "ended")

CONNECT_S = 5.0
TRIES = 2  # of connecting; what was sent once is never sent again
CONNECTIONS = 256  # unless more streams than that may run
_PASSED = ("accept", "user-agent", "x-request-id")
_PASSED_FAMILIES = ("openai-", "anthropic-", "x-stainless-")


class UpstreamFault(Exception):
    """An upstream that did not do its part. `kind` is one of FAULTS."""

    def __init__(self, kind: FaultKind) -> None:
        super().__init__(f"upstream: {kind}")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a dialect's requests go. `base_url` ends before `/v1`; `key` is used where the caller brought none.

    Its own time limits go before the client's.
    """

    name: str
    kind: UpstreamKind
    base_url: str = field(repr=False)
    key: str = field(default="", repr=False)
    first_byte_s: float | None = None
    stall_s: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status, the media type, and a body that is still to be read."""

    status: int
    media_type: str
    retry_after: str
    pieces: AsyncIterator[bytes] = field(repr=False)


class UpstreamClient:
    """Sends requests over pooled connections. Must be closed on the event loop that it was used on."""

    def __init__(self, *, first_byte_s: float, stall_s: float, connections: int = CONNECTIONS) -> None:
        """`first_byte_s` for an answer to begin, `stall_s` between two pieces of it."""
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                retries=TRIES - 1,  # of connecting only
                limits=httpx.Limits(max_connections=connections, max_keepalive_connections=CONNECTIONS // 4),
            ),
            timeout=httpx.Timeout(connect=CONNECT_S, read=first_byte_s, write=first_byte_s, pool=CONNECT_S),
            follow_redirects=False,
            trust_env=False,
            # All callers share this client: what an upstream sets for one must not go out with another's request.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        self._stall_s = stall_s

    @asynccontextmanager
    async def send(
        self, upstream: Upstream, path: str, headers: Mapping[str, str], body: bytes
    ) -> AsyncIterator[Answer]:
        """POST `body`; the connection is closed on leaving, read to its end or not. Raises UpstreamFault."""
        # As bytes, as they came: httpx takes text for ASCII, and a caller's own name need not be.
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        request = self._client.build_request("POST", upstream.base_url + path, headers=raw, content=body)
        request.extensions["timeout"]["read"] = upstream.first_byte_s or self._client.timeout.read
        try:
            response = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise UpstreamFault(_kind(error, "timeout")) from None
        request.extensions["timeout"]["read"] = upstream.stall_s or self._stall_s
        try:
            yield Answer(
                response.status_code,
                response.headers.get("content-type", "").partition(";")[0].strip().lower(),
                response.headers.get("retry-after", ""),
                _pieces(response),
            )
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()


async def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in response.aiter_bytes():
            yield piece
    except httpx.HTTPError as error:
        raise UpstreamFault(_kind(error, "stall")) from None


def _kind(error: httpx.HTTPError, late: FaultKind) -> FaultKind:
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
        return "connect"
    if isinstance(error, httpx.TimeoutException):
        return late
    return "malformed" if isinstance(error, httpx.DecodingError) else "broken"


def passed_headers(headers: Iterable[tuple[str, str]], upstream: Upstream, *, spent: frozenset[str]) -> dict[str, str]:
    """What of a caller's headers goes on, with the upstream's key where the caller brought none of its own.

    `spent` names the headers that held Weir's own key: they never go on.
    """
    given = {name.lower(): value for name, value in headers}
    passed = {name: value for name, value in given.items() if name in _PASSED or name.startswith(_PASSED_FAMILIES)}
    bearer = given.get("authorization", "") if "authorization" not in spent else ""
    key = given.get("x-api-key", "") if "x-api-key" not in spent else ""
    key = key or (bearer[7:].strip() if bearer[:7].lower() == "bearer " else "") or upstream.key
    if key and upstream.kind == "anthropic":
        passed["x-api-key"] = key
    elif key:
        passed["authorization"] = f"Bearer {key}"
    # Not as the caller named it: under another charset the same bytes are another text than the one that was judged.
    passed |= {"content-type": "application/json", "accept-encoding": "gzip"}
    return passed
