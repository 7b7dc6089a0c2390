"""`weir banks`: lists of known images from the command line, straight to the store of the settings.

Owns the work and the words of these commands. Refuses to know arguments and exit codes. A running service on the same
store has what is imported within a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from service.bank_records import HashKind
from service.config import Settings
from service.errors import BadInput, StartRefused, StoreUnavailable
from service.feedback_parts import open_keep
from service.images.bank_desk import MOST_AT_ONCE, BankDesk
from service.images.hash_lists import LEAST_QUALITY, read_hash_lines
from service.taxonomy import Action

AUTHOR = "command line"


@asynccontextmanager
async def open_desk(settings: Settings) -> AsyncIterator[BankDesk]:
    """The banks of the store; what goes wrong inside is StartRefused, in one sentence."""
    async with AsyncExitStack() as stack:
        keep = await open_keep(stack, settings)
        try:
            yield BankDesk(keep.store)
        except (BadInput, StoreUnavailable) as error:
            raise StartRefused(error.message) from error


async def list_banks(settings: Settings) -> list[str]:
    """A line for each bank."""
    async with open_desk(settings) as desk:
        banks = await desk.banks()
    return ["\t".join((b.name, b.category, b.action.wire, str(b.hashes), b.description)) for b in banks]


async def set_bank(settings: Settings, name: str, category: str, action: str, description: str) -> str:
    """Make or change a bank."""
    async with open_desk(settings) as desk:
        bank = await desk.set_bank(name, category, Action[action.upper()], description, author=AUTHOR)
        return f"{bank.name}: {bank.category}, {bank.action.wire}, {bank.hashes} hashes"


async def delete_bank(settings: Settings, name: str) -> str:
    """Take a bank away."""
    async with open_desk(settings) as desk:
        await desk.delete_bank(name, author=AUTHOR)
        return f"{name}: deleted"


async def import_file(settings: Settings, name: str, source: IO[str], kind: HashKind | None) -> str:
    """Add the hashes of a file, some thousands at a time. What stands before a wrong line is there by then."""
    added = unchanged = 0
    async with open_desk(settings) as desk:
        await desk.bank(name)
        hashes = read_hash_lines(source, kind)
        try:
            while batch := list(islice(hashes, MOST_AT_ONCE)):
                put = await desk.put_hashes(name, batch, author=AUTHOR)
                added, unchanged = added + put.added, unchanged + put.unchanged
        except BadInput as error:
            done = f" {added + unchanged} hashes before it are in the bank." if added + unchanged else ""
            raise StartRefused(f"{error.message}{done}") from error
        except UnicodeDecodeError as error:
            raise StartRefused("The file is not UTF-8.") from error
    return f"{name}: {added} added, {unchanged} there already"


def hash_files(paths: list[Path], kind: HashKind) -> Iterator[str]:
    """A file of hashes for `weir banks import`: the upright PDQ of each image, or its SHA-256. Raises StartRefused."""
    yield "pdq,quality,note" if kind == "pdq" else "sha256,note"
    for path in paths:
        data = path.read_bytes()
        if kind == "sha256":
            yield f"{hashlib.sha256(data).hexdigest()},{_cell(path.name)}"
            continue
        hashed, quality = _look(data, path)
        if quality < LEAST_QUALITY:
            yield f"# {_cell(path.name)} is too flat to be known again: quality {quality}"
            continue
        yield f"{hashed.hex()},{quality},{_cell(path.name)}"


def _look(data: bytes, path: Path) -> tuple[bytes, int]:
    """The hash and quality of the first frame."""
    try:
        from service.images.decoding import decode
        from service.images.hashing import hash_frame
    except ImportError as error:
        raise StartRefused("Hashing pictures needs the extra images: pip install 'weir[images]'.") from error
    from service.images.limits import Limits, Undecodable

    try:
        decoded = decode(data, Limits())
        hashes, quality = hash_frame(decoded.frames[0])
    except Undecodable as error:
        raise StartRefused(f"{path}: no image that can be decoded ({error.why}).") from error
    return hashes[0], quality


def _cell(name: str) -> str:
    """A file's name as a note in quotes."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)[:200].replace('"', '""')
    return f'"{plain}"'
