"""What operators and people with a browser ask for: /livez, /readyz, /metrics, / and /docs.

Owns the static pages and their content security policy. Refuses to know verdicts. None of these needs a key, and
none tells anything about a caller or a text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from service.runtime import Runtime

STATIC = Path(__file__).resolve().parent.parent / "static"

router = APIRouter()


@router.api_route("/livez", methods=["GET", "HEAD"], include_in_schema=False)
async def livez(request: Request) -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


@router.api_route("/readyz", methods=["GET", "HEAD"], include_in_schema=False)
async def readyz(request: Request) -> Response:
    """A batch really ran, the workers are alive, and the process is not about to stop."""
    runtime: Runtime = request.app.state.runtime
    if runtime.draining:
        return PlainTextResponse("draining\n", 503, {"retry-after": "2"})
    if not runtime.ready:
        return PlainTextResponse("not ready\n", 503, {"retry-after": "1"})
    return PlainTextResponse("ready\n")


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """The text that Prometheus scrapes."""
    runtime: Runtime = request.app.state.runtime
    return Response(runtime.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


class Page:
    """A static page that may run its own inline script and style, by their hashes, and nothing else."""

    def __init__(self, name: str) -> None:
        """Read the page once."""
        self._content = (STATIC / name).read_bytes()
        self._headers = {
            "content-security-policy": (
                f"default-src 'none'; script-src {_hashes(self._content, b'script')}; "
                f"style-src {_hashes(self._content, b'style')}; connect-src 'self'; img-src data:; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            "referrer-policy": "no-referrer",
            "cache-control": "no-cache",
        }

    async def serve(self, request: Request) -> Response:
        """Serve it."""
        return Response(self._content, headers=self._headers, media_type="text/html")


def _hashes(page: bytes, tag: bytes) -> str:
    blocks = re.findall(rb"<" + tag + rb">(.*?)</" + tag + rb">", page, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(block).digest()).decode() for block in blocks)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
