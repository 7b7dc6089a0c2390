"""OpenAI's dialect of responses: POST /v1/responses, in front of any server that speaks it.

Owns the routes. Refuses to know how a prompt and a reply are judged. Stored responses are not served: what would be
fetched there was never judged here.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.api.relay import Dialect, relay
from service.api.response_whole import from_events, to_events
from service.api.responses_events import ResponsesEditor
from service.api.responses_prompt import read_prompt

DIALECT = Dialect(
    "openai",
    "/v1/responses",
    lambda body, allow: read_prompt(body, allow_unjudged=allow),
    ResponsesEditor,
    to_events,
    from_events,
)

router = APIRouter(tags=["proxies"])


@router.post("/v1/responses", summary="A response from the upstream, judged on its way")
async def responses(request: Request) -> Response:
    """Judge the prompt, ask the upstream, and let through what passes, streamed or not."""
    return await relay(request, DIALECT)


@router.post("/u/{upstream}/v1/responses", summary="The same, from an upstream by name")
async def responses_of(request: Request, upstream: str) -> Response:
    """Judge the prompt, ask the named upstream, and let through what passes."""
    return await relay(request, DIALECT, upstream)
