"""Upstreams by name, from TOML: what `WEIR_UPSTREAMS` holds, or the file that it names.

Owns the form of these tables. Refuses to connect. Everything that is wrong raises StartRefused with one sentence,
which shows no address and no key.

    [local]
    url = "http://llm:8000/v1"
    kind = "openai"              # or anthropic
    key_env = "LOCAL_LLM_KEY"    # the variable that holds its key; without it, callers bring theirs
    first_byte_s = 120           # for an answer to begin
    stall_s = 60                 # between two pieces of it
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from service.backends.upstream import Upstream, UpstreamKind
from service.errors import StartRefused

_KEYS = ("url", "kind", "key_env", "first_byte_s", "stall_s")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def read_upstreams(given: str, secret: Callable[[str], str]) -> list[Upstream]:
    """The upstreams of inline TOML or of a file. `secret` gives the value of a variable, '' where it is not set."""
    try:
        text = given if "=" in given else Path(given).read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except (OSError, UnicodeDecodeError):
        raise StartRefused("WEIR_UPSTREAMS names a file that cannot be read.") from None
    except tomllib.TOMLDecodeError:
        raise StartRefused("WEIR_UPSTREAMS is no TOML.") from None
    return [_read_upstream(name, table, secret) for name, table in tables.items()]


def _read_upstream(name: str, table: Any, secret: Callable[[str], str]) -> Upstream:
    where = f"WEIR_UPSTREAMS: {name}"
    if not _NAME.fullmatch(name) or name == "default":
        raise StartRefused("WEIR_UPSTREAMS: a name is lower-case letters, digits, '-' and '_', and not `default`.")
    if not isinstance(table, dict):
        raise StartRefused(f"{where} must be a table.")
    if unknown := sorted(set(table) - set(_KEYS)):
        raise StartRefused(f"{where}: {unknown[0]!r} is not a key; there are {', '.join(_KEYS)}.")
    url, variable = table.get("url"), table.get("key_env")
    kind: Any = table.get("kind")
    if not isinstance(url, str) or not re.match(r"https?://[^\s/]", url):
        raise StartRefused(f"{where}: url must be an http:// or https:// address.")
    if kind not in get_args(UpstreamKind):
        raise StartRefused(f"{where}: kind must be one of {', '.join(get_args(UpstreamKind))}.")
    key = secret(variable) if isinstance(variable, str) else ""
    if variable is not None and not key:
        raise StartRefused(f"{where}: key_env must be the name of a variable that is set.")
    first, stall = (_seconds(where, table, limit) for limit in ("first_byte_s", "stall_s"))
    return Upstream(name, kind, url.rstrip("/").removesuffix("/v1"), key, first, stall)


def _seconds(where: str, table: dict[str, Any], name: str) -> float | None:
    value = table.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 3600:
        raise StartRefused(f"{where}: {name} must be a number of seconds, over 0 and at most 3600.")
    return float(value)
