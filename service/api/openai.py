"""OpenAI's dialect: /v1/moderations.

Owns OpenAI's shape of request, reply and categories. Refuses to know how a verdict comes about. Fields that are not
known are ignored, as clients of the original expect. What is Weir's own stands under `x_weir`.

`category_applied_input_types` says of each category what it was judged on: text where there was some, and an image
where a stage has looked at it for this category, through words that were read in it or otherwise.
"""

from __future__ import annotations

import secrets
from collections.abc import Set
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from service.api.body import check_text, each, parse, read_json, while_connected
from service.api.errors import json_response
from service.api.image_input import ImageSource, named, with_images
from service.api.quota import charge
from service.api.schema import ModerationsReply, takes
from service.errors import BadInput, EmptyInput, TooManyItems, UnknownModel
from service.taxonomy import CATEGORIES, OPENAI_CATEGORIES
from service.types import Content, Verdict

if TYPE_CHECKING:
    from service.runtime import Runtime

KNOWN_MODELS = frozenset(
    {"omni-moderation-latest", "omni-moderation-2024-09-26", "text-moderation-latest", "text-moderation-stable"}
)
POLICY_HEADER = "x-weir-policy"


class ModerationsRequest(BaseModel):
    """A string, a list of strings (a result each), or a list of parts, texts and images (one result)."""

    model_config = ConfigDict(
        strict=True, json_schema_extra={"example": {"input": "How can I help you today?"}}, extra="ignore"
    )

    input: Any
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """What one result is about."""

    text: str = field(repr=False)
    images: tuple[ImageSource, ...] = ()


def to_items(value: object, max_items: int, max_chars: int) -> list[Item]:
    """What there is to judge, one per result."""
    if isinstance(value, str):
        return [Item(check_text(value, max_chars, "input"))]
    if not isinstance(value, list):
        raise BadInput("The input must be a string, a list of strings or a list of parts.", param="input")
    if not value:
        raise EmptyInput("There is no text to judge.", param="input")
    if len(value) > max_items:
        raise TooManyItems(f"There are over {max_items} items.", param="input")
    if isinstance(value[0], dict):
        parts = [_part(part, f"input[{place}]") for place, part in enumerate(value)]
        images = tuple(part for part in parts if isinstance(part, ImageSource))
        text = "\n".join(part for part in parts if isinstance(part, str))
        return [Item(check_text(text, max_chars, "input", may_be_empty=bool(images)), images)]
    return [
        Item(check_text(_string(text, f"input[{place}]"), max_chars, f"input[{place}]"))
        for place, text in enumerate(value)
    ]


def _part(part: object, param: str) -> str | ImageSource:
    if not isinstance(part, dict):
        raise BadInput("Either all entries are strings, or all are parts.", param=param)
    if part.get("type") == "text":
        return _string(part.get("text"), f"{param}.text")
    if part.get("type") == "image_url":
        image = part.get("image_url")
        if not isinstance(image, dict):
            raise BadInput("This must be an object with a url.", param=f"{param}.image_url")
        return ImageSource(_string(image.get("url"), f"{param}.image_url.url"), f"{param}.image_url.url")
    raise BadInput("A part's type must be text or image_url.", param=f"{param}.type")


def _string(value: object, param: str) -> str:
    if not isinstance(value, str):
        raise BadInput("This must be a string.", param=param)
    return value


def check_model(wanted: str | None, own: str) -> None:
    """Raise UnknownModel unless this is one of OpenAI's moderation models, or ours with or without its digest."""
    if wanted is not None and wanted not in KNOWN_MODELS and wanted not in (own, own.partition("@")[0]):
        raise UnknownModel("There is no model of that name.", param="model")


def _input_types(verdict: Verdict, content: Content, visual: Set[str]) -> dict[str, list[str]]:
    """What each category was judged on."""
    in_images = [finding for finding in verdict.findings if finding.image is not None]
    seen = {finding.category for finding in in_images}
    if any(finding.reason == f"model:{verdict.model}" for finding in in_images):  # the words in it, by all stages
        seen.update(OPENAI_CATEGORIES)
    if content.images and not {"image", "visual"} & set(verdict.degraded):
        seen.update(visual)
    text = ["text"] if content.text.strip() else []
    return {name: text + ["image"] * (name in seen) for name in OPENAI_CATEGORIES}


def to_result(verdict: Verdict, content: Content, visual: Set[str] = frozenset()) -> dict[str, Any]:
    """A verdict as one of OpenAI's results; `flagged` is about OpenAI's categories alone.

    `visual`: the categories that images are looked at for.
    """
    of = {judgement.category: judgement for judgement in verdict.judgements}
    own = {
        name: {"score": round(j.score, 6), "threshold": j.threshold, "flagged": j.flagged}
        for name, j in of.items()
        if not CATEGORIES[name].openai
    }
    return {
        "flagged": any(of[name].flagged for name in OPENAI_CATEGORIES),
        "categories": {name: of[name].flagged for name in OPENAI_CATEGORIES},
        "category_scores": {name: round(of[name].score, 6) for name in OPENAI_CATEGORIES},
        "category_applied_input_types": _input_types(verdict, content, visual),
        "x_weir": {
            "action": verdict.action.wire,
            "categories": own,
            "degraded": list(verdict.degraded),
            "language": verdict.language,
            "policy": verdict.policy,
            "policy_version": verdict.policy_version,
            "audit": verdict.audit,
            "receipt": verdict.receipt,
        },
    }


router = APIRouter(tags=["openai"])


@router.post(
    "/v1/moderations",
    summary="Judge texts, in OpenAI's shape",
    openapi_extra=takes(ModerationsRequest),
    responses={200: {"model": ModerationsReply}},
)
async def moderations(request: Request) -> Response:
    """What the official client calls: one result per string, or one for a list of parts."""
    runtime: Runtime = request.app.state.runtime
    settings = runtime.settings
    wanted = parse(ModerationsRequest, await read_json(request))
    check_model(wanted.model, runtime.model)
    items = to_items(wanted.input, settings.max_items, settings.max_text_chars)
    policy = request.state.caller.choose_policy(request.headers.get(POLICY_HEADER))
    await charge(request, sum(max(1, bool(item.text) + len(item.images)) for item in items))
    request.state.items = len(items)
    request.state.chars = sum(len(item.text) for item in items)
    # No spans: this shape has no place for them, and they cost a second look.
    scope = request.state.caller.name
    contents = [Content(item.text, policy=policy, explain=False, scope=scope) for item in items]
    if items[0].images:  # parts: there is but one
        contents = [await while_connected(request, with_images(runtime, contents[0], items[0].images))]
    with named(items[0].images):
        verdicts = await while_connected(request, each([partial(runtime.moderate, content) for content in contents]))
    request.state.action = max(verdict.action for verdict in verdicts).wire
    results = [
        to_result(verdict, content, runtime.visual_categories)
        for content, verdict in zip(contents, verdicts, strict=True)
    ]
    return json_response({"id": "modr-" + secrets.token_hex(16), "model": runtime.model, "results": results})
