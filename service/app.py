"""The ASGI application: dialects, pages and error handlers around one runtime.

Owns the order of the layers and the application's lifespan. Refuses to know concrete stages and models: the runtime
comes from `wiring`, or from whoever creates the application.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import __version__
from service.api import (
    banks,
    chat,
    constitution,
    feedback,
    litellm,
    messages,
    native,
    openai,
    ops,
    perspective,
    plain_socket,
    plain_stream,
    policies,
    reload,
    responses,
)
from service.api.cors import Cors
from service.api.edge import OPEN_PATHS, Edge
from service.api.errors import MethodNotAllowed, NotFound, error_response
from service.api.running_streams import RunningStreams
from service.api.segment_memo import SegmentMemo
from service.attributes import load_attributes
from service.config import Settings
from service.environment import load_settings
from service.errors import BadInput, WeirError

_DIRECT = (native.moderate, native.moderate_batch, openai.moderations)
_DIALECTS = (
    *(chat, native, openai, responses, messages, litellm, perspective),
    *(plain_stream, plain_socket, feedback, policies, banks, constitution, reload, ops),
)


def create_app(settings: Settings | None = None, **overrides: Any) -> FastAPI:
    """The application. `runtime=` is used as it is, and outlives it; other overrides go to `open_runtime`."""
    settings = load_settings() if settings is None else settings
    runtime = overrides.pop("runtime", None)
    # The server waits for this long when it stops, and a little longer.
    drain_s = settings.drain_s + settings.request_budget_s
    streams = RunningStreams(most=settings.max_streams, drain_s=drain_s, audit_share=settings.stream_audit_share)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if runtime is not None:
            yield
            await streams.close()
            return
        # Here, so that an application that is given a runtime loads no inference library.
        from service.wiring import open_runtime

        async with open_runtime(settings, **overrides) as opened:
            app.state.runtime = opened
            yield
            await streams.close()

    app = FastAPI(
        title="Weir",
        version=__version__,
        description="Self-hosted harm moderation: text in, verdict out.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page loads its assets from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a redirect would carry the query string back
        telemetry={"tracing": False, "metrics": False},  # its spans would hold addresses and query strings
    )
    app.state.runtime = runtime
    app.state.running_streams = streams
    app.state.attributes = load_attributes()
    app.state.segment_memo = SegmentMemo()
    for dialect in _DIALECTS:
        app.include_router(dialect.router)
    app.router.routes.append(Route("/", ops.Page("index.html").serve, methods=["GET"]))
    app.router.routes.append(Route("/docs", ops.Page("docs.html").serve, methods=["GET"]))
    app.add_exception_handler(HTTPException, _answer_http_exception)
    routes = [route for dialect in (native, openai) for route in dialect.router.routes if isinstance(route, APIRoute)]
    direct = {route.path: route.endpoint for route in routes if route.endpoint in _DIRECT}
    paths = OPEN_PATHS | frozenset(app.openapi()["paths"])
    app.add_middleware(Edge, settings=settings, routes=paths, direct=direct)
    if settings.cors_origins:
        app.add_middleware(Cors, origins=settings.cors_origins)
    return app


async def _answer_http_exception(request: Request, exc: Exception) -> Response:
    """What routing refuses, in the dialect of the path. The framework's own detail may quote the request."""
    assert isinstance(exc, HTTPException)
    error: WeirError
    if exc.status_code == 404:
        error = NotFound("There is nothing at this path.")
    elif exc.status_code == 405:
        error = MethodNotAllowed("This path does not take that method.")
    else:
        error = BadInput("The request cannot be read.") if exc.status_code < 500 else WeirError()
    request.state.code = error.code
    response = error_response(request.url.path, error, request.state.request_id)
    if exc.headers and "Allow" in exc.headers:
        response.headers["Allow"] = exc.headers["Allow"]
    return response
