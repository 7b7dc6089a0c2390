"""Batches in Google's form: multipart/mixed with an HTTP request in each part, and the same with the answers.

Owns the bytes. Refuses to know what the requests ask. Nothing nests, and each byte is looked at a fixed number of
times, so that a hostile batch costs what an honest one of its size does.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from service.errors import BadInput

_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_REQUEST_LINE = re.compile(rb"([A-Z]{1,10}) (\S{1,8192}) HTTP/\d\.\d")
_CONTENT_ID = re.compile(r"[ -;=?-~]{1,256}")  # printable, and nothing that could end the header or the id
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Part:
    """One request of a batch. A part that cannot be read has no method."""

    content_id: str = field(repr=False)
    method: str = ""
    path: str = field(default="", repr=False)
    query: bytes = field(default=b"", repr=False)
    headers: Headers = field(default_factory=list, repr=False)
    body: bytes = field(default=b"", repr=False)


def read_parts(content_type: str, body: bytes, most: int) -> list[Part]:
    """The requests in a batch, in order; BadInput where it is no batch, is empty, or holds over `most`."""
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().lstrip().startswith("multipart/mixed") or not found:
        raise BadInput("A batch must be multipart/mixed, with a boundary.")
    mark = b"\n--" + (found[1] or found[2]).encode("latin-1", "replace")
    pieces = (b"\n" + body).split(mark, most + 2)[1:]  # what stands before the first boundary is for people
    parts: list[Part] = []
    for piece in pieces:
        if piece.startswith(b"--"):
            break
        if len(parts) == most:
            raise BadInput(f"There are over {most} requests in the batch.")
        parts.append(_part(piece.removesuffix(b"\r")))
    if not parts:
        raise BadInput("There are no requests in the batch.")
    return parts


def _part(piece: bytes) -> Part:
    outer, inner = _split(piece.lstrip(b" \t").removeprefix(b"\r").removeprefix(b"\n"))
    content_id = (
        dict(_headers(outer)).get(b"content-id", b"").decode("latin-1").strip().removeprefix("<").removesuffix(">")
    )
    content_id = content_id if _CONTENT_ID.fullmatch(content_id) else ""
    head, body = _split(inner.lstrip(b"\r\n"))
    line, _, rest = head.partition(b"\n")
    request = _REQUEST_LINE.fullmatch(line.strip())
    if not request:
        return Part(content_id)
    target = request[2].decode("latin-1")
    path, _, query = (re.sub(r"^https?://[^/?]*", "", target) or "/").partition("?")
    return Part(content_id, request[1].decode(), unquote(path), query.encode("latin-1"), _headers(rest), body)


def _split(piece: bytes) -> tuple[bytes, bytes]:
    """Headers, and what follows the first blank line."""
    if piece.startswith((b"\n", b"\r\n")):
        return b"", piece
    blank = _BLANK_LINE.search(piece)
    return (piece[: blank.start()], piece[blank.end() :]) if blank else (piece, b"")


def _headers(lines: bytes) -> Headers:
    unfolded = _FOLD.sub(b" ", lines).splitlines()
    pairs = (line.partition(b":") for line in unfolded)
    return [(name.strip().lower(), value.strip()) for name, colon, value in pairs if colon]


def write_parts(answers: Sequence[tuple[str, int, dict[str, Any]]]) -> tuple[str, bytes]:
    """Content-Type and body of the answers, each a content id, a status and JSON."""
    boundary = "batch_" + uuid.uuid4().hex
    pieces: list[str] = []
    for content_id, status, body in answers:
        named = f"Content-ID: <response-{content_id}>\r\n" if content_id else ""
        content = json.dumps(body, separators=(",", ":"), allow_nan=False)
        reason = HTTPStatus(status).phrase
        pieces.append(
            f"--{boundary}\r\nContent-Type: application/http\r\n{named}\r\n"
            f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json; charset=UTF-8\r\n"
            f"Content-Length: {len(content)}\r\n\r\n{content}\r\n"
        )
    return f"multipart/mixed; boundary={boundary}", "".join([*pieces, f"--{boundary}--\r\n"]).encode("ascii")
