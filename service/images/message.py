"""What passes between the service and the process that looks at images, as bytes.

Owns the form of messages, both ways. Refuses to know sockets and processes. A process that reads hostile files may have
been taken over by one: its answers are read as plain values and checked, never unpickled.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict
from typing import Any

from service.images.limits import WHYS, Undecodable
from service.images.reading import Frame, Line, Reading
from service.types import Box

HEAD = struct.Struct("!cI")  # kind of message, bytes that follow
READY, LOOK, FOUND, REFUSED, FAILED = b"Y", b"L", b"F", b"R", b"X"
MOST_ANSWER = 32 << 20  # bytes of an answer; more is no answer
_LENGTH = struct.Struct("!I")


class BadMessage(ValueError):
    """An answer that is none."""


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """A message as it is sent."""
    return HEAD.pack(kind, len(payload)) + payload


def pack(reading: Reading) -> bytes:
    """A reading as the payload of FOUND: JSON, then the pixels of the frames one after the other."""
    frames = [
        {
            "lines": [asdict(line) for line in found.lines],
            "hashes": [code.hex() for code in found.hashes],
            "quality": found.quality,
            "pixels": len(found.pixels),
        }
        for found in reading.frames
    ]
    plain = {
        "sha256": reading.sha256.hex(),
        "width": reading.width,
        "height": reading.height,
        "format": reading.format,
        "partial": reading.partial,
        "frames": frames,
    }
    head = json.dumps(plain).encode()
    return _LENGTH.pack(len(head)) + head + b"".join(found.pixels for found in reading.frames)


def unpack(payload: bytes) -> Reading:
    """The reading in a payload; BadMessage where it is none."""
    try:
        (size,) = _LENGTH.unpack_from(payload)
        plain = json.loads(payload[_LENGTH.size : _LENGTH.size + size])
        return _reading(plain, payload[_LENGTH.size + size :])
    except (struct.error, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadMessage(type(error).__name__) from None


def refusal(payload: bytes) -> Undecodable:
    """The error that a payload of REFUSED names; BadMessage where it names none."""
    why = next((why for why in WHYS if why.encode() == payload), None)
    if why is None:
        raise BadMessage("why")
    return Undecodable(why)


def _reading(plain: dict[str, Any], pixels: bytes) -> Reading:
    frames: list[Frame] = []
    position = 0
    for found in plain["frames"]:
        end = position + _whole(found["pixels"])
        if end > len(pixels):
            raise ValueError("pixels")
        hashes = tuple(bytes.fromhex(code) for code in found["hashes"])
        lines = tuple(_line(line) for line in found["lines"])
        frames.append(Frame(lines, hashes, _whole(found["quality"]), pixels[position:end]))
        position = end
    if not frames or position != len(pixels) or any(len(code) != 32 for found in frames for code in found.hashes):
        raise ValueError("frames")
    size = (_whole(plain["width"]), _whole(plain["height"]))
    return Reading(bytes.fromhex(plain["sha256"]), *size, str(plain["format"]), tuple(frames), bool(plain["partial"]))


def _line(plain: dict[str, Any]) -> Line:
    box = Box(*(int(plain["box"][side]) for side in ("left", "top", "width", "height")))
    return Line(str(plain["text"]), box, float(plain["confidence"]), bool(plain["readable"]))


def _whole(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("not a count")
    return value
