"""A policy's thresholds over HTTP: read, set, adapt, roll back, try a draft, and what feedback says of them.

Owns the fields of these requests and replies, and ETag and If-Match. Refuses to know how lines are chosen and kept.
Reading needs a key, changing an admin key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from service.api.admin import require_admin
from service.api.auth import Caller
from service.api.body import parse, read_json
from service.api.errors import json_response
from service.api.policy_replies import (
    to_adaptation,
    to_draft,
    to_event,
    to_policy,
    to_report,
    to_version,
)
from service.api.schema import ErrorReply, takes
from service.errors import BadInput, PreconditionRequired
from service.feedback.targets import LEAST_BOUND, Target
from service.records import Chain, Lines
from service.taxonomy import CATEGORIES

if TYPE_CHECKING:
    from service.runtime import Runtime

MOST_VERSIONS = 100

Line = Annotated[float, Field(gt=0, le=1)]


class LinesBody(BaseModel):
    """A category's lines; one that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    flag: Line | None = None
    review: Line | None = None
    block: Line | None = None


class ThresholdsBody(BaseModel):
    """New lines of some categories; the others stay as they are."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"categories": {"harassment": {"flag": 0.4, "review": 0.65, "block": 0.85}}}},
    )

    categories: dict[str, LinesBody] = Field(min_length=1, max_length=len(CATEGORIES))


class TargetBody(BaseModel):
    """What a flag line has to meet."""

    model_config = ConfigDict(extra="forbid")

    metric: Literal["fpr", "fnr", "precision"]
    bound: Annotated[float, Field(ge=LEAST_BOUND, le=1 - LEAST_BOUND)]
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.1


class AdaptBody(BaseModel):
    """`apply` puts the proposal in force; otherwise it is only told. `targets` replace those of the policy's file."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"apply": False}})

    apply: bool = False
    strategy: Literal["learn-then-test", "field-rule"] = "learn-then-test"
    targets: dict[str, TargetBody] | None = None


class RollbackBody(BaseModel):
    """Which version's lines come back: the one before, by default; 0 is the policy's own."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"to": 0}})

    to: Annotated[int, Field(ge=0, strict=True)] | None = None


router = APIRouter(
    prefix="/v1/policies/{name}",
    tags=["policies"],
    responses={"4XX": {"model": ErrorReply}, "5XX": {"model": ErrorReply}},
)


def _reading(request: Request, name: str) -> Runtime:
    """The runtime, if this caller may see that policy."""
    runtime: Runtime = request.app.state.runtime
    caller: Caller = request.state.caller
    runtime.policies.get(caller.choose_policy(name))
    return runtime


def _changing(request: Request, name: str) -> tuple[Runtime, str]:
    """The runtime and the admin's name, if this caller may change that policy."""
    runtime: Runtime = request.app.state.runtime
    admin = require_admin(request, runtime.settings)
    runtime.policies.get(admin.choose_policy(name))
    return runtime, admin.name


async def _body(request: Request) -> Any:
    """The JSON of a body, or an empty object where there is none."""
    return await read_json(request) if await request.body() else {}


def _tag(request: Request, *, required: bool = False) -> str | None:
    """The one tag of If-Match, without its quotes; None for `*` or, unless required, for no header."""
    given = request.headers.get("if-match")
    if given is None:
        if required:
            raise PreconditionRequired("Say in If-Match which ETag this replaces; read the policy to have it.")
        return None
    tag = given.strip().removeprefix("W/")
    return None if tag == "*" else tag.strip('"')


@router.get("", summary="A policy and its thresholds in force")
async def policy(request: Request, name: str) -> Response:
    """Everything that decides, with an ETag for changing it. It is answered while the store is away, too."""
    runtime = _reading(request, name)
    standing = runtime.versions.standing(name)
    tag = f'"{standing.tag}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    body = to_policy(standing, runtime.model, runtime.tuning.goals(name), runtime.versions.draft_token(name))
    return json_response(body, headers={"etag": tag})


@router.put("/thresholds", summary="Set thresholds", openapi_extra=takes(ThresholdsBody))
async def set_thresholds(request: Request, name: str) -> Response:
    """Replace lines, if the version in force is still the one of If-Match."""
    runtime, author = _changing(request, name)
    tag = _tag(request, required=True)
    await runtime.versions.refresh(force=True)
    tag = tag or runtime.versions.standing(name).tag  # what is merged with is what is replaced
    lines = _merged(parse(ThresholdsBody, await read_json(request)), runtime.versions.lines(name))
    version = await runtime.versions.set_lines(name, lines, author=author, reason="put", expected=tag)
    return _changed(runtime, name, to_version(version))


