"""What the replies look like, for /openapi.json and for whoever writes a client.

Owns the documented shapes. Refuses to check anything at run time: replies are built by the dialects, requests are
checked by their own models, and the tests hold the two together.
"""

from __future__ import annotations

from typing import Any, NotRequired

from pydantic import BaseModel
from typing_extensions import TypedDict


class CategoryScore(TypedDict):
    """A calibrated probability against the policy's flag line."""

    score: float
    threshold: float
    flagged: bool


class SpanReply(TypedDict):
    """Code points of the text as it was sent, end exclusive."""

    start: int
    end: int


class BoxReply(TypedDict):
    """Pixels of the image as it is seen, upright, from its top left."""

    left: int
    top: int
    width: int
    height: int


class FindingReply(TypedDict):
    """What one stage saw. `reason` is the id of a rule or a model; `image` is the place in `images`."""

    category: str
    score: float
    stage: str
    reason: str
    span: NotRequired[SpanReply]
    image: NotRequired[int]
    box: NotRequired[BoxReply]


class ModerateReply(TypedDict):
    """A verdict. `action` is allow, flag, review or block; `flagged` is everything but allow.

    `receipt` is what feedback is given with; `audit` asks for a review whatever the verdict says: it was drawn.
    `cached`: the same content had been judged before, and no stage ran.
    """

    id: str
    action: str
    flagged: bool
    harm_type: str | None
    confidence: float
    explanation: NotRequired[str]
    categories: dict[str, CategoryScore]
    findings: list[FindingReply]
    suggested_revision: NotRequired[str]
    degraded: list[str]
    language: str
    policy: str
    policy_version: str
    model: str
    timings_ms: dict[str, float]
    audit: bool
    cached: bool
    receipt: NotRequired[str]
    constitution: NotRequired[dict[str, Any]]


class BatchReply(TypedDict):
    """Verdicts in the order of the items; an item that could not be judged is `{"error": {...}}` in its place."""

    results: list[dict[str, Any]]


class ErrorFacts(TypedDict):
    """`code` is stable; `param` is the path of the field at fault."""

    code: str
    message: str
    param: str | None
    request_id: str


class PolicyInForce(TypedDict):
    """A policy's version; `number` is that of its thresholds, 0 for its own."""

    version: str
    preset: str
    number: int


class ReloadReply(TypedDict):
    """What is in force now, and the model that was before."""

    model: str
    before: str
    policies: dict[str, PolicyInForce]


class ErrorReply(TypedDict):
    """Every error of Weir's own dialect."""

    error: ErrorFacts


class FeedbackReply(TypedDict):
    """`status` is recorded, unchanged or replaced; of many, `{"results": [...]}` of these or errors, in order."""

    id: str
    status: str
    policy: str
    reviewer: str
    categories: dict[str, bool]


class PolicyReply(TypedDict):
    """Every number that a verdict depends on besides the scores."""

    name: str
    version: str
    preset: str
    model: str
    on_degraded: str
    on_language: str
    on_unscanned_image: str
    thresholds: dict[str, dict[str, Any]]


class ModerationsReply(TypedDict):
    """OpenAI's shape, with Weir's own facts of a result under `x_weir`."""

    id: str
    model: str
    results: list[dict[str, Any]]


class GuardrailReply(TypedDict):
    """LiteLLM's shape. `action` is NONE, BLOCKED or GUARDRAIL_INTERVENED; only the last comes with texts.

    `stream_holdback_chars`, of a reply's texts: how many characters at the end of each are not to be shown yet.
    """

    action: str
    blocked_reason: NotRequired[str]
    texts: NotRequired[list[str]]
    stream_holdback_chars: NotRequired[list[int]]


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """The part of an OpenAPI operation that says that it takes this model as JSON."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    content = {"application/json": {"schema": _inline(schema, definitions)}}
    return {"requestBody": {"required": True, "content": content}}


def _inline(node: Any, definitions: dict[str, Any]) -> Any:
    """The schema without references, which would point outside an OpenAPI document."""
    if isinstance(node, dict):
        if "$ref" in node:
            return _inline(definitions[node["$ref"].rpartition("/")[2]], definitions)
        return {key: _inline(value, definitions) for key, value in node.items()}
    return [_inline(item, definitions) for item in node] if isinstance(node, list) else node
