"""Who may change things: the difference between a caller and an admin.

Owns that one decision. Refuses to keep a key. Whoever has an admin key is one. Without any configured key, somebody on
this very machine is one too: the connection comes from loopback, nothing in between has forwarded it, and it is no web
page of another site that sends it from the user's browser.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import Request

from service.api.auth import Caller, authorize
from service.config import Settings
from service.errors import AdminDisabled, AdminRequired, Unauthorized

LOCAL = "local"  # the author of what somebody on this machine does without a key
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def require_admin(request: Request, settings: Settings) -> Caller:
    """The admin who calls; raises AdminDisabled where there can be none, AdminRequired for anybody else."""
    if not settings.admin_keys:
        if settings.api_keys or not _is_here(request):
            raise AdminDisabled("This can be done with an admin key only: set WEIR_ADMIN_KEYS.")
        return Caller(LOCAL)
    try:
        return authorize(request.scope["headers"], settings.admin_keys)
    except Unauthorized:
        raise AdminRequired("This needs an admin key.") from None


def _is_here(request: Request) -> bool:
    """Whether the caller is a program on this machine, or a page that this service itself has served."""
    if request.client is None or not _is_loopback(request.client.host):
        return False
    if any(name in request.headers for name in _FORWARDED):
        return False
    host = request.headers.get("host", "")
    if not _is_loopback(urlsplit(f"//{host}").hostname or ""):  # another name that was made to point here
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
