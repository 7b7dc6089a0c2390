"""Fetches an image from a host that is allowed, and from nowhere else.

Owns the way from an address to bytes: a name is resolved once, every address that it leads to must be public, and the
connection goes to one of those, so that a name which leads elsewhere a moment later changes nothing. A redirect starts
the same way anew. No proxy of the environment, no cookie, no key, no compressed body; bytes and time are bounded.
Refuses to know what the bytes are. What becomes of each fetch is counted; addresses are in no log and no error.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address

import httpcore

from service import __version__
from service.images.addresses import Address, Target, follow, is_public, read_address
from service.images.errors import ImageNotFetched, ImageTooLarge, ImageUrlRefused
from service.metrics import Metrics

MOST_REDIRECTS = 3
MOST_AT_ONCE = 16  # further ones wait, within their own time
RESOLVERS = 4  # threads: a name server that does not answer holds one for as long as it likes
REDIRECTS = (301, 302, 303, 307, 308)
_HEADERS = [
    (b"User-Agent", f"weir/{__version__}".encode("ascii")),
    (b"Accept", b"image/jpeg, image/png, image/webp, image/gif"),
    (b"Accept-Encoding", b"identity"),
    (b"Connection", b"close"),
]

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to names by way of addresses that were looked at; the name stays for TLS and the Host header."""

    def __init__(self, resolve: Resolve, network: httpcore.AsyncNetworkBackend) -> None:
        self._resolve, self._network = resolve, network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that the name leads to; raises ImageUrlRefused and httpcore's errors."""
        addresses = await self._resolve(host, port)
        if not addresses:
            raise httpcore.ConnectError
        # One private address among public ones is no mistake that an honest host makes.
        if not all(is_public(address) for address in addresses):
            raise ImageUrlRefused("This host leads to a network that is not public.")
        return await self._network.connect_tcp(str(addresses[0]), port, timeout=timeout)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises ConnectError: there is no image behind a socket of this machine."""
        raise httpcore.ConnectError


class Fetcher:
    """Fetches images. To be closed on the event loop that it was used on."""

    def __init__(
        self,
        hosts: Sequence[str],
        metrics: Metrics,
        *,
        most_bytes: int,
        within_s: float,
        resolve: Resolve | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`within_s`: for the whole of one fetch, redirects and names included. `network` is only given addresses."""
        self._hosts = tuple(hosts)
        self._metrics = metrics
        self._most_bytes, self._within_s = most_bytes, within_s
        self._threads = ThreadPoolExecutor(RESOLVERS, "weir-names")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or httpcore.default_ssl_context(),
            max_connections=MOST_AT_ONCE,
            max_keepalive_connections=0,
            network_backend=_Guarded(resolve or self._resolve, network or httpcore.AnyIOBackend()),
        )

    async def fetch(self, url: str) -> bytes:
        """The bytes at an address; raises ImageUrlRefused, ImageNotFetched and ImageTooLarge."""
        try:
            async with asyncio.timeout(self._within_s):
                data = await self._follow(read_address(url, self._hosts))
        except (ImageUrlRefused, ImageTooLarge, ImageNotFetched) as error:
            self._metrics.image_fetches.labels(error.code).inc()
            raise
        except (TimeoutError, OSError, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
            self._metrics.image_fetches.labels(ImageNotFetched.code).inc()
            raise ImageNotFetched("No image came from this address in time.") from None
        self._metrics.image_fetches.labels("fetched").inc()
        return data

    async def close(self) -> None:
        """Close every connection, and wait for no name."""
        await self._pool.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _follow(self, target: Target) -> bytes:
        for _ in range(MOST_REDIRECTS + 1):
            found = await self._ask(target)
            if isinstance(found, bytes):
                return found
            target = follow(target, found, self._hosts)
        raise ImageNotFetched("The address leads through too many redirects.")

    async def _ask(self, target: Target) -> bytes | str:
        """The body, or where a redirect leads."""
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path.encode("ascii"))
        headers = [(b"Host", target.host.encode("ascii")), *_HEADERS]
        async with self._pool.stream("GET", url, headers=headers) as response:
            given = {name.lower(): value for name, value in response.headers}
            if response.status in REDIRECTS:
                return given.get(b"location", b"").decode("latin-1")
            if response.status != 200 or given.get(b"content-encoding", b"identity").lower() != b"identity":
                raise ImageNotFetched("The address does not answer with an image.")
            if int(given.get(b"content-length", b"0")) > self._most_bytes:
                raise ImageTooLarge(f"The image is over {self._most_bytes} bytes.")
            body = bytearray()
            async for piece in response.aiter_stream():
                body += piece
                if len(body) > self._most_bytes:
                    raise ImageTooLarge(f"The image is over {self._most_bytes} bytes.")
            return bytes(body)

    async def _resolve(self, host: str, port: int) -> Sequence[Address]:
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [ip_address(entry[4][0]) for entry in found]
