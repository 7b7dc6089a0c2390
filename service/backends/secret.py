"""The secret that receipts are signed with: given, or made once and kept in a file that only its owner reads.

Owns the file. Refuses to know what is derived from it. Workers of one host that start together agree on one secret.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from service.errors import StartRefused

FILE = "secret"


def load_secrets(given: str | None, folder: Path) -> list[bytes]:
    """The secrets, the one that signs first: those of a comma-separated setting, else the one of the folder's file."""
    if given is not None:
        found = [part.strip().encode() for part in given.split(",") if part.strip()]
        if not found:
            raise StartRefused("WEIR_SECRET holds no secret.")
        return found
    path = folder / FILE
    try:
        if not path.exists():
            _make(path)
        kept = path.read_bytes().strip()
    except OSError as error:
        raise StartRefused(f"WEIR_DATA_DIR: {path.name} cannot be made or read ({error.strerror}).") from error
    if not kept:
        raise StartRefused(f"WEIR_DATA_DIR: {path.name} is empty.")
    return [kept]


def _make(path: Path) -> None:
    """Write a new one beside, whole and on disk, then link it: whoever links first has made it for all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_urlsafe(32).encode())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
