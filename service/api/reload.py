"""POST /v1/admin/reload: take up the model and the policies that now lie on disk.

Owns the reply, which says what is in force. Refuses to know how parts are opened and swapped (`runtime`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.api.admin import require_admin
from service.api.errors import json_response
from service.api.schema import ErrorReply, ReloadReply

if TYPE_CHECKING:
    from service.runtime import Runtime

router = APIRouter(tags=["admin"])
_ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorReply} for status in (401, 403, 412, 422, 503)}


@router.post(
    "/v1/admin/reload",
    summary="Take up the model and the policies that lie on disk",
    responses={200: {"model": ReloadReply}, **_ERRORS},
)
async def reload(request: Request) -> Response:
    """No request is dropped; whatever is wrong, what was in force stays. All processes follow within about a second."""
    runtime: Runtime = request.app.state.runtime
    admin = require_admin(request, runtime.settings)
    before = runtime.model
    await runtime.reload(admin.name)
    policies = {
        name: {"version": policy.version, "preset": policy.preset, "number": runtime.versions.standing(name).number}
        for name, policy in runtime.policies.current.policies.items()
    }
    return json_response({"model": runtime.model, "before": before, "policies": policies})
