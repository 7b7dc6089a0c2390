"""The store in one file: SQLite, shared by the processes of one host.

Owns the tables and their migrations. Refuses to know what the records mean. What a call has acknowledged is on disk
(write-ahead log, synchronous FULL); a writer of another process is waited for.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from service.backends import record_json as form
from service.backends.owned_thread import OwnedThread
from service.errors import StoreRefused, StoreUnavailable
from service.records import Appended, Cell, ChainKey, Event, Feedback, Version

Result = TypeVar("Result")

BUSY_S = 4.0  # for another process's writer; under the budget, so that what was begun is also answered
BUDGET_S = 5.0
MOST_WAITING = 256
FLUSH_MEMORY_S = 86_400.0  # how long a flush that was acknowledged, or not, may be sent again
MIGRATIONS = (
    """
    CREATE TABLE feedback (seq INTEGER PRIMARY KEY, receipt TEXT NOT NULL, reviewer TEXT NOT NULL, policy TEXT NOT NULL,
        artifact TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL, UNIQUE (receipt, reviewer));
    CREATE INDEX feedback_of_policy ON feedback (policy, artifact, at);
    CREATE TABLE versions (policy TEXT, base TEXT, chain TEXT, number INTEGER, body TEXT NOT NULL,
        PRIMARY KEY (policy, base, chain, number)) WITHOUT ROWID;
    CREATE TABLE trail (seq INTEGER PRIMARY KEY, policy TEXT NOT NULL, body TEXT NOT NULL);
    CREATE INDEX trail_of_policy ON trail (policy, seq);
    CREATE TABLE counts (policy TEXT, artifact TEXT, day INTEGER, cell TEXT, n INTEGER NOT NULL,
        PRIMARY KEY (policy, artifact, day, cell)) WITHOUT ROWID;
    CREATE TABLE flushes (owner TEXT PRIMARY KEY, flush INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE generation (n INTEGER NOT NULL);
    INSERT INTO generation VALUES (0);
    """,
)


class SqliteStore:
    """A Store (see `records`). `open` makes one."""

    def __init__(self, thread: OwnedThread, db: sqlite3.Connection) -> None:
        self._thread = thread
        self._db = db

    @classmethod
    async def open(cls, path: Path | None) -> SqliteStore:
        """Open or make the file, or, without one, keep everything in memory; raises StoreRefused in one sentence."""
        thread = OwnedThread("weir-store", most_waiting=MOST_WAITING, budget_s=BUDGET_S)
        try:
            return cls(thread, await thread.call(lambda: _connect(path)))
        except BaseException as error:
            await thread.close(lambda: None)
            if isinstance(error, OSError | sqlite3.Error | StoreUnavailable):
                raise StoreRefused("WEIR_DATA_DIR: the store cannot be opened there.") from error
            raise

    async def append_feedback(self, entries: Sequence[Feedback]) -> list[Appended]:
        """Keep them in one transaction."""
        return await self._write(lambda: [self._append(entry) for entry in entries])

    def _append(self, entry: Feedback) -> Appended:
        select = "SELECT body FROM feedback WHERE receipt = ? AND reviewer = ?"
        row = self._db.execute(select, (entry.receipt, entry.reviewer)).fetchone()
        body = form.write_feedback(entry)
        if row is None:
            insert = "INSERT INTO feedback (receipt, reviewer, policy, artifact, at, body) VALUES (?, ?, ?, ?, ?, ?)"
            self._db.execute(insert, (entry.receipt, entry.reviewer, entry.policy, entry.artifact, entry.at, body))
            return Appended.RECORDED
        before = form.read_feedback(row[0])
        if entry.says_the_same(before):
            return Appended.UNCHANGED
        self._note(form.changed_mind(before, entry))
        update = "UPDATE feedback SET at = ?, body = ? WHERE receipt = ? AND reviewer = ?"
        self._db.execute(update, (entry.at, body, entry.receipt, entry.reviewer))
        return Appended.REPLACED

    async def feedback(self, policy: str, artifact: str, since: float = 0.0) -> list[Feedback]:
        """What was said since then, oldest first."""
        select = "SELECT body FROM feedback WHERE policy = ? AND artifact = ? AND at >= ? ORDER BY at, seq"
        values = (policy, artifact, since)
        return await self._call(lambda: [form.read_feedback(body) for (body,) in self._db.execute(select, values)])

    async def compare_and_set(self, version: Version) -> bool:
        """Append the version if its number is the next one."""

        def work() -> bool:
            key = version.key
            chain = (key.policy, key.base, key.chain)
            select = "SELECT coalesce(max(number), 0) FROM versions WHERE policy = ? AND base = ? AND chain = ?"
            if self._db.execute(select, chain).fetchone()[0] + 1 != version.number:
                return False
            self._db.execute(
                "INSERT INTO versions VALUES (?, ?, ?, ?, ?)", (*chain, version.number, form.write_version(version))
            )
            self._note(form.changed_version(version))
            self._db.execute("UPDATE generation SET n = n + 1")
            return True

        return await self._write(work)

    async def heads(self, keys: Sequence[ChainKey]) -> tuple[int, dict[ChainKey, Version]]:
        """Generation and newest versions, of one moment."""

        def work() -> tuple[int, dict[ChainKey, Version]]:
            with _transaction(self._db, "DEFERRED"):
                found = {key: versions[0] for key in keys if (versions := self._newest(key, 1))}
                return int(self._db.execute("SELECT n FROM generation").fetchone()[0]), found

        return await self._call(work)

    async def versions(self, key: ChainKey, most: int = 100) -> list[Version]:
        """The newest versions, newest first."""
        return await self._call(lambda: self._newest(key, most))

    def _newest(self, key: ChainKey, most: int) -> list[Version]:
        select = "SELECT body FROM versions WHERE policy = ? AND base = ? AND chain = ? ORDER BY number DESC LIMIT ?"
        rows = self._db.execute(select, (key.policy, key.base, key.chain, most)).fetchall()
        return [form.read_version(key, body) for (body,) in rows]

    async def version(self, key: ChainKey, number: int) -> Version | None:
        """One version."""
        select = "SELECT body FROM versions WHERE policy = ? AND base = ? AND chain = ? AND number = ?"
        rows = await self._read(select, key.policy, key.base, key.chain, number)
        return form.read_version(key, rows[0][0]) if rows else None

    async def trail(self, policy: str, most: int = 100) -> list[Event]:
        """The newest events, newest first."""
        rows = await self._read("SELECT body FROM trail WHERE policy = ? ORDER BY seq DESC LIMIT ?", policy, most)
        return [form.read_event(body) for (body,) in rows]

    async def generation(self) -> int:
        """How many versions were ever set."""
        return int((await self._read("SELECT n FROM generation"))[0][0])

    async def add_counts(self, owner: str, flush: int, counts: Mapping[Cell, int]) -> None:
        """Add a flush, once."""

        def work() -> None:
            row = self._db.execute("SELECT flush FROM flushes WHERE owner = ?", (owner,)).fetchone()
            if row is not None and row[0] >= flush:
                return
            now = time.time()
            self._db.execute("DELETE FROM flushes WHERE at < ?", (now - FLUSH_MEMORY_S,))
            self._db.execute("INSERT OR REPLACE INTO flushes VALUES (?, ?, ?)", (owner, flush, now))
            self._db.executemany(
                "INSERT INTO counts VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
                [(c.policy, c.artifact, c.day, form.write_cell(c), n) for c, n in counts.items()],
            )

        await self._write(work)

    async def counts(self, policy: str, artifact: str, since_day: int) -> dict[Cell, int]:
        """The counts since that day."""
        select = "SELECT day, cell, n FROM counts WHERE policy = ? AND artifact = ? AND day >= ?"
        values = (policy, artifact, since_day)

        def work() -> dict[Cell, int]:  # in the thread, since there may be tens of thousands
            rows = self._db.execute(select, values)
            return {form.read_cell(policy, artifact, day, cell): n for day, cell, n in rows}

        return await self._call(work)

    async def acquire(self, lease: str, owner: str, seconds: float) -> bool:
        """Take or keep a lease, by this host's clock, which its processes share."""

        def work() -> bool:
            now = time.time()
            row = self._db.execute("SELECT owner, until FROM leases WHERE name = ?", (lease,)).fetchone()
            if row is not None and row[0] != owner and row[1] > now:
                return False
            self._db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", (lease, owner, now + seconds))
            return True

        return await self._write(work)

    async def release(self, lease: str, owner: str) -> None:
        """Give it back."""
        delete = "DELETE FROM leases WHERE name = ? AND owner = ?"
        await self._write(lambda: self._db.execute(delete, (lease, owner)))

    async def close(self) -> None:
        """Finish what waits and close the file."""
        await self._thread.close(self._db.close)

    def _note(self, event: Event) -> None:
        self._db.execute("INSERT INTO trail (policy, body) VALUES (?, ?)", (event.policy, form.write_event(event)))

    async def _read(self, select: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        return await self._call(lambda: self._db.execute(select, values).fetchall())

    async def _write(self, work: Callable[[], Result]) -> Result:
        def whole() -> Result:
            with _transaction(self._db, "IMMEDIATE"):
                return work()

        return await self._call(whole)

    async def _call(self, work: Callable[[], Result]) -> Result:
        try:
            return await self._thread.call(work)
        except sqlite3.Error as error:
            raise StoreUnavailable("The store cannot be read or written now.") from error


@contextmanager
def _transaction(db: sqlite3.Connection, kind: str) -> Iterator[None]:
    db.execute(f"BEGIN {kind}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _connect(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    db = sqlite3.connect(path or ":memory:", timeout=BUSY_S, isolation_level=None)  # transactions are begun by hand
    try:
        if path is not None:
            path.chmod(0o600)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        _migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def _migrate(db: sqlite3.Connection) -> None:
    """Bring the tables to this version; of several processes that start at once, one does it."""
    with _transaction(db, "IMMEDIATE"):
        have = int(db.execute("PRAGMA user_version").fetchone()[0])
        if have > len(MIGRATIONS):
            raise StoreRefused("The store was written by a newer version of Weir.")
        for script in MIGRATIONS[have:]:
            for statement in script.split(";"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
