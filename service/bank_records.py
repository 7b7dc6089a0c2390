"""What is kept of lists of known images, and the protocol of what keeps them.

Owns the shapes and the promises. Refuses to know images, and how hashes are compared. A list is called a bank. Of an
image only its hash is kept, and a note of whoever put it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from service.records import Event, Store
from service.taxonomy import Action

HashKind = Literal["sha256", "pdq"]


def trail_name(bank: str) -> str:
    """The name in the audit trail under which a bank's events are; no policy can have it."""
    return f"*bank* {bank}"


@dataclass(frozen=True, slots=True)
class KnownHash:
    """One image by its hash: `sha256` of its file, byte by byte, or `pdq` of how it looks."""

    kind: HashKind
    value: bytes = field(repr=False)
    note: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Bank:
    """A list: what its images are, and what is to be done with them.

    `token` tells a bank from an earlier one of the same name. `revision` rises with every hash that comes or goes,
    `hashes` is how many there are.
    """

    name: str
    category: str
    action: Action
    token: str
    description: str = ""
    revision: int = 0
    hashes: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """The newest state of a hash in a bank, and the revision that brought it."""

    revision: int
    known: KnownHash
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Put:
    """What became of hashes that were put into a bank."""

    added: int = 0
    unchanged: int = 0


class BankStore(Protocol):
    """Keeps banks; what a call has acknowledged survives kill -9 of any process.

    Every call raises StoreUnavailable when the store is away or slower than its budget.
    """

    async def banks(self) -> list[Bank]:
        """All banks, by name. It is asked for often, and costs little however many hashes there are."""
        ...

    async def set_bank(self, bank: Bank, event: Event, most: int) -> Bank | None:
        """Make a bank, or change what it says; one that is there keeps token and hashes. None: there are `most`."""
        ...

    async def delete_bank(self, name: str, event: Event) -> bool:
        """Take a bank away with all its hashes; whether there was one."""
        ...

    async def put_hashes(self, token: str, hashes: Sequence[KnownHash], event: Event) -> Put | None:
        """Add those that are not there; a note is replaced. None where the bank is gone. Some thousands at most."""
        ...

    async def remove_hashes(self, token: str, hashes: Sequence[KnownHash], event: Event) -> int | None:
        """Take those away that are there; how many. None where the bank is gone."""
        ...

    async def changes(self, token: str, since: int, most: int) -> list[Change]:
        """The first `most` hashes whose revision is over `since`, in order of it: since 0, all that were ever there."""
        ...


class WholeStore(Store, Protocol):
    """A Store that keeps banks too."""

    @property
    def banks(self) -> BankStore:
        """Where they are."""
        ...
