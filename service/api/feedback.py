"""Feedback over HTTP: POST /v1/feedback, one or many.

Owns the fields of request and reply, and who a reviewer is. Refuses to know receipts' form and the store. A reviewer
is named by whoever holds the key, so the name that is kept begins with the key's: nobody speaks for another key.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from service.api.auth import Caller
from service.api.body import each, parse, read_json, while_connected
from service.api.errors import json_response
from service.api.image_input import with_images
from service.api.native import POLICY_HEADER, ModerateRequest, to_content
from service.api.quota import charge
from service.api.schema import ErrorReply, FeedbackReply, takes
from service.errors import BadInput, EmptyInput, TooManyItems, WeirError
from service.feedback.desk import Opinion
from service.log import describe
from service.records import Appended, Feedback
from service.types import Content

if TYPE_CHECKING:
    from service.runtime import Runtime

MOST_ITEMS = 1_000
ANONYMOUS = "anonymous"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@:+-]{1,64}$")]

_log = logging.getLogger("weir.feedback")


class FeedbackRequest(BaseModel):
    """What one reviewer says of one verdict: by its receipt, or of a content, scored anew; or both, which must match.

    `harmful` is a single yes or no; `categories` says it of each. `note` is an id in the reviewer's own system.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"example": {"receipt": "AQ...", "harmful": False, "reviewer": "anna"}},
    )

    receipt: str | None = None
    content: ModerateRequest | None = None
    harmful: bool | None = None
    categories: dict[str, bool] = Field(default_factory=dict, max_length=64)
    reviewer: Name | None = None
    note: Name | None = None


class BulkRequest(BaseModel):
    """Up to 1000 of them; each is recorded, or refused, in its place."""

    model_config = ConfigDict(extra="forbid", strict=True)

    items: list[Any]


router = APIRouter(tags=["feedback"])


@router.post(
    "/v1/feedback",
    summary="Say whether a verdict was right",
    openapi_extra=takes(FeedbackRequest),
    responses={200: {"model": FeedbackReply}, "4XX": {"model": ErrorReply}, "5XX": {"model": ErrorReply}},
)
async def feedback(request: Request) -> Response:
    """Record one opinion, or, as `{"items": [...]}`, many. What is answered is on disk."""
    runtime: Runtime = request.app.state.runtime
    body = await read_json(request)
    taker = partial(_take, runtime, request.state.caller, request.headers.get(POLICY_HEADER))
    if not (isinstance(body, dict) and "items" in body):
        await charge(request, _judged([body]))
        entry = await while_connected(request, taker(body))
        (status,) = await runtime.feedback.record([entry])
        return json_response(_to_reply(entry, status))
    items = parse(BulkRequest, body).items
    if not items:
        raise EmptyInput("There are no items.", param="items")
    if len(items) > MOST_ITEMS:
        raise TooManyItems(f"There are over {MOST_ITEMS} items.", param="items")
    request.state.items = len(items)
    await charge(request, _judged(items))
    taken = await while_connected(request, each([partial(_take_item, taker, item) for item in items]))
    entries = [entry for entry in taken if isinstance(entry, Feedback)]
    statuses = iter(await runtime.feedback.record(entries) if entries else ())
    return json_response(
        {"results": [_to_reply(x, next(statuses)) if isinstance(x, Feedback) else _to_error(x, runtime) for x in taken]}
    )


def _judged(items: list[Any]) -> int:
    """How many of them bring a content, which is scored anew and so charged like any other."""
    return sum(isinstance(item, dict) and item.get("content") is not None for item in items)


async def _take(runtime: Runtime, caller: Caller, header_policy: str | None, body: Any) -> Feedback:
    """One request as the record that is kept of it."""
    wanted = parse(FeedbackRequest, body)
    reviewer = "/".join(part for part in (caller.name, wanted.reviewer) if part) or ANONYMOUS
    opinion = Opinion(reviewer, wanted.harmful, wanted.categories, wanted.note or "")
    content: Content | None = None
    if wanted.content is not None:
        content = to_content(wanted.content, caller, header_policy, runtime.settings.max_text_chars)
        content = await with_images(runtime, content, wanted.content.image_sources())
    if wanted.receipt is not None:
        receipt = runtime.feedback.open(wanted.receipt, content)
        caller.choose_policy(receipt.policy)  # Forbidden, for a key that is bound to others
        return runtime.feedback.on_receipt(receipt, opinion)
    if content is None:
        raise BadInput("Feedback needs a receipt, or a content.", param="receipt")
    return await runtime.feedback.on_content(content, opinion)


async def _take_item(taker: Any, item: object) -> Feedback | WeirError:
    """The same, with its error in its place."""
    try:
        entry: Feedback = await taker(item)
        return entry
    except WeirError as error:
        return error
    except Exception as error:
        _log.error("unexpected error in a bulk", extra=describe(error))
        return WeirError()


def _to_reply(entry: Feedback, status: Appended) -> dict[str, Any]:
    return {
        "id": entry.receipt,
        "status": status.value,
        "policy": entry.policy,
        "reviewer": entry.reviewer,
        "categories": {category: answer.harmful for category, answer in entry.answers.items()},
    }


def _to_error(error: WeirError, runtime: Runtime) -> dict[str, Any]:
    runtime.metrics.rejections.labels(error.code).inc()
    return {"error": {"code": error.code, "message": error.message, "param": error.param}}
