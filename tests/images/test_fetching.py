"""Fetching an image: what comes from an allowed host comes whole, and no trick makes a connection to another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import httpcore
import pytest

from service.errors import BadInput
from service.images.addresses import Address
from service.images.errors import ImageNotFetched, ImageTooLarge, ImageUrlRefused
from service.images.fetching import Fetcher
from service.metrics import Metrics

PUBLIC = "93.184.216.34"
HOSTS = ("cdn.example.org", "*.img.example.net")
BODY = b"\x89PNG" + bytes(5000)
MOST_BYTES = 10_000


class Site:
    """A web server whose answer hangs on the path; it remembers requests."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.redirect = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        path = head.split(b" ")[1].decode()
        try:
            async for piece in self._answer(path):
                writer.write(piece)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _answer(self, path: str) -> AsyncIterator[bytes]:
        if path.startswith("/to"):
            yield b"HTTP/1.1 302 Found\r\nLocation: " + self.redirect + b"\r\nContent-Length: 0\r\n\r\n"
        elif path == "/slow":
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 5004\r\n\r\n"
            await asyncio.sleep(60)
        elif path == "/drip":
            yield b"HTTP/1.1 200 OK\r\n"
            while True:
                yield b"X-More: 1\r\n"
                await asyncio.sleep(0.01)
        elif path == "/endless":
            yield b"HTTP/1.1 200 OK\r\n\r\n"
            while True:
                yield bytes(4096)
        elif path == "/claims":
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
        elif path == "/gzip":
            yield b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
        elif path == "/gone":
            yield b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc"
        elif path == "/cut":
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 5004\r\n\r\nabc"
        elif path == "/nonsense":
            yield b"SSH-2.0-OpenSSH_9.6\r\n"
        else:
            yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


