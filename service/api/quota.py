"""What a key may still have judged: charged in items, refused with 429, told in headers.

Owns the headers and the refusal. Refuses to know how items are counted down (`backends/buckets`) and what an item is:
the dialects say how many there are, once they have read the body.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from service.api.auth import Caller
from service.errors import RateLimited
from service.rates import Standing

if TYPE_CHECKING:
    from service.runtime import Limits

STATE = "quota"  # where a request's Standing waits for its answer


def refuse_at_once(limits: Limits | None, caller: Caller, state: MutableMapping[str, Any]) -> None:
    """Raise RateLimited for whose bucket is known to be empty, before the body is read."""
    if limits is not None and (standing := limits.refused(caller.name)) is not None:
        state[STATE] = standing
        _check(standing)


async def charge(request: Request, items: int) -> None:
    """Charge the caller for so many items, if any; raises RateLimited."""
    limits: Limits | None = request.app.state.runtime.limits
    caller: Caller = request.state.caller
    if items and limits is not None and caller.name and (standing := await limits.take(caller.name, items)) is not None:
        request.scope["state"][STATE] = standing
        _check(standing)


async def charge_caller(limits: Limits | None, caller: Caller, items: int) -> None:
    """The same for one of several callers of a request, whose standing no header can tell."""
    if limits is not None and caller.name and (standing := await limits.take(caller.name, items)) is not None:
        _check(standing)


def quota_headers(state: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """RateLimit-Limit, -Remaining, -Reset (seconds) and -Policy (draft-ietf-httpapi-ratelimit-headers-07)."""
    standing: Standing | None = state.get(STATE)
    if standing is None:
        return []
    rate = standing.rate
    return [
        (b"ratelimit-limit", b"%d" % rate.items),
        (b"ratelimit-remaining", b"%d" % standing.remaining),
        (b"ratelimit-reset", b"%d" % math.ceil(standing.reset_s)),
        (b"ratelimit-policy", b"%d;w=%d" % (rate.items, rate.window_s)),
    ]


def _check(standing: Standing) -> None:
    if standing.retry_after_s is None:
        return
    rate = standing.rate
    error = RateLimited(f"This key may have {rate.items} texts judged in {rate.window_s} seconds; try again later.")
    error.retry_after_s = max(1, math.ceil(standing.retry_after_s))
    raise error
