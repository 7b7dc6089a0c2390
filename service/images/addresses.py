"""Which addresses an image may be fetched from: by its name, and by where that name leads. Pure.

Owns the allow-list's meaning, the one reading of an address that all else uses, and which networks are public. Refuses
to resolve and to connect. Whatever two readers of addresses could read differently is refused, not repaired.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from urllib.parse import urljoin, urlsplit

from service.images.errors import ImageUrlRefused

MOST_CHARS = 8192  # a signed address is a few hundred long
PORTS = {"http": 80, "https": 443}
# No character that is not written in an address as itself (RFC 3986), so no space, no control and no backslash.
_PLAIN = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9_-]{1,63}\.)+[a-z][a-z0-9-]{0,62}")
# Networks of IPv6 that stand for addresses of IPv4, and where in the address those are (RFC 4291, 6052, 3056).
_EMBEDDING = (
    (IPv6Network("::/96"), 0),
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)
_TUNNELS = (IPv6Network("2001::/32"), IPv6Network("64:ff9b:1::/48"), IPv6Network("fec0::/10"))

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for, and whom: every part as it is used, so that nobody reads the address a second time."""

    secure: bool
    host: str
    port: int
    path: str = field(repr=False)

    @property
    def scheme(self) -> str:
        """The word before the colon."""
        return "https" if self.secure else "http"


def read_address(url: str, hosts: Sequence[str]) -> Target:
    """The address of a host that is allowed; raises ImageUrlRefused.

    `hosts` are names in lower case; `*.example.org` stands for every name below example.org, not for itself.
    """
    if len(url) > MOST_CHARS or not _PLAIN.fullmatch(url):
        raise ImageUrlRefused("This is no plain http or https address, nor a data URL.")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise ImageUrlRefused("This is no plain http or https address, nor a data URL.") from None
    if parts.scheme not in PORTS:
        raise ImageUrlRefused("An image is taken as a data URL, or fetched over http or https.")
    if "@" in parts.netloc:
        raise ImageUrlRefused("An address with a name or a password in it is not asked.")
    if port is not None and port != PORTS[parts.scheme]:
        raise ImageUrlRefused("Only the usual port is asked.")
    host = host.removesuffix(".")
    if not _NAME.fullmatch(host) or not _is_allowed(host, hosts):
        raise ImageUrlRefused("Images are not fetched from this host; send a data URL.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme == "https", host, PORTS[parts.scheme], path)


def follow(target: Target, location: str, hosts: Sequence[str]) -> Target:
    """Where a redirect leads; raises ImageUrlRefused, as for an address that a caller gives."""
    # Joined as text only where the location is no address of its own.
    there = read_address(urljoin(f"{target.scheme}://{target.host}{target.path}", location), hosts)
    if target.secure and not there.secure:
        raise ImageUrlRefused("A redirect leads from https to http.")
    return there


def is_public(address: Address) -> bool:
    """Whether everybody reaches the same machine at this address, and it is one machine, not many."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None or any(address in network for network in _TUNNELS):
            return False
        for network, shift in _EMBEDDING:
            if address in network:
                return is_public(IPv4Address(int(address) >> shift & 0xFFFFFFFF))
    return address.is_global and not address.is_multicast and not address.is_reserved


def _is_allowed(host: str, hosts: Sequence[str]) -> bool:
    return any(host.endswith(entry[1:]) if entry.startswith("*") else host == entry for entry in hosts)
