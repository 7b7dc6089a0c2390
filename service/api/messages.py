"""Anthropic's dialect: /v1/messages, in front of any server that speaks it.

Owns the routes. Refuses to know how a prompt and a reply are judged.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.api.message_whole import from_events, to_events
from service.api.messages_events import MessageEditor
from service.api.messages_prompt import read_prompt
from service.api.relay import Dialect, relay

DIALECT = Dialect(
    "anthropic",
    "/v1/messages",
    lambda body, allow: read_prompt(body, allow_unjudged=allow),
    lambda body: MessageEditor(body["model"]),
    to_events,
    from_events,
)

router = APIRouter(tags=["proxies"])


@router.post("/v1/messages", summary="A message from the upstream, judged on its way")
async def messages(request: Request) -> Response:
    """Judge the prompt, ask the upstream, and let through what passes, streamed or not."""
    return await relay(request, DIALECT)


@router.post("/u/{upstream}/v1/messages", summary="The same, from an upstream by name")
async def messages_of(request: Request, upstream: str) -> Response:
    """Judge the prompt, ask the named upstream, and let through what passes."""
    return await relay(request, DIALECT, upstream)
