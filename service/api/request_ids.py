"""A request's name, for its caller and for the logs.

Owns the rule that no log line holds a caller's own words, not even in an id. Refuses to know where ids are written.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence

_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


class RequestIds:
    """Outside what the caller chose in X-Request-Id, if it is well formed; inside never the caller's words."""

    __slots__ = ("inside", "outside")

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Take X-Request-Id, or make an id."""
        given = next((value for name, value in headers if name == b"x-request-id"), b"")
        if _REQUEST_ID.fullmatch(given):
            self.outside = given.decode("ascii")
            self.inside = "sha256:" + hashlib.sha256(given).hexdigest()[:16]
        else:
            self.outside = self.inside = "req_" + secrets.token_hex(16)