@router.post("/adapt", summary="Let feedback move the thresholds, or say how it would", openapi_extra=takes(AdaptBody))
async def adapt(request: Request, name: str) -> Response:
    """A proposal with its grounds and its expected effect on recent traffic; with `apply`, in force from now on."""
    wanted = parse(AdaptBody, await _body(request))
    runtime, author = _changing(request, name) if wanted.apply else (_reading(request, name), "")
    targets = None
    if wanted.targets is not None:
        if not set(wanted.targets) <= set(CATEGORIES):
            raise BadInput("There is a category that is not known here.", param="targets")
        targets = {c: Target(given.metric, given.bound, given.delta) for c, given in wanted.targets.items()}
    adapted = await runtime.tuning.adapt(
        name, apply=wanted.apply, author=author, expected=_tag(request), strategy=wanted.strategy, targets=targets
    )
    return _changed(runtime, name, to_adaptation(adapted))


@router.post("/rollback", summary="Take thresholds back", openapi_extra=takes(RollbackBody))
async def rollback(request: Request, name: str) -> Response:
    """Put the lines of an earlier version in force, as a new version."""
    runtime, author = _changing(request, name)
    wanted = parse(RollbackBody, await _body(request))
    version = await runtime.versions.roll_back(name, wanted.to, author=author, expected=_tag(request))
    return _changed(runtime, name, to_version(version))


@router.get("/versions", summary="Every version, and who did what")
async def versions(request: Request, name: str) -> Response:
    """The newest 100 versions and events of the audit trail, newest first."""
    runtime = _reading(request, name)
    found, events = await runtime.versions.history(name, MOST_VERSIONS)
    standing = runtime.versions.standing(name)
    body = {
        "current": standing.number,
        "base": runtime.versions.base(name).version,
        "versions": [to_version(version) for version in found],
        "trail": [to_event(event) for event in events],
    }
    return json_response(body)


@router.get("/feedback", summary="What feedback says of the thresholds in force")
async def report(request: Request, name: str) -> Response:
    """Per category counts, precision, FPR and FNR with exact intervals, and what is missing for a decision."""
    runtime = _reading(request, name)
    return json_response(to_report(await runtime.tuning.report(name)))


@router.get("/draft", summary="What a draft would have changed")
async def draft(request: Request, name: str) -> Response:
    """Verdicts by what was done and what the draft would have done, and the effect by category."""
    runtime = _reading(request, name)
    return json_response(to_draft(await runtime.tuning.draft_report(name)))


@router.put("/draft", summary="Try thresholds beside those in force", openapi_extra=takes(ThresholdsBody))
async def set_draft(request: Request, name: str) -> Response:
    """Lines that are compared on every verdict and decide nothing, until they are replaced or taken away."""
    runtime, author = _changing(request, name)
    lines = _merged(parse(ThresholdsBody, await read_json(request)), runtime.versions.lines(name))
    return await _set_draft(runtime, name, lines, author)


@router.delete("/draft", summary="Stop trying thresholds")
async def delete_draft(request: Request, name: str) -> Response:
    """Take the draft away."""
    runtime, author = _changing(request, name)
    return await _set_draft(runtime, name, {}, author)


async def _set_draft(runtime: Runtime, name: str, lines: dict[str, Lines], author: str) -> Response:
    chain: Chain = "draft"
    version = await runtime.versions.set_lines(name, lines, author=author, reason="draft", chain=chain)
    return json_response(to_version(version))


def _merged(body: ThresholdsBody, current: dict[str, Lines]) -> dict[str, Lines]:
    """Every category's lines, those of the body in place of the current ones."""
    if not set(body.categories) <= set(CATEGORIES):
        raise BadInput("There is a category that is not known here.", param="categories")
    merged = dict(current)
    for category, given in body.categories.items():
        flag, review, block = current[category]
        merged[category] = (
            flag if given.flag is None else given.flag,
            review if given.review is None else given.review,
            block if given.block is None else given.block,
        )
    return merged


def _changed(runtime: Runtime, name: str, body: dict[str, Any]) -> Response:
    """An answer with the ETag of what is in force now."""
    standing = runtime.versions.standing(name)
    return json_response(body | {"etag": standing.tag}, headers={"etag": f'"{standing.tag}"'})
