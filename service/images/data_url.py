"""Images that lie in the request itself: data URLs (RFC 2397) and bare base64, to bytes.

Owns their two forms and the bound on their size, checked before anything is decoded. Refuses to know what the bytes
are: the media type of a data URL is a claim, and nobody reads it. Pure.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from service.errors import BadInput
from service.images.errors import ImageTooLarge

DATA = "data:"
MOST_HEADER = 256  # characters between `data:` and the comma
_SPACE = " \t\r\n\f"
_URL_SAFE = str.maketrans("-_", "+/")
_STARTS = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG", "image/png"), (b"GIF8", "image/gif"), (b"RIFF", "image/webp"))
IMAGE_TYPES = frozenset(kind for _, kind in _STARTS)


def is_data_url(url: str) -> bool:
    """Whether the address is the content itself."""
    return url[: len(DATA)].lower() == DATA


def from_data_url(url: str, most_bytes: int) -> bytes:
    """The bytes of a data URL in base64; raises BadInput and ImageTooLarge."""
    header, comma, payload = url[len(DATA) : len(DATA) + MOST_HEADER].partition(",")
    if not comma:
        raise BadInput("This data URL has no comma before its data.")
    if header.rpartition(";")[2].strip().lower() != "base64":
        raise BadInput("A data URL must be in base64.")
    start = len(DATA) + len(header) + 1
    # Three characters for each that is percent-encoded, which hardly any writer does.
    if len(url) - start > 4 * (most_bytes + 2):
        raise ImageTooLarge(f"The image is over {most_bytes} bytes.")
    payload = url[start:]
    if "%" in payload:
        payload = unquote_to_bytes(payload).decode("latin-1")
    return from_base64(payload, most_bytes)


def from_base64(text: str, most_bytes: int) -> bytes:
    """The bytes of base64 in either alphabet (RFC 4648), spaced and padded or not; raises BadInput and ImageTooLarge.

    Strict about everything else: what two readers may decode differently is not an image but a way round.
    """
    for space in _SPACE:  # ten times as fast as a pattern
        text = text.replace(space, "")
    if len(text) * 3 > (most_bytes + 2) * 4:
        raise ImageTooLarge(f"The image is over {most_bytes} bytes.")
    if "-" in text or "_" in text:
        text = text.translate(_URL_SAFE)
    padding = "" if text.endswith("=") else "=" * (-len(text) % 4)
    try:
        data = base64.b64decode(text + padding, validate=True)
    except (binascii.Error, ValueError):  # the second for what is not ASCII
        raise BadInput("The image's data is not base64.") from None
    if not data:
        raise BadInput("The image is empty.")
    if len(data) > most_bytes:
        raise ImageTooLarge(f"The image is over {most_bytes} bytes.")
    return data


def media_type_of(data: bytes) -> str:
    """What the first bytes say they are, of the types that are looked at; `application/octet-stream` for any other."""
    return next((kind for start, kind in _STARTS if data.startswith(start)), "application/octet-stream")


def to_data_url(data: bytes) -> str:
    """The bytes as a data URL in base64."""
    return f"{DATA}{media_type_of(data)};base64,{base64.b64encode(data).decode('ascii')}"
