"""What an admin does with banks: make, change, fill, empty and delete them, and who did what.

Owns names, limits and the audit trail's words. Refuses to know HTTP, arguments and files.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from service.bank_records import Bank, Change, KnownHash, Put, WholeStore, trail_name
from service.errors import BadInput, TooManyItems
from service.images.errors import UnknownBank
from service.records import Event
from service.taxonomy import CATEGORIES, Action

MOST_BANKS = 64  # each is compared by itself, and is a value of a metric's label
MOST_AT_ONCE = 5_000  # hashes of one call: what a store writes in a fraction of a second
MOST_DESCRIPTION = 500  # characters
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


class BankDesk:
    """The banks of a store, for admins."""

    def __init__(self, store: WholeStore, refresh: Callable[[], Awaitable[None]] | None = None) -> None:
        """`refresh` takes a change up in this process; others see it by themselves."""
        self._store = store
        self._refresh = refresh

    async def banks(self) -> list[Bank]:
        """All banks, by name."""
        return await self._store.banks.banks()

    async def bank(self, name: str) -> Bank:
        """One bank; raises UnknownBank."""
        found = next((bank for bank in await self.banks() if bank.name == name), None)
        if found is None:
            raise UnknownBank("There is no bank of that name.", param="bank")
        return found

    async def trail(self, name: str, most: int) -> list[Event]:
        """What was done with a bank, also with an earlier one of its name, newest first."""
        return await self._store.trail(trail_name(name), most)

    async def set_bank(self, name: str, category: str, action: Action, description: str, *, author: str) -> Bank:
        """Make a bank, or change what it says of its images; raises BadInput."""
        if not _NAME.fullmatch(name):
            raise BadInput("A bank's name is 1 to 64 of a-z, 0-9, '_', '.' and '-'.", param="bank")
        if category not in CATEGORIES:
            raise BadInput("There is a category that is not known here.", param="category")
        if action is Action.ALLOW:
            raise BadInput("A bank calls for flag, review or block.", param="action")
        if len(description) > MOST_DESCRIPTION or not description.isprintable():
            raise BadInput(f"A description has {MOST_DESCRIPTION} printable characters at most.", param="description")
        event = _event(name, "bank_set", author, category=category, action=action.wire)
        wanted = Bank(name, category, action, secrets.token_hex(8), description)
        bank = await self._store.banks.set_bank(wanted, event, MOST_BANKS)
        if bank is None:
            raise TooManyItems(f"There are {MOST_BANKS} banks, and no more are compared.", param="bank")
        await self._take_up()
        return bank

    async def delete_bank(self, name: str, *, author: str) -> None:
        """Take a bank away with all its hashes; raises UnknownBank."""
        if not await self._store.banks.delete_bank(name, _event(name, "bank_deleted", author)):
            raise UnknownBank("There is no bank of that name.", param="bank")
        await self._take_up()

    async def put_hashes(self, name: str, hashes: Sequence[KnownHash], *, author: str) -> Put:
        """Add hashes, MOST_AT_ONCE at most; raises UnknownBank and TooManyItems."""
        bank = await self._changing(name, hashes)
        event = _event(name, "hashes_put", author, hashes=len(hashes))
        put = await self._store.banks.put_hashes(bank.token, hashes, event)
        if put is None:
            raise UnknownBank("The bank has just been deleted.", param="bank")
        await self._take_up()
        return put

    async def remove_hashes(self, name: str, hashes: Sequence[KnownHash], *, author: str) -> int:
        """Take hashes away; how many were there. Raises UnknownBank and TooManyItems."""
        bank = await self._changing(name, hashes)
        event = _event(name, "hashes_removed", author, hashes=len(hashes))
        removed = await self._store.banks.remove_hashes(bank.token, hashes, event)
        if removed is None:
            raise UnknownBank("The bank has just been deleted.", param="bank")
        await self._take_up()
        return removed

    async def page(self, name: str, since: int, most: int) -> list[Change]:
        """The first `most` hashes that changed after revision `since`, removed ones too; raises UnknownBank."""
        return await self._store.banks.changes((await self.bank(name)).token, since, most)

    async def _changing(self, name: str, hashes: Sequence[KnownHash]) -> Bank:
        if len(hashes) > MOST_AT_ONCE:
            raise TooManyItems(f"There are over {MOST_AT_ONCE} hashes; send them in parts.", param="hashes")
        if not hashes:
            raise BadInput("There is no hash.", param="hashes")
        return await self.bank(name)

    async def _take_up(self) -> None:
        if self._refresh is not None:
            await self._refresh()


def _event(name: str, kind: str, author: str, **detail: Any) -> Event:
    return Event(trail_name(name), kind, author, time.time(), {"bank": name, **detail})
