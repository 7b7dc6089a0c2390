"""OpenAI's chat dialect: /v1/chat/completions, in front of any server that speaks it.

Owns the routes. Refuses to know how a prompt and a reply are judged.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.api.chat_events import ChatEditor
from service.api.chat_prompt import read_prompt
from service.api.chat_whole import from_events, to_events
from service.api.relay import Dialect, relay

DIALECT = Dialect(
    "openai",
    "/v1/chat/completions",
    lambda body, allow: read_prompt(body, allow_unjudged=allow),
    ChatEditor,
    to_events,
    from_events,
)

router = APIRouter(tags=["proxies"])


@router.post("/v1/chat/completions", summary="A chat completion from the upstream, judged on its way")
async def completions(request: Request) -> Response:
    """Judge the prompt, ask the upstream, and let through what passes, streamed or not."""
    return await relay(request, DIALECT)


@router.post("/u/{upstream}/v1/chat/completions", summary="The same, from an upstream by name")
async def completions_of(request: Request, upstream: str) -> Response:
    """Judge the prompt, ask the named upstream, and let through what passes."""
    return await relay(request, DIALECT, upstream)
