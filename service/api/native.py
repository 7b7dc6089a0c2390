"""Weir's own dialect: /v1/moderate, /v1/moderate/batch and /v1/policy.

Owns the fields of request and reply. Refuses to know how a verdict comes about. Fields whose feature has not been
built are absent from the reply and refused in the request.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from service.api.auth import Caller
from service.api.body import Parts, check_text, each, join, parse, read_json, while_connected
from service.api.constitution_replies import constitution_reply
from service.api.errors import json_response
from service.api.explain import explain
from service.api.image_input import ImageInput, ImageSource, with_images
from service.api.quota import charge
from service.api.schema import BatchReply, ErrorReply, ModerateReply, PolicyReply, takes
from service.errors import BadInput, EmptyInput, TextTooLong, TooManyItems, WeirError
from service.log import describe
from service.taxonomy import CATEGORIES
from service.types import ROLES, Content, Depth, Finding, Turn, Verdict

if TYPE_CHECKING:
    from service.runtime import Runtime

MAX_TURNS = 64
LEAST_FINDING = 0.1  # what every stage thought of every category would bury the findings that matter
POLICY_HEADER = "x-weir-policy"

_log = logging.getLogger("weir.native")


def _check_role(role: str) -> str:
    if role and role not in ROLES:
        raise PydanticCustomError("role", f"A role must be one of {', '.join(ROLES)}, or empty.")
    return role


Role = Annotated[str, AfterValidator(_check_role), Field(examples=["user"])]


class ContextTurn(BaseModel):
    """An earlier message."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Role = ""
    content: Parts


class ModerateRequest(BaseModel):
    """One text to judge, or images, or both, with what was said before."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"example": {"input": "How can I help you today?", "context": [], "role": "assistant"}},
    )

    input: Parts = Field(default_factory=list)
    images: Annotated[list[ImageInput], FailFast()] = Field(default_factory=list)
    context: Annotated[list[ContextTurn], FailFast(), Field(max_length=MAX_TURNS)] = Field(default_factory=list)
    role: Role = ""
    policy: str | None = None
    explain: bool = True
    constitution: Depth = "off"

    def image_sources(self) -> list[ImageSource]:
        """Where the images are."""
        return [image.source(f"images.{place}") for place, image in enumerate(self.images)]


class BatchRequest(BaseModel):
    """Up to 256 requests; each is answered, or refused, in its place."""

    model_config = ConfigDict(extra="forbid", strict=True)

    items: list[Any]


def to_content(request: ModerateRequest, caller: Caller, header_policy: str | None, max_chars: int) -> Content:
    """The request as what the pipeline judges, within the limits; its images are still to be loaded."""
    if not request.images and "input" not in request.model_fields_set:
        raise BadInput("This field is required.", param="input")
    text = check_text(join(request.input), max_chars, "input", may_be_empty=bool(request.images))
    context = tuple(Turn(join(turn.content), turn.role) for turn in request.context if turn.content)
    if sum(len(turn.text) for turn in context) > max_chars:
        raise TextTooLong(f"The context is over {max_chars} characters.", param="context")
    policy = caller.choose_policy(request.policy, header_policy)
    return Content(
        *(text, context, request.role, policy, request.explain),
        constitution=request.constitution,
        scope=caller.name,
    )


def cost_of(request: ModerateRequest) -> int:
    """What a request is charged: a text is one, and each image is as much."""
    return bool(request.input) + len(request.images)


def _item_cost(item: object) -> int:
    """The same of an item that has not been looked at yet; one that will be refused costs as much as a text."""
    images = item.get("images") if isinstance(item, dict) else None
    return max(1, ("input" in item) + len(images)) if isinstance(item, dict) and isinstance(images, list) else 1


def to_reply(verdict: Verdict, *, with_explanation: bool = True) -> dict[str, Any]:
    """A verdict as JSON."""
    top, flagged = verdict.top, verdict.flagged
    reply: dict[str, Any] = {
        "id": "mod_" + secrets.token_hex(16),
        "action": verdict.action.wire,
        "flagged": flagged,
        "harm_type": None if top is None else CATEGORIES[top.category].harm_type,
        "confidence": _confidence(verdict),
    }
    if with_explanation:
        reply["explanation"] = explain(verdict)
    reply["categories"] = {
        j.category: {
            "score": round(j.score, 6) if j.score else 0.0,
            "threshold": j.threshold,
            "flagged": flagged and j.flagged,
        }
        for j in verdict.judgements
    }
    reply["findings"] = [
        _finding(f) for f in verdict.findings if f.category and (f.score >= LEAST_FINDING or f.overrides)
    ]
    if verdict.suggested_revision is not None:
        reply["suggested_revision"] = verdict.suggested_revision
    reply.update(
        degraded=list(verdict.degraded),
        language=verdict.language,
        policy=verdict.policy,
        policy_version=verdict.policy_version,
        model=verdict.model,
        timings_ms={stage: round(ms, 3) for stage, ms in verdict.timings_ms.items()},
        audit=verdict.audit,
        cached=verdict.cached,
    )
    if verdict.receipt:
        reply["receipt"] = verdict.receipt
    return reply


def _confidence(verdict: Verdict) -> float:
    """How sure the verdict is of its harm type, or of there being none. At most 0.5 where a stage is missing."""
    if verdict.top is not None:
        return round(verdict.top.score, 6)
    clear = 1.0 - max(judgement.score for judgement in verdict.judgements)
    return round(min(clear, 0.5) if verdict.degraded else clear, 6)


def _finding(finding: Finding) -> dict[str, Any]:
    found: dict[str, Any] = {
        "category": finding.category,
        "score": round(finding.score, 6),
        "stage": finding.stage,
        "reason": finding.reason,
    }
    if finding.span is not None:
        found["span"] = {"start": finding.span.start, "end": finding.span.end}
    if finding.image is not None:
        found["image"] = finding.image
    if finding.box is not None:
        found["box"] = asdict(finding.box)
    return found


router = APIRouter(tags=["moderation"])
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply} for status in (400, 401, 403, 404, 413, 429, 503)
}


@router.post(
    "/v1/moderate",
    summary="Judge one text",
    openapi_extra=takes(ModerateRequest),
    responses={200: {"model": ModerateReply}, **_ERRORS},
)
async def moderate(request: Request) -> Response:
    """Judge one text, with the turns before it, under a policy."""
    runtime: Runtime = request.app.state.runtime
    wanted = parse(ModerateRequest, await read_json(request))
    limit = runtime.settings.max_text_chars
    content = to_content(wanted, request.state.caller, request.headers.get(POLICY_HEADER), limit)
    await charge(request, cost_of(wanted))
    request.state.chars = len(content.text)
    if wanted.images:
        content = await while_connected(request, with_images(runtime, content, wanted.image_sources()))
    verdict = await while_connected(request, runtime.moderate(content))
    request.state.action = verdict.action.wire
    reply = to_reply(verdict, with_explanation=wanted.explain)
    if content.constitution != "off":
        reply |= await while_connected(request, constitution_reply(runtime, content, verdict))
    return json_response(reply)


@router.post(
    "/v1/moderate/batch",
    summary="Judge up to 256 texts",
    openapi_extra=takes(BatchRequest),
    responses={200: {"model": BatchReply}, **_ERRORS},
)
async def moderate_batch(request: Request) -> Response:
    """Judge many texts; results in order, an item's error in its place."""
    runtime: Runtime = request.app.state.runtime
    items = parse(BatchRequest, await read_json(request)).items
    if not items:
        raise EmptyInput("There are no items to judge.", param="items")
    if len(items) > runtime.settings.max_items:
        raise TooManyItems(f"There are over {runtime.settings.max_items} items.", param="items")
    await charge(request, sum(map(_item_cost, items)))
    request.state.items = len(items)
    header_policy = request.headers.get(POLICY_HEADER)
    judge = [partial(judge_item, runtime, item, request.state.caller, header_policy) for item in items]
    return json_response({"results": await while_connected(request, each(judge))})


