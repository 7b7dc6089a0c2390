"""Weir's own dialect: /v1/constitution, /v1/constitution/evaluate and /v1/constitution/reload.

Owns the routes and their request. Refuses to know how a text is evaluated.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from service.api.admin import require_admin
from service.api.auth import Caller
from service.api.body import parse, read_json, while_connected
from service.api.constitution_replies import chain_reply, principle_reply, rounds_reply, training_record
from service.api.errors import json_response
from service.api.image_input import with_images
from service.api.native import POLICY_HEADER, ModerateRequest, cost_of, to_content, to_reply
from service.api.quota import charge
from service.api.schema import ErrorReply, takes
from service.constitution.reviser import DEFAULT_ROUNDS, MOST_ROUNDS
from service.types import Depth

if TYPE_CHECKING:
    from service.runtime import Runtime


class EvaluateRequest(ModerateRequest):
    """A text to hold against the principles. `chain` returns every round; `format` jsonl returns a training record."""

    constitution: Depth = "auto"
    rounds: Annotated[int, Field(ge=0, le=MOST_ROUNDS)] = DEFAULT_ROUNDS
    chain: bool = False
    format: Literal["json", "jsonl"] = "json"


router = APIRouter(tags=["constitution"])
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply} for status in (400, 401, 403, 404, 413, 429, 503)
}


@router.post(
    "/v1/constitution/evaluate",
    summary="Hold a text against the principles",
    openapi_extra=takes(EvaluateRequest),
    responses=_ERRORS,
)
async def evaluate(request: Request) -> Response:
    """The verdict, the principles that it rests on, a critique, and a revision that has been judged again."""
    runtime: Runtime = request.app.state.runtime
    wanted = parse(EvaluateRequest, await read_json(request))
    limit = runtime.settings.max_text_chars
    content = to_content(wanted, request.state.caller, request.headers.get(POLICY_HEADER), limit)
    await charge(request, cost_of(wanted))
    request.state.chars = len(content.text)
    content = await while_connected(request, with_images(runtime, content, wanted.image_sources()))
    verdict = await while_connected(request, runtime.moderate(content))
    request.state.action = verdict.action.wire
    parts = runtime.parts
    with parts.users:
        chain = await while_connected(request, parts.constitution.reviser.chain(content, verdict, wanted.rounds))
    constitution = parts.constitution.live.get(content.policy).constitution
    if wanted.format == "jsonl":
        record = training_record(constitution, content, chain)
        return Response(json.dumps(record, ensure_ascii=True) + "\n", media_type="application/x-ndjson")
    reply = to_reply(verdict, with_explanation=wanted.explain)
    reply["constitution"] = chain_reply(constitution, content, verdict, chain)
    reply["suggested_revision"] = chain.revision
    reply["refused"] = chain.refused
    if wanted.chain:
        reply["chain"] = rounds_reply(chain)
    return json_response(reply)


@router.get("/v1/constitution", summary="The principles in force", responses=_ERRORS)
async def constitution(request: Request) -> Response:
    """The principles of the default policy, or of the one that the header X-Weir-Policy names."""
    runtime: Runtime = request.app.state.runtime
    caller: Caller = request.state.caller
    policy = runtime.policies.get(caller.choose_policy(request.headers.get(POLICY_HEADER))).name
    evaluator = runtime.constitution.live.get(policy)
    entries = []
    for principle in evaluator.constitution.principles:
        accuracy = evaluator.accuracy.get(principle.id)
        entries.append(principle_reply(principle, None if accuracy is None else accuracy.auroc))
    body = {
        "policy": policy,
        "name": evaluator.constitution.name,
        "digest": evaluator.constitution.digest[:12],
        "judge": "embedded" if runtime.constitution.llm is None else "llm",
        "principles": entries,
    }
    return json_response(body)


@router.post(
    "/v1/constitution/reload",
    summary="Read the constitutions' files again",
    responses={**_ERRORS, 412: {"model": ErrorReply}, 422: {"model": ErrorReply}},
)
async def reload(request: Request) -> Response:
    """As `/v1/admin/reload`, in every process; one file that is wrong changes nothing. Needs an admin key."""
    runtime: Runtime = request.app.state.runtime
    admin = require_admin(request, runtime.settings)
    await runtime.reload(admin.name)
    return json_response({"digest": runtime.constitution.live.get("default").constitution.digest[:12]})
