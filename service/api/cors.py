"""Which web pages may call Perspective's paths from a browser.

Owns the answer to a browser's question beforehand, which carries no key and so never reaches the application. Refuses
to know the other dialects: a page has no business there.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.google import is_google

MAX_AGE_S = 3600  # for which a browser need not ask again


class Cors:
    """ASGI middleware around everything, so that errors reach the page too."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """`origins` as browsers send them; `*` for all."""
        self._app = app
        self._open = CORSMiddleware(
            app, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"], max_age=MAX_AGE_S
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        google = scope["type"] == "http" and is_google(scope["path"])
        await (self._open if google else self._app)(scope, receive, send)
