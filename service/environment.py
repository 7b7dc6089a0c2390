"""Settings from the environment.

Owns the environment, read once at start. Refuses to know what may be set (`config`). A wrong name, value or combination
stops the start with one sentence (StartRefused) that never shows a value.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from service.config import PREFIX, Settings
from service.errors import StartRefused

# Kubernetes puts WEIR_PORT=tcp://... and the like into every pod beside a Service called `weir`.
_KUBERNETES_NAME = re.compile(r"^WEIR_(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP)\w*)$")
_KUBERNETES_PORT = re.compile(r"^(tcp|udp)://")


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment (the process's own by default), or StartRefused."""
    given = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    if given.get("PORT") and not _KUBERNETES_PORT.match(given["PORT"]):
        values["port"] = given["PORT"]
    for name, value in given.items():
        if not name.startswith(PREFIX) or _is_from_kubernetes(name, value):
            continue
        key = name.removeprefix(PREFIX).lower()
        if key not in Settings.model_fields or name != name.upper():
            raise StartRefused(f"{name} is not a setting of Weir{_closest(key)}.")
        if value:
            values[key] = value
    try:
        return Settings(**values)
    except ValidationError as exc:
        raise StartRefused(_sentence(exc)) from None


def read_secret(name: str, environ: Mapping[str, str] | None = None) -> str:
    """A secret in a variable that a configuration file names; '' where it is not set."""
    return (os.environ if environ is None else environ).get(name, "").strip()


def _is_from_kubernetes(name: str, value: str) -> bool:
    return bool(_KUBERNETES_NAME.match(name) or (name.endswith("_PORT") and _KUBERNETES_PORT.match(value)))


def _closest(key: str) -> str:
    near = difflib.get_close_matches(key.lower(), Settings.model_fields, n=1, cutoff=0.5)
    return f"; the closest name is {PREFIX}{near[0].upper()}" if near else ""


def _sentence(exc: ValidationError) -> str:
    """The first error as one sentence; pydantic's own messages name the rule, never the value."""
    error = exc.errors(include_url=False, include_input=False, include_context=False)[0]
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    if not error["loc"]:
        return f"{message}."
    name = PREFIX + str(error["loc"][0]).upper()
    return f"{name}: {message[:1].lower()}{message[1:]}."
