"""One SQLite file that the processes of a host share: its thread, its transactions, its tables.

Owns the connection, the tables and their migrations. Refuses to know what the rows mean. What a call has acknowledged
is on disk (write-ahead log, synchronous FULL); a writer of another process is waited for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from service.backends import record_json as form
from service.backends.owned_thread import OwnedThread
from service.errors import StoreRefused, StoreUnavailable
from service.records import Event

Result = TypeVar("Result")

BUSY_S = 4.0  # for another process's writer; under the budget, so that what was begun is also answered
BUDGET_S = 5.0
MOST_WAITING = 256
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
    """
    CREATE TABLE banks (name TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE, category TEXT NOT NULL,
        action INTEGER NOT NULL, description TEXT NOT NULL, revision INTEGER NOT NULL, hashes INTEGER NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE known_hashes (token TEXT, kind TEXT, value BLOB, revision INTEGER NOT NULL, removed INTEGER NOT NULL,
        note TEXT NOT NULL, PRIMARY KEY (token, kind, value)) WITHOUT ROWID;
    CREATE INDEX known_hashes_by_revision ON known_hashes (token, revision);
    """,
)


class SqliteFile:
    """The file, open. `db` is for what runs inside `call` and `write`, in the one thread that has it."""

    def __init__(self, thread: OwnedThread, db: sqlite3.Connection) -> None:
        self._thread = thread
        self.db = db

    @classmethod
    async def open(cls, path: Path | None) -> SqliteFile:
        """Open or make the file, or, without one, keep everything in memory; raises StoreRefused in one sentence."""
        thread = OwnedThread("weir-store", most_waiting=MOST_WAITING, budget_s=BUDGET_S)
        try:
            return cls(thread, await thread.call(lambda: _connect(path)))
        except BaseException as error:
            await thread.close(lambda: None)
            if isinstance(error, OSError | sqlite3.Error | StoreUnavailable):
                raise StoreRefused("WEIR_DATA_DIR: the store cannot be opened there.") from error
            raise

    async def call(self, work: Callable[[], Result]) -> Result:
        """The result of work in the thread, or StoreUnavailable."""
        try:
            return await self._thread.call(work)
        except sqlite3.Error as error:
            raise StoreUnavailable("The store cannot be read or written now.") from error

    async def write(self, work: Callable[[], Result]) -> Result:
        """The same in one transaction that writes."""

        def whole() -> Result:
            with transaction(self.db, "IMMEDIATE"):
                return work()

        return await self.call(whole)

    async def read(self, select: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        """The rows of a query."""
        return await self.call(lambda: self.db.execute(select, values).fetchall())

    def note(self, event: Event) -> None:
        """Add to the audit trail, inside a transaction."""
        self.db.execute("INSERT INTO trail (policy, body) VALUES (?, ?)", (event.policy, form.write_event(event)))

    async def close(self) -> None:
        """Finish what waits and close the file."""
        await self._thread.close(self.db.close)


@contextmanager
def transaction(db: sqlite3.Connection, kind: str) -> Iterator[None]:
    """Begin, and commit what was done inside, or undo it."""
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
    with transaction(db, "IMMEDIATE"):
        have = int(db.execute("PRAGMA user_version").fetchone()[0])
        if have > len(MIGRATIONS):
            raise StoreRefused("The store was written by a newer version of Weir.")
        for script in MIGRATIONS[have:]:
            for statement in script.split(";"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
