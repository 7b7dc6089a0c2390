"""The store in one file: SQLite, shared by the processes of one host.

Owns the queries of feedback, thresholds, counts and leases. Refuses to know what the records mean, and the file itself.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from service.backends import record_json as form
from service.backends.sqlite_banks import SqliteBanks
from service.backends.sqlite_file import SqliteFile, transaction
from service.records import Appended, Cell, ChainKey, Event, Feedback, Version

COUNTS_KEPT_DAYS = 120  # as in Redis; nothing else expires
FLUSH_MEMORY_S = 86_400.0  # how long a flush that was acknowledged, or not, may be sent again


class SqliteStore:
    """A Store (see `records`). `open` makes one."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self.banks = SqliteBanks(file)

    @classmethod
    async def open(cls, path: Path | None) -> SqliteStore:
        """Open or make the file, or, without one, keep everything in memory; raises StoreRefused in one sentence."""
        return cls(await SqliteFile.open(path))

    async def append_feedback(self, entries: Sequence[Feedback]) -> list[Appended]:
        """Keep them in one transaction."""
        return await self._file.write(lambda: [self._append(entry) for entry in entries])

    def _append(self, entry: Feedback) -> Appended:
        select = "SELECT body FROM feedback WHERE receipt = ? AND reviewer = ?"
        row = self._file.db.execute(select, (entry.receipt, entry.reviewer)).fetchone()
        body = form.write_feedback(entry)
        if row is None:
            insert = "INSERT INTO feedback (receipt, reviewer, policy, artifact, at, body) VALUES (?, ?, ?, ?, ?, ?)"
            self._file.db.execute(insert, (entry.receipt, entry.reviewer, entry.policy, entry.artifact, entry.at, body))
            return Appended.RECORDED
        before = form.read_feedback(row[0])
        if entry.says_the_same(before):
            return Appended.UNCHANGED
        self._file.note(form.changed_mind(before, entry))
        update = "UPDATE feedback SET at = ?, body = ? WHERE receipt = ? AND reviewer = ?"
        self._file.db.execute(update, (entry.at, body, entry.receipt, entry.reviewer))
        return Appended.REPLACED

    async def feedback(self, policy: str, artifact: str, since: float = 0.0) -> list[Feedback]:
        """What was said since then, oldest first."""
        select = "SELECT body FROM feedback WHERE policy = ? AND artifact = ? AND at >= ? ORDER BY at, seq"
        values = (policy, artifact, since)
        return await self._file.call(
            lambda: [form.read_feedback(body) for (body,) in self._file.db.execute(select, values)]
        )

    async def compare_and_set(self, version: Version) -> bool:
        """Append the version if its number is the next one."""

        def work() -> bool:
            key = version.key
            chain = (key.policy, key.base, key.chain)
            select = "SELECT coalesce(max(number), 0) FROM versions WHERE policy = ? AND base = ? AND chain = ?"
            if self._file.db.execute(select, chain).fetchone()[0] + 1 != version.number:
                return False
            self._file.db.execute(
                "INSERT INTO versions VALUES (?, ?, ?, ?, ?)", (*chain, version.number, form.write_version(version))
            )
            self._file.note(form.changed_version(version))
            self._file.db.execute("UPDATE generation SET n = n + 1")
            return True

        return await self._file.write(work)

    async def heads(self, keys: Sequence[ChainKey]) -> tuple[int, dict[ChainKey, Version]]:
        """Generation and newest versions, of one moment."""

        def work() -> tuple[int, dict[ChainKey, Version]]:
            with transaction(self._file.db, "DEFERRED"):
                found = {key: versions[0] for key in keys if (versions := self._newest(key, 1))}
                return int(self._file.db.execute("SELECT n FROM generation").fetchone()[0]), found

        return await self._file.call(work)

    async def versions(self, key: ChainKey, most: int = 100) -> list[Version]:
        """The newest versions, newest first."""
        return await self._file.call(lambda: self._newest(key, most))

    def _newest(self, key: ChainKey, most: int) -> list[Version]:
        select = "SELECT body FROM versions WHERE policy = ? AND base = ? AND chain = ? ORDER BY number DESC LIMIT ?"
        rows = self._file.db.execute(select, (key.policy, key.base, key.chain, most)).fetchall()
        return [form.read_version(key, body) for (body,) in rows]

    async def version(self, key: ChainKey, number: int) -> Version | None:
        """One version."""
        select = "SELECT body FROM versions WHERE policy = ? AND base = ? AND chain = ? AND number = ?"
        rows = await self._file.read(select, key.policy, key.base, key.chain, number)
        return form.read_version(key, rows[0][0]) if rows else None

    async def trail(self, policy: str, most: int = 100) -> list[Event]:
        """The newest events, newest first."""
        rows = await self._file.read("SELECT body FROM trail WHERE policy = ? ORDER BY seq DESC LIMIT ?", policy, most)
        return [form.read_event(body) for (body,) in rows]

    async def generation(self) -> int:
        """How many versions were ever set."""
        return int((await self._file.read("SELECT n FROM generation"))[0][0])

    async def add_counts(self, owner: str, flush: int, counts: Mapping[Cell, int]) -> None:
        """Add a flush, once."""

        def work() -> None:
            row = self._file.db.execute("SELECT flush FROM flushes WHERE owner = ?", (owner,)).fetchone()
            if row is not None and row[0] >= flush:
                return
            now = time.time()
            self._file.db.execute("DELETE FROM flushes WHERE at < ?", (now - FLUSH_MEMORY_S,))
            self._file.db.execute("INSERT OR REPLACE INTO flushes VALUES (?, ?, ?)", (owner, flush, now))
            self._file.db.executemany(  # along the key, so that it costs nothing where there is nothing old
                "DELETE FROM counts WHERE policy = ? AND artifact = ? AND day < ?",
                [(*of, int(now // 86_400) - COUNTS_KEPT_DAYS) for of in {(c.policy, c.artifact) for c in counts}],
            )
            self._file.db.executemany(
                "INSERT INTO counts VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
                [(c.policy, c.artifact, c.day, form.write_cell(c), n) for c, n in counts.items()],
            )

        await self._file.write(work)

    async def counts(self, policy: str, artifact: str, since_day: int) -> dict[Cell, int]:
        """The counts since that day."""
        select = "SELECT day, cell, n FROM counts WHERE policy = ? AND artifact = ? AND day >= ?"
        values = (policy, artifact, since_day)

        def work() -> dict[Cell, int]:  # in the thread, since there may be tens of thousands
            rows = self._file.db.execute(select, values)
            return {form.read_cell(policy, artifact, day, cell): n for day, cell, n in rows}

        return await self._file.call(work)

    async def acquire(self, lease: str, owner: str, seconds: float) -> bool:
        """Take or keep a lease, by this host's clock, which its processes share."""

        def work() -> bool:
            now = time.time()
            row = self._file.db.execute("SELECT owner, until FROM leases WHERE name = ?", (lease,)).fetchone()
            if row is not None and row[0] != owner and row[1] > now:
                return False
            self._file.db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", (lease, owner, now + seconds))
            return True

        return await self._file.write(work)

    async def release(self, lease: str, owner: str) -> None:
        """Give it back."""
        delete = "DELETE FROM leases WHERE name = ? AND owner = ?"
        await self._file.write(lambda: self._file.db.execute(delete, (lease, owner)))

    async def close(self) -> None:
        """Finish what waits and close the file."""
        await self._file.close()