class Net(httpcore.AsyncNetworkBackend):
    """The network: one public address leads to the site; every other connection is remembered."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reached: list[str] = []
        self._real = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.reached.append(host)
        return await self._real.connect_tcp("127.0.0.1", self.port, timeout=timeout)


class Bench:
    """A fetcher whose names lead where the test says, in turn."""

    def __init__(self, site: Site, net: Net, fetcher: Fetcher, names: dict[str, list[list[str]]]) -> None:
        self.site, self.net, self.fetcher, self.names = site, net, fetcher, names


@asynccontextmanager
async def bench(within_s: float = 30.0) -> AsyncIterator[Bench]:
    site = Site()
    names: dict[str, list[list[str]]] = {"cdn.example.org": [[PUBLIC]]}
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    net = Net(server.sockets[0].getsockname()[1])

    async def resolve(host: str, port: int) -> Sequence[Address]:
        answers = names[host]
        return [ip_address(one) for one in (answers.pop(0) if len(answers) > 1 else answers[0])]

    fetcher = Fetcher(HOSTS, Metrics(), most_bytes=MOST_BYTES, within_s=within_s, resolve=resolve, network=net)
    try:
        yield Bench(site, net, fetcher, names)
    finally:
        await fetcher.close()
        server.close()


async def test_an_image_comes_whole_with_nothing_told_but_who_asks() -> None:
    async with bench() as b:
        assert await b.fetcher.fetch("http://cdn.example.org/a.png?x=1#y") == BODY
    assert b.net.reached == [PUBLIC]
    head = b.site.asked[0].lower()
    assert head.startswith(b"get /a.png?x=1 http/1.1\r\nhost: cdn.example.org\r\nuser-agent: weir/")
    assert not any(word in head for word in (b"cookie", b"authorization", b"referer", b"gzip"))


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with bench() as b:
        assert await b.fetcher.fetch("http://cdn.example.org/a.png") == BODY


async def test_a_redirect_among_allowed_hosts_is_followed_and_a_circle_is_not() -> None:
    async with bench() as b:
        b.names["x.img.example.net"] = [[PUBLIC]]
        b.site.redirect = b"http://x.img.example.net/a.png"
        assert await b.fetcher.fetch("http://cdn.example.org/to") == BODY
        b.site.redirect = b"/to"
        with pytest.raises(ImageNotFetched):
            await b.fetcher.fetch("http://cdn.example.org/to")
    assert len(b.site.asked) == 2 + 4


@pytest.mark.parametrize(
    ("path", "error"),
    [
        *(("/endless", ImageTooLarge), ("/claims", ImageTooLarge), ("/gzip", ImageNotFetched)),
        *(("/gone", ImageNotFetched), ("/cut", ImageNotFetched), ("/nonsense", ImageNotFetched)),
    ],
)
async def test_what_is_too_large_or_none_is_told(path: str, error: type[BadInput]) -> None:
    async with bench() as b:
        with pytest.raises(error) as caught:
            await b.fetcher.fetch(f"http://cdn.example.org{path}")
    assert "example" not in caught.value.message


@pytest.mark.parametrize("path", ["/slow", "/drip"])
async def test_a_host_that_takes_its_time_gets_no_more_of_it(path: str) -> None:
    async with bench(within_s=0.3) as b:
        with pytest.raises(ImageNotFetched):
            await b.fetcher.fetch(f"http://cdn.example.org{path}")


def leads_to(*addresses: str) -> Callable[[Bench], str]:
    """The name of an allowed host leads to these addresses, all at once."""

    def prepare(b: Bench) -> str:
        b.names["cdn.example.org"] = [list(addresses)]
        return "http://cdn.example.org/a.png"

    return prepare


def url(address: str) -> Callable[[Bench], str]:
    """An address as it was sent."""
    return lambda b: address


def redirected(location: str, *, secure: bool = False) -> Callable[[Bench], str]:
    """The allowed host sends on."""

    def prepare(b: Bench) -> str:
        b.site.redirect = location.encode("latin-1")
        return "http://cdn.example.org/to"

    return prepare


def changes(b: Bench) -> str:
    """The name leads to the site first, and inside after a redirect to itself: each connection looks for itself."""
    b.names["cdn.example.org"] = [[PUBLIC], ["127.0.0.1"]]
    b.site.redirect = b"http://cdn.example.org/a.png"
    return "http://cdn.example.org/to"


TRICKS: dict[str, Callable[[Bench], str]] = {
    "loopback": url("http://127.0.0.1/a.png"),
    "short loopback": url("http://127.1/"),
    "decimal host": url("http://2130706433/"),
    "octal host": url("http://0177.0.0.1/"),
    "hexadecimal host": url("http://0x7f000001/"),
    "mixed bases": url("http://0x7f.0.0.01/"),
    "nothing": url("http://0/"),
    "localhost": url("http://localhost/"),
    "localhost with a dot": url("http://localhost./"),
    "IPv6": url("http://[::1]/"),
    "IPv6 mapped": url("http://[::ffff:127.0.0.1]/"),
    "IPv6 unspecified": url("http://[::]/"),
    "metadata": url("http://169.254.169.254/latest/meta-data/"),
    "gopher": url("gopher://cdn.example.org:6379/_FLUSHALL"),
    "file": url("file:///etc/passwd"),
    "dict": url("dict://cdn.example.org:11211/stat"),
    "ldap": url("ldap://cdn.example.org/"),
    "credentials": url("http://cdn.example.org@127.0.0.1/"),
    "name and password": url("http://a:b@cdn.example.org/"),
    "backslash": url("http://cdn.example.org\\@127.0.0.1/"),
    "fragment before the host": url("http://127.0.0.1#@cdn.example.org/"),
    "query before the host": url("http://127.0.0.1?@cdn.example.org/"),
    "another port": url("http://cdn.example.org:6379/"),
    "new line": url("http://cdn.example.org/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
    "full-width digits": url("http://\uff11\uff12\uff17.0.0.1/"),
    "ideographic dots": url("http://127\u30020\u30020\u30021/"),
    "a name that holds an allowed one": url("http://cdn.example.org.127.0.0.1.nip.example/"),
    "a name that ends like an allowed one": url("http://evilcdn.example.org/"),
    "leads to loopback": leads_to("127.0.0.1"),
    "leads to a private network": leads_to("10.0.0.5"),
    "leads to metadata": leads_to("169.254.169.254"),
    "leads to mapped loopback": leads_to("::ffff:127.0.0.1"),
    "leads to wrapped loopback": leads_to("64:ff9b::7f00:1"),
    "leads to loopback of IPv6": leads_to("::1"),
    "leads to a unique local address": leads_to("fd00:ec2::254"),
    "leads to a link-local address": leads_to("fe80::1%eth0"),
    "leads to both": leads_to(PUBLIC, "127.0.0.1"),
    "leads nowhere": leads_to(),
    "redirect to loopback": redirected("http://127.0.0.1/"),
    "redirect to metadata": redirected("http://169.254.169.254/"),
    "redirect without a scheme": redirected("//[::1]/"),
    "redirect to gopher": redirected("gopher://cdn.example.org/"),
    "redirect to file": redirected("file:///etc/passwd"),
    "redirect to another port": redirected("http://cdn.example.org:22/"),
    "redirect to another host": redirected("http://other.example/"),
    "redirect with credentials": redirected("http://cdn.example.org@127.0.0.1/"),
    "DNS that changes": changes,
}


@pytest.mark.parametrize("trick", TRICKS)
async def test_no_trick_connects(trick: str) -> None:
    async with bench() as b:
        address = TRICKS[trick](b)
        with pytest.raises((ImageUrlRefused, ImageNotFetched)):
            await b.fetcher.fetch(address)
    # Only the site that sends on was asked, and only once.
    asked = 1 if "redirect" in trick or trick == "DNS that changes" else 0
    assert b.net.reached == [PUBLIC] * asked
    assert len(b.site.asked) == asked


async def test_a_name_is_looked_up_by_the_system_where_nothing_else_is_given() -> None:
    fetcher = Fetcher(("localhost.localdomain", "nowhere.invalid"), Metrics(), most_bytes=10, within_s=10)
    for host in ("nowhere.invalid", "localhost.localdomain"):
        with pytest.raises((ImageUrlRefused, ImageNotFetched)):
            await fetcher.fetch(f"http://{host}/")
    await fetcher.close()
