"""Perspective's dialect, for programs written for the hosted service: its paths, its batches, its discovery document.

Owns how requests arrive and answers leave. Refuses to know what they mean (`perspective_desk`). A body is read as it
is, whatever its Content-Type says: the official sample sends none, curl sends a form's.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.api.auth import Caller, authorize
from service.api.body import each, while_connected
from service.api.discovery import VERSION, document, root_url
from service.api.errors import NotFound, json_response
from service.api.google import BATCH_PATH, google_error
from service.api.multipart import Part, read_parts, write_parts
from service.api.perspective_desk import Desk
from service.api.quota import charge, charge_caller
from service.errors import BadInput, WeirError
from service.log import describe
from service.types import Verdict

if TYPE_CHECKING:
    from service.runtime import Runtime

ANALYZE_PATH = f"/{VERSION}/comments:analyze"
SUGGEST_PATH = f"/{VERSION}/comments:suggestscore"
DISCOVERY_PATH = "/$discovery/rest"
MOST_PARTS = 1_000  # of one batch, as many as Google's clients send
POLICY_HEADER = "x-weir-policy"

_log = logging.getLogger("weir.perspective")

router = APIRouter(tags=["perspective"])


def _body(description: str) -> dict[str, Any]:
    """What /docs shows of a request that is read by hand."""
    content = {"application/json": {"schema": {"type": "object", "description": description}}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    ANALYZE_PATH,
    summary="Score a comment, in Perspective's shape",
    openapi_extra=_body("AnalyzeCommentRequest of the discovery document"),
)
async def analyze(request: Request) -> Response:
    """Scores of the requested attributes; what feedback needs stands in headers, where no client stumbles over it."""
    desk = _desk(request)
    body = await request.body()
    await charge(request, 1)
    work = desk.analyze(body, request.state.caller, request.headers.get(POLICY_HEADER))
    answer, verdict = await while_connected(request, work)
    request.state.action = verdict.action.wire
    return json_response(answer, headers=_review_headers(verdict))


@router.post(
    SUGGEST_PATH,
    summary="Suggest a comment's scores, in Perspective's shape",
    openapi_extra=_body("SuggestCommentScoreRequest of the discovery document"),
)
async def suggest(request: Request) -> Response:
    """A moderator's word on a comment, taken as feedback."""
    body = await request.body()
    await charge(request, 1)
    return json_response(await _desk(request).suggest(body, request.state.caller, request.headers.get(POLICY_HEADER)))


@router.get(DISCOVERY_PATH, summary="The document that Google's clients build themselves from")
async def discovery(request: Request) -> Response:
    """Google's discovery format, with this server's own address."""
    if request.query_params.get("version", VERSION) != VERSION:
        raise NotFound("There is no such version.")
    runtime: Runtime = request.app.state.runtime
    return json_response(document(root_url(request, runtime.settings.public_url)))


@router.post(
    BATCH_PATH,
    summary="Up to 1,000 of Perspective's calls in one",
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/mixed": {"schema": {"type": "string"}}}}},
)
async def batch(request: Request) -> Response:
    """Each part is answered, or refused, in its place, for whose key stands in it."""
    desk = _desk(request)
    parts = read_parts(request.headers.get("content-type", ""), await request.body(), MOST_PARTS)
    request.state.items = len(parts)
    outer = request.scope["headers"], request.scope["query_string"]
    answers = await while_connected(request, each([partial(answer_part, desk, part, *outer) for part in parts]))
    content_type, body = write_parts(answers)
    return Response(body, headers={"content-type": content_type})


async def answer_part(
    desk: Desk, part: Part, outer_headers: list[tuple[bytes, bytes]], outer_query: bytes
) -> tuple[str, int, dict[str, Any]]:
    """Content id, status and JSON of one part: one bad part costs the others nothing."""
    try:
        # What stands in the part comes first; a key of the whole batch is for parts that have none.
        headers, query = [*part.headers, *outer_headers], part.query + b"&" + outer_query
        caller = authorize(headers, desk.runtime.settings.caller_keys, query)
        return part.content_id, 200, await _call(desk, part, caller)
    except WeirError as error:
        refused = error
    except Exception as error:
        _log.error("unexpected error in a batch", extra=describe(error))
        refused = WeirError()
    desk.runtime.metrics.rejections.labels(refused.code).inc()
    return part.content_id, *google_error(refused)


async def _call(desk: Desk, part: Part, caller: Caller) -> dict[str, Any]:
    header_policy = dict(part.headers).get(POLICY_HEADER.encode(), b"").decode("latin-1") or None
    if part.method == "POST" and part.path == ANALYZE_PATH:
        await charge_caller(desk.runtime.limits, caller, 1)
        return (await desk.analyze(part.body, caller, header_policy))[0]
    if part.method == "POST" and part.path == SUGGEST_PATH:
        await charge_caller(desk.runtime.limits, caller, 1)
        return await desk.suggest(part.body, caller, header_policy)
    if not part.method:
        raise BadInput("This part holds no HTTP request.")
    raise NotFound("There is nothing at this path.")


def _review_headers(verdict: Verdict) -> dict[str, str]:
    """The verdict's receipt, and whether it was drawn for review."""
    headers = {"x-weir-receipt": verdict.receipt} if verdict.receipt else {}
    return headers | ({"x-weir-audit": "true"} if verdict.audit else {})


def _desk(request: Request) -> Desk:
    return Desk.open(request.app.state.runtime, request.app.state.attributes)
