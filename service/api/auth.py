"""Who calls, and which policy they may use.

Owns the comparison of keys, in constant time over all of them. Refuses to keep a key: it hashes what came, and
knows the configured ones by their SHA-256 only. Without configured keys every caller may moderate: whoever made the
service listen on more than loopback chose to.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from service.config import ApiKey
from service.errors import Forbidden, Unauthorized

DEFAULT_POLICY = "default"


class KeyMissing(Unauthorized):
    """There is no key at all, where one is needed."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. No policies means all of them."""

    name: str = ""
    policies: tuple[str, ...] = ()

    def choose_policy(self, *wishes: str | None) -> str:
        """The first policy asked for, or the default one; Forbidden if the key is bound to others.

        A key that is bound, and not to the default policy, means its first policy where nothing is asked for.
        """
        fallback = DEFAULT_POLICY
        if self.policies and DEFAULT_POLICY not in self.policies:
            fallback = self.policies[0]
        chosen = next((wish for wish in wishes if wish), fallback)
        if self.policies and chosen not in self.policies:
            raise Forbidden("This key may not use that policy.", param="policy")
        return chosen


def authorize(
    headers: Iterable[tuple[bytes, bytes]], keys: Sequence[ApiKey], google_query: bytes | None = None
) -> Caller:
    """The caller whose key came, in X-Weir-Key, else as a Bearer token, else in X-Api-Key; Unauthorized if none.

    A query string is given where callers speak Google's dialect: they put their key there, or in X-Goog-Api-Key.
    """
    if not keys:
        return Caller()
    given = _key_in(headers) if google_query is None else _google_key_in(headers, google_query)
    if given is None:
        raise KeyMissing("This service needs a key, in the header Authorization (Bearer) or X-Weir-Key.")
    digest = hashlib.sha256(given).hexdigest()
    found: ApiKey | None = None
    for key in keys:  # no early exit: the time must not tell which key came close
        if hmac.compare_digest(key.sha256, digest):
            found = key
    if found is None:
        raise Unauthorized("The key is not a valid one.")
    return Caller(found.name, found.policies)


def _key_in(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    bearer: bytes | None = None
    api_key: bytes | None = None  # where LiteLLM's guardrail and older clients of Anthropic's put it
    for name, value in headers:
        if name == b"x-weir-key":
            return value.strip()
        # The first of several: in a batch, a part's own stands before the whole's.
        if name == b"authorization" and value[:7].lower() == b"bearer " and bearer is None:
            bearer = value[7:].strip()
        elif name == b"x-api-key" and api_key is None:
            api_key = value.strip()
    return bearer if bearer is not None else api_key


def _google_key_in(headers: Iterable[tuple[bytes, bytes]], query: bytes) -> bytes | None:
    """Google's places for a key, before Weir's own."""
    headers = list(headers)
    named = next((value for name, value in parse_qsl(query) if name == b"key" and value), None)
    named = named or next((value.strip() for name, value in headers if name == b"x-goog-api-key"), None)
    return named.strip() if named else _key_in(headers)
