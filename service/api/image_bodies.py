"""How large a body may be where images may lie in it, without what is no image becoming any larger.

Owns which paths take images, and the measure of a body without them. Refuses to parse: a body of 20 MB that is all
brackets would hold up every other request for seconds, so it is measured before that.
"""

from __future__ import annotations

import re

LONG = 4096  # bytes of a string that may be an image; reading one costs hardly more than copying it
_EACH = 16  # counted for a string besides its bytes, since every string costs about as much to read
_QUOTE, _BACKSLASH = b'"', 0x5C

_PATHS = frozenset(
    {
        *("/v1/moderate", "/v1/moderate/batch", "/v1/moderations", "/v1/constitution/evaluate", "/v1/feedback"),
        *("/v1/chat/completions", "/v1/responses", "/v1/messages", "/beta/litellm_basic_guardrail_api"),
    }
)
_NAMED_UPSTREAM = re.compile(r"/u/[^/]+(?=/v1/)")


def takes_images(path: str) -> bool:
    """Whether a body for this path may hold images."""
    return path in _PATHS or (path.startswith("/u/") and _NAMED_UPSTREAM.sub("", path, count=1) in _PATHS)


def size_without_images(raw: bytes, enough: int) -> int:
    """Bytes of a JSON text outside its long strings, or more than `enough` as soon as there are more than that."""
    rest = at = 0
    while rest <= enough:
        begin = raw.find(_QUOTE, at)
        if begin < 0:
            return rest + len(raw) - at
        rest += begin - at + _EACH
        counted, end = begin, raw.find(_QUOTE, begin + 1)
        # What holds an escaped quote is no image: it counts up to there, which also bounds the look back.
        while end >= 0 and raw[end - 1] == _BACKSLASH:
            rest += end - counted
            counted = end
            if rest > enough or not _is_escaped(raw, end):
                break
            end = raw.find(_QUOTE, end + 1)
        if end < 0:
            return rest + len(raw) - counted
        rest += end - counted if end - counted < LONG else 0
        at = end + 1
    return rest


def _is_escaped(raw: bytes, quote: int) -> bool:
    first = quote
    while raw[first - 1] == _BACKSLASH:
        first -= 1
    return (quote - first) % 2 == 1
