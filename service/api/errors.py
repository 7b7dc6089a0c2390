"""One error, in the shape of the dialect that was called.

Owns the JSON shapes of errors and the codes of those that HTTP itself brings (404, 405). Refuses to know what was
sent: a message is written from facts about the input, so nothing of it can come back.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import PydanticSerializationError, to_json
from starlette.responses import Response

from service.api.google import google_error, is_google
from service.errors import Draining, UnknownModel, WeirError

OPENAI_PATHS = ("/v1/moderations",)

_OPENAI_TYPES = {403: "permission_error", 429: "rate_limit_error"}


class NotFound(WeirError):
    """No route has that path."""

    status = 404
    code = "not_found"


class MethodNotAllowed(WeirError):
    """The route exists, with other methods."""

    status = 405
    code = "method_not_allowed"


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer. Half a surrogate pair cannot be written in UTF-8, so it leaves as U+FFFD."""
    try:
        content = to_json(body)
    except PydanticSerializationError:
        encoded = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        content = encoded.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    return Response(content, status, headers, media_type="application/json")


def native_error(error: WeirError, request_id: str) -> dict[str, Any]:
    """Weir's own shape."""
    return {"error": {"code": error.code, "message": error.message, "param": error.param, "request_id": request_id}}


def openai_error(error: WeirError) -> dict[str, Any]:
    """OpenAI's shape, which its clients turn into their exceptions."""
    kind = "server_error" if error.status >= 500 else _OPENAI_TYPES.get(error.status, "invalid_request_error")
    code = "model_not_found" if isinstance(error, UnknownModel) else error.code
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": code}}


def error_response(path: str, error: WeirError, request_id: str) -> Response:
    """The answer for an error on this path, with Retry-After where waiting helps."""
    status = error.status
    if is_google(path):
        status, body = google_error(error)
    else:
        body = openai_error(error) if path in OPENAI_PATHS else native_error(error, request_id)
    headers = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, Draining):
        headers["connection"] = "close"  # so that the next request finds another replica
    return json_response(body, status, headers)
