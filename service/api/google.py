"""Errors in the form that Google's APIs give them, as Perspective's clients read it.

Owns Perspective's error types, their wording (clients take messages apart) and Google's statuses. Refuses to know
requests and routes. `details` is never empty: a client indexes it whatever the error is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from service.api.auth import KeyMissing
from service.errors import (
    BadInput,
    BodyTooLarge,
    EmptyInput,
    Overloaded,
    RateLimited,
    ScorerFailed,
    TextTooLong,
    Unauthorized,
    WeirError,
)

ErrorType = Literal[
    "COMMENT_EMPTY",
    "COMMENT_TOO_LONG",
    "NO_REQUESTED_ATTRIBUTES",
    "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
    "LANGUAGE_DETECTION_FAILED",
    "INVALID_REQUEST",
]

BATCH_PATH = "/batch"
_PREFIXES = ("/v1alpha1/", "/$discovery/")
_ERROR = "type.googleapis.com/google.commentanalyzer.v1alpha1.Error"
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_INVALID_KEY = "API key not valid. Please pass a valid API key."
_STATUSES = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


class Refused(BadInput):
    """A request that Perspective itself would have refused. `detail` stands beside the error type."""

    def __init__(self, kind: ErrorType, message: str, detail: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = kind.lower()  # of a closed set, so that it may be a metric's label
        self.detail = dict(detail or {})


class Degraded(ScorerFailed):
    """A verdict that a stage is missing from: the score would look like any other, so none is given."""


def is_google(path: str) -> bool:
    """Whether callers of this path read Google's errors and send Google's keys."""
    return path == BATCH_PATH or path.startswith(_PREFIXES)


def google_error(error: WeirError) -> tuple[int, dict[str, Any]]:
    """HTTP status and body."""
    status, message, detail = _parts(error)
    name = _STATUSES.get(status, "INTERNAL")
    return status, {"error": {"code": status, "message": message, "status": name, "details": [detail]}}


def _parts(error: WeirError) -> tuple[int, str, dict[str, Any]]:
    """Status, message and the one entry of `details`."""
    if isinstance(error, KeyMissing):
        return 403, "The request is missing a valid API key.", _info("API_KEY_MISSING", "googleapis.com")
    if isinstance(error, Unauthorized):
        service = {"service": "commentanalyzer.googleapis.com"}
        return 400, _INVALID_KEY, _info("API_KEY_INVALID", "googleapis.com", service)
    if isinstance(error, Overloaded | RateLimited):
        return 429, error.message, _info("RATE_LIMIT_EXCEEDED", "googleapis.com")
    if isinstance(error, BadInput):
        refused = _as_refused(error)
        return 400, refused.message, {"@type": _ERROR, "errorType": refused.kind, **refused.detail}
    return error.status, error.message, _info(error.code.upper(), "weir")


def _as_refused(error: BadInput) -> Refused:
    """What other parts of Weir refuse, as Perspective would have."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, TextTooLong | BodyTooLarge):
        return Refused("COMMENT_TOO_LONG", "Comment text too long.")
    if isinstance(error, EmptyInput):
        return Refused("COMMENT_EMPTY", "Comment must be non-empty.")
    return Refused("INVALID_REQUEST", error.message)


def _info(reason: str, domain: str, metadata: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {"@type": _ERROR_INFO, "reason": reason, "domain": domain, "metadata": dict(metadata or {})}
