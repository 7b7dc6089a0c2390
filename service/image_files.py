"""`weir moderate` with image files: one JSON line for each, in order.

Owns which files are images, and reading no more of one than is taken. Refuses to know what they show; replies are those
of the native dialect.
"""

from __future__ import annotations

import asyncio
import base64
import json
import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from service.api.auth import Caller
from service.api.native import judge_item
from service.bulk import CLEAN, ERROR, FLAGGED
from service.images.data_url import IMAGE_TYPES, media_type_of

if TYPE_CHECKING:
    from service.runtime import Runtime

_HEAD = 16  # bytes that tell a format


def is_image(path: Path) -> bool:
    """Whether a file is an image by its content, or says so by its name; a pipe is none, and is not opened."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if media_type_of(file.read(_HEAD)) in IMAGE_TYPES:
            return True
    return (mimetypes.guess_type(path.name)[0] or "").startswith("image/")


async def moderate_images(
    runtime: Runtime, paths: Sequence[Path], sink: IO[str], text: str, defaults: Mapping[str, str]
) -> int:
    """Judge each file, together with the text; CLEAN, FLAGGED or ERROR. An error in one does not stop the others."""
    worst = CLEAN
    for path in paths:
        data = await asyncio.to_thread(_read, path, runtime.settings.image_max_bytes + 1)
        request = {**defaults, "images": [{"data": base64.b64encode(data).decode("ascii")}]}
        reply = await judge_item(runtime, request | ({"input": text} if text else {}), Caller(), None)
        worst = max(worst, ERROR if "error" in reply else FLAGGED if reply["flagged"] else CLEAN)
        sink.write(json.dumps({"file": str(path), **reply}) + "\n")
        sink.flush()
    return worst


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most)