async def judge_item(runtime: Runtime, item: object, caller: Caller, header_policy: str | None) -> dict[str, Any]:
    """One item's reply, or its error: one bad item costs the others nothing."""
    try:
        wanted = parse(ModerateRequest, item)
        content = to_content(wanted, caller, header_policy, runtime.settings.max_text_chars)
        verdict = await runtime.moderate(await with_images(runtime, content, wanted.image_sources()))
        reply = to_reply(verdict, with_explanation=wanted.explain)
        return reply if content.constitution == "off" else reply | await constitution_reply(runtime, content, verdict)
    except WeirError as error:
        refused = error
    except Exception as error:
        _log.error("unexpected error in a batch", extra=describe(error))
        refused = WeirError()
    runtime.metrics.rejections.labels(refused.code).inc()
    return {"error": {"code": refused.code, "message": refused.message, "param": refused.param}}


@router.get("/v1/policy", summary="The thresholds in force", responses={200: {"model": PolicyReply}, **_ERRORS})
async def policy(request: Request) -> Response:
    """The default policy, or the one that the header X-Weir-Policy names."""
    runtime: Runtime = request.app.state.runtime
    caller: Caller = request.state.caller
    found = runtime.policies.get(caller.choose_policy(request.headers.get(POLICY_HEADER)))
    thresholds = {
        name: {
            "flag": lines.flag,
            "review": lines.review,
            "block": lines.block,
            "max_lowering": lines.max_lowering,
            "most": lines.most.wire,
            "harm_type": CATEGORIES[name].harm_type,
        }
        for name, lines in found.thresholds.items()
    }
    body = {
        "name": found.name,
        "version": found.version,
        "preset": found.preset,
        "model": runtime.model,
        "on_degraded": found.on_degraded.wire,
        "on_language": found.on_language.wire,
        "on_unscanned_image": found.on_unscanned_image.wire,
        "thresholds": thresholds,
    }
    return json_response(body)
