"""JSON as Google's front end reads it: keys without quotes, names in two spellings, null for absent.

Owns reading bytes and taking fields out of them. Refuses to know which fields there are. What is wrong raises Refused
with the path of the field, in this dialect's own names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Never

from service.api.google import Refused

# A string without an end runs to the end of the text, so that it is looked through once.
_TOKEN = re.compile(r"""(["'])(?:(?!\1)[^\\]|\\.?)*(?:\1|\Z)|[A-Za-z_$][\w$]*|.""", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_$]")
_AFTER_NAME = re.compile(r"\s*:")
_CLOSING = re.compile(r"\s*[}\]]")


class Fields:
    """A JSON object, read by names in snake_case; the camelCase spelling is taken as well, and first."""

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        """`path` leads to this object, for errors."""
        self._values = values
        self._path = path

    @property
    def empty(self) -> bool:
        """Whether nothing is set in it."""
        return not any(value is not None for value in self._values.values())

    def value(self, name: str) -> Any:
        """Whatever stands there; None where it is absent."""
        head, *tail = name.split("_")
        found = self._values.get(head + "".join(map(str.capitalize, tail)))
        return self._values.get(name) if found is None else found

    def text(self, name: str) -> str:
        """A string; "" where it is absent."""
        value = self.value(name)
        return "" if value is None else value if isinstance(value, str) else self.refuse(name, "TYPE_STRING")

    def flag(self, name: str) -> bool:
        """A boolean, which may come as a string; False where it is absent."""
        value = self.value(name)
        if value is None or isinstance(value, str):
            value = {None: False, "false": False, "true": True}.get(value)
        return value if isinstance(value, bool) else self.refuse(name, "TYPE_BOOL")

    def number(self, name: str) -> float | None:
        """A finite number, which may come as a string."""
        value = self.value(name)
        if value is None:
            return None
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        return number if math.isfinite(number) else self.refuse(name, "TYPE_FLOAT")

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings, or a lone one."""
        value = self.value(name)
        values = [] if value is None else value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) for item in values):
            self.refuse(name, "TYPE_STRING")
        return tuple(values)

    def message(self, name: str) -> Fields:
        """An object; an empty one where it is absent."""
        value = self.value(name)
        if value is not None and not isinstance(value, dict):
            self.refuse(name, "TYPE_MESSAGE")
        return Fields(value or {}, self._dotted(name))

    def messages(self, name: str) -> list[Fields]:
        """A list of objects."""
        value = self.value(name)
        values = [] if value is None else value if isinstance(value, list) else [value]
        if not all(isinstance(item, dict) for item in values):
            self.refuse(name, "TYPE_MESSAGE")
        return [Fields(item, f"{self._dotted(name)}[{place}]") for place, item in enumerate(values)]

    def table(self, name: str) -> dict[str, Fields]:
        """A map to objects; its keys are the caller's own and stay as they are."""
        value = self.value(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(item is None or isinstance(item, dict) for item in value.values()):
            self.refuse(name, "TYPE_MESSAGE")
        return {key: Fields(item or {}, f"{self._dotted(name)}[]") for key, item in value.items()}

    def refuse(self, name: str, kind: str) -> Never:
        """Raise the error for a field of the wrong type."""
        raise Refused("INVALID_REQUEST", f"Invalid value at '{self._dotted(name)}' ({kind})")

    def _dotted(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


def read_fields(body: bytes) -> Fields:
    """The object in a body. An empty body is an empty object."""
    try:
        text = body.decode("utf-8-sig")
        if not text.strip():
            return Fields({})
        value = _loads(text)
    except (ValueError, RecursionError):  # of which decoding errors are a kind
        raise Refused("INVALID_REQUEST", "Invalid JSON payload received. The body cannot be read.") from None
    if not isinstance(value, dict):
        raise Refused("INVALID_REQUEST", "Invalid JSON payload received. An object is expected.")
    return Fields(value)


def _loads(text: str) -> Any:
    try:
        return json.loads(text, strict=False, parse_constant=_no_number)
    except ValueError:
        return json.loads(_with_quotes(text), strict=False, parse_constant=_no_number)


def _with_quotes(text: str) -> str:
    """The text with quotes around bare keys, double ones for single ones, and without commas before a closing."""
    pieces: list[str] = []
    for match in _TOKEN.finditer(text):
        piece = match.group()
        if piece[0] == "'" and len(piece) > 1:
            inner = piece[1:-1].replace("\\'", "'").replace('"', '\\"').replace('\\\\"', '\\"')
            piece = f'"{inner}"'
        elif _NAME.match(piece) and _AFTER_NAME.match(text, match.end()):
            piece = f'"{piece}"'
        elif piece == "," and _CLOSING.match(text, match.end()):
            continue
        pieces.append(piece)
    return "".join(pieces)


def _no_number(name: str) -> Never:
    raise ValueError("NaN and Infinity are not JSON")
