"""Files of hashes: one image a line, as comma-separated values.

Owns the form. Refuses to know where lines come from and go to.

    # comment                                a line without a hash is passed over
    pdq,quality,note                         names of columns, where the first line has them
    f8f8f0cee0f4a84f06370a22038f63f0...,100,from a report
    sha256:9f86d081884c7d659a2feaa0c55a...   without names: a hash, perhaps with its kind, and perhaps a note

Both kinds are 64 hexadecimal digits and cannot be told apart: without `pdq:` or `sha256:` before the hash or as the
name of its column, the kind is what the caller says. A PDQ hash of a quality under 50 is of a picture that looks like
too many others, and is passed over.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from service.bank_records import HashKind, KnownHash
from service.errors import BadInput

MOST_NOTE = 200  # characters
LEAST_QUALITY = 50  # as for the pictures that are compared
KINDS: Mapping[str, HashKind] = {"pdq": "pdq", "sha256": "sha256"}

_HASH = re.compile(r"[0-9a-fA-F]{64}")
_COLUMNS = ("pdq", "sha256", "hash", "quality", "note")
_BARE = ("hash", "note")


def read_hash_lines(lines: Iterable[str], kind: HashKind | None = None) -> Iterator[KnownHash]:
    """The hashes of a file, in order. BadInput says in which line something is wrong; it quotes nothing."""
    columns: Sequence[str] = _BARE
    first = True
    rows = csv.reader(_without_comments(lines))
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if first and _names_columns(cells):
                columns = _check_columns([cell.lower() for cell in cells])
            else:
                known = _read(dict(zip(columns, cells, strict=False)), len(cells) > len(columns), kind, rows.line_num)
                if known is not None:
                    yield known
            first = False
    except csv.Error:
        raise BadInput(f"Line {rows.line_num} cannot be read as comma-separated values.") from None


def read_hash(text: str, kind: HashKind | None = None) -> KnownHash:
    """One hash, with or without its kind before it; raises BadInput."""
    prefix, colon, digits = text.strip().rpartition(":")
    named = KINDS.get(prefix.strip().lower()) if colon else kind
    if colon and named is None:
        raise BadInput("A hash is pdq: or sha256: and 64 hexadecimal digits.")
    if not _HASH.fullmatch(digits.strip()):
        raise BadInput("A hash is 64 hexadecimal digits.")
    if named is None:
        raise BadInput("It is not said whether this is pdq or sha256.")
    return KnownHash(named, bytes.fromhex(digits.strip()))


def _without_comments(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        text = line.removeprefix("\ufeff") if number == 0 else line
        yield "\n" if text.lstrip().startswith("#") else text


def _check_columns(names: list[str]) -> list[str]:
    if not set(names) <= set(_COLUMNS) or len(set(names)) < len(names):
        raise BadInput(f"Line 1: columns are {', '.join(_COLUMNS)}, each once.")
    return names


def _names_columns(cells: Sequence[str]) -> bool:
    return cells[0].lower() in _COLUMNS


def _read(cells: Mapping[str, str], beyond: bool, kind: HashKind | None, number: int) -> KnownHash | None:
    if beyond:
        raise BadInput(f"Line {number}: there are too many columns; put a note with a comma into quotes.")
    of = next((name for name in ("pdq", "sha256", "hash") if cells.get(name)), None)
    if of is None:
        raise BadInput(f"Line {number}: there is no hash.")
    try:
        known = read_hash(cells[of], KINDS.get(of, kind))
    except BadInput as error:
        raise BadInput(f"Line {number}: {error.message}") from None
    quality = cells.get("quality", "")
    if quality and not (quality.isdecimal() and len(quality) <= 3):
        raise BadInput(f"Line {number}: a quality is a number from 0 to 100.")
    if known.kind == "pdq" and quality and int(quality) < LEAST_QUALITY:
        return None
    return KnownHash(known.kind, known.value, check_note(cells.get("note", ""), f"Line {number}: "))


def check_note(note: str, where: str = "") -> str:
    """The note, if it is short and of one line."""
    if len(note) > MOST_NOTE or not note.isprintable():
        raise BadInput(f"{where}A note has {MOST_NOTE} printable characters at most.")
    return note
