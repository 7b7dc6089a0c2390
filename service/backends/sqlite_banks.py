"""Banks of known images in the store's SQLite file.

Owns their queries. Refuses to know what hashes are compared with. A removed hash leaves a row that says so, for
processes that still have it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from service.backends.sqlite_file import SqliteFile
from service.bank_records import Bank, Change, KnownHash, Put
from service.records import Event
from service.taxonomy import Action

SLICE = 20_000  # hashes of a bank that is gone that are deleted at once, so that other writers have their turn

_COLUMNS = "name, token, category, action, description, revision, hashes"
_OF = "token = ? AND kind = ? AND value = ?"
_SWEEP = """DELETE FROM known_hashes WHERE (token, kind, value) IN
    (SELECT token, kind, value FROM known_hashes WHERE token NOT IN (SELECT token FROM banks) LIMIT ?)"""


class SqliteBanks:
    """A BankStore (see `bank_records`)."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    async def banks(self) -> list[Bank]:
        """All banks, by name."""
        return [_bank(row) for row in await self._file.read(f"SELECT {_COLUMNS} FROM banks ORDER BY name")]  # noqa: S608

    async def set_bank(self, bank: Bank, event: Event, most: int) -> Bank | None:
        """Make or change a bank."""
        db = self._file.db

        def work() -> Bank | None:
            there = self._find("name", bank.name)
            if there is None and db.execute("SELECT count(*) FROM banks").fetchone()[0] >= most:
                return None
            db.execute(
                "INSERT INTO banks VALUES (?, ?, ?, ?, ?, 0, 0) ON CONFLICT (name) DO UPDATE SET "
                "category = excluded.category, action = excluded.action, description = excluded.description",
                (bank.name, bank.token, bank.category, int(bank.action), bank.description),
            )
            self._file.note(event)
            return self._find("name", bank.name)

        return await self._file.write(work)

    async def delete_bank(self, name: str, event: Event) -> bool:
        """The bank is gone at once; its hashes, and any that an earlier call left, in slices."""
        db = self._file.db

        def work() -> bool:
            gone = db.execute("DELETE FROM banks WHERE name = ?", (name,)).rowcount > 0
            if gone:
                self._file.note(event)
            return gone

        gone = await self._file.write(work)
        while await self._file.write(lambda: db.execute(_SWEEP, (SLICE,)).rowcount) == SLICE:
            pass
        return gone

    async def put_hashes(self, token: str, hashes: Sequence[KnownHash], event: Event) -> Put | None:
        """Add them in one transaction."""
        db = self._file.db

        def work() -> Put | None:
            bank = self._find("token", token)
            if bank is None:
                return None
            revision, added = bank.revision, 0
            for known in hashes:
                key = (token, known.kind, known.value)
                row = db.execute(f"SELECT removed FROM known_hashes WHERE {_OF}", key).fetchone()  # noqa: S608
                if row is not None and not row[0]:
                    db.execute(f"UPDATE known_hashes SET note = ? WHERE {_OF}", (known.note, *key))  # noqa: S608
                    continue
                revision += 1
                added += 1
                db.execute(
                    "INSERT OR REPLACE INTO known_hashes VALUES (?, ?, ?, ?, 0, ?)", (*key, revision, known.note)
                )
            if added:
                self._moved(token, revision, added, event)
            return Put(added, len(hashes) - added)

        return await self._file.write(work)

    async def remove_hashes(self, token: str, hashes: Sequence[KnownHash], event: Event) -> int | None:
        """Take them away in one transaction."""
        db = self._file.db

        def work() -> int | None:
            bank = self._find("token", token)
            if bank is None:
                return None
            revision = bank.revision
            update = f"UPDATE known_hashes SET removed = 1, note = '', revision = ? WHERE {_OF} AND removed = 0"  # noqa: S608
            for known in hashes:
                revision += db.execute(update, (revision + 1, token, known.kind, known.value)).rowcount
            removed = revision - bank.revision
            if removed:
                self._moved(token, revision, -removed, event)
            return removed

        return await self._file.write(work)

    async def changes(self, token: str, since: int, most: int) -> list[Change]:
        """The next changes."""
        select = """SELECT revision, kind, value, note, removed FROM known_hashes WHERE token = ? AND revision > ?
            ORDER BY revision LIMIT ?"""
        rows = await self._file.read(select, token, since, most)
        return [Change(n, KnownHash(kind, value, note), bool(removed)) for n, kind, value, note, removed in rows]

    def _moved(self, token: str, revision: int, more: int, event: Event) -> None:
        update = "UPDATE banks SET revision = ?, hashes = hashes + ? WHERE token = ?"
        self._file.db.execute(update, (revision, more, token))
        self._file.note(event)

    def _find(self, column: str, value: str) -> Bank | None:
        row = self._file.db.execute(f"SELECT {_COLUMNS} FROM banks WHERE {column} = ?", (value,)).fetchone()  # noqa: S608
        return None if row is None else _bank(row)


def _bank(row: tuple[str, str, str, int, str, int, int] | sqlite3.Row) -> Bank:
    name, token, category, action, description, revision, hashes = row
    return Bank(name, category, Action(action), token, description, revision, hashes)
