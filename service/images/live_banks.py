"""The banks of the store, as this process holds them.

Owns keeping up with the store: what other processes change is here within a second. Refuses to know who changes them
and why. A store that is away leaves what was known in force.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from service.bank_records import Bank, BankStore, Change
from service.errors import StoreUnavailable
from service.images.banks import Banks, LoadedBank, Match
from service.images.reading import Reading
from service.log import describe
from service.metrics import Metrics

REFRESH_S = 0.25  # so that all processes have them well within a second
PAGE = 5_000  # hashes that are asked for at once: some tens of milliseconds of the store
MOST_PENDING = 100_000  # hashes that are taken up together; an own object each, they take ten times their later room
MOST_HERE = 4_096  # hashes that are compared on the event loop, in less than a millisecond

_log = logging.getLogger("weir.banks")


class LiveBanks:
    """Reads the store, and matches. `start` begins to keep up."""

    def __init__(self, store: BankStore, metrics: Metrics) -> None:
        self.current = Banks()
        self._store = store
        self._metrics = metrics
        self._lock = asyncio.Lock()  # so that no older answer of the store overtakes a newer one
        self._named: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._away = False

    @property
    def version(self) -> str:
        """Another one after every change."""
        return self.current.version

    async def match(self, reading: Reading) -> list[Match]:
        """The banks that an image is on, the best match of each, the strictest action first."""
        banks = self.current
        if banks.hashes <= MOST_HERE:
            matches = banks.match(reading)
        else:
            matches = await asyncio.to_thread(banks.match, reading)
        for match in matches:
            self._metrics.bank_matches.labels(match.bank, match.kind).inc()
        return matches

    async def refresh(self) -> None:
        """Take up what the store has by now; raises StoreUnavailable."""
        async with self._lock:
            before = self.current.loaded
            after = {}
            for bank in await self._store.banks():
                had = before.get(bank.name)
                # A revision that went back is a store put back from a copy: its next changes bear numbers seen before.
                if had is None or had.bank.token != bank.token or had.revision > bank.revision:
                    had = LoadedBank(bank)
                after[bank.name] = await self._catch_up(had, bank)
            if after != before:
                self.current = Banks(after)
                self._tell()

    async def _catch_up(self, had: LoadedBank, bank: Bank) -> LoadedBank:
        if had.revision >= bank.revision:
            return had if had.bank == bank else LoadedBank(bank, had.revision, had.sha256, had.pdq)
        loaded = LoadedBank(bank, had.revision, had.sha256, had.pdq)
        while changes := await self._next(bank.token, loaded.revision):
            loaded = await asyncio.to_thread(loaded.changed, changes)
        return loaded

    async def _next(self, token: str, since: int) -> Sequence[Change]:
        changes: list[Change] = []
        while len(changes) < MOST_PENDING:
            page = await self._store.changes(token, changes[-1].revision if changes else since, PAGE)
            if not page:
                break
            changes += page
        return changes

    def _tell(self) -> None:
        loaded = self.current.loaded
        for name in self._named - set(loaded):
            self._metrics.forget_bank(name)
        for name, one in loaded.items():
            self._metrics.bank_hashes.labels(name).set(one.sha256.shape[1] + one.pdq.shape[1])
        self._named = set(loaded)
        _log.info("banks refreshed", extra={"banks": len(loaded), "hashes": self.current.hashes})

    def start(self) -> None:
        """Keep up from now on."""
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Keep up no more."""
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=REFRESH_S)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self.refresh()
            except StoreUnavailable:
                if not self._away:
                    _log.warning("banks stay as they were: the store is away")
                self._away = True
            except Exception as error:  # a defect in one turn must not end the task
                _log.error("banks could not be refreshed", extra=describe(error))
            else:
                self._away = False
