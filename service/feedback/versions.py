"""Each policy's thresholds, version by version: what is in force, and the one way to change it.

Owns the step from stored versions to the book in force, and compare-and-set. Refuses to know why lines move, and
feedback. A version belongs to a base: the policy's file, preset and artefact as one digest. On another base it is not
looked at, so a new artefact starts from its own presets.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.errors import BadInput, PolicyInvalid, UnknownVersion, VersionConflict
from service.metrics import Metrics
from service.policy import Draft, LivePolicies, Policy, PolicyBook, with_lines
from service.records import Chain, ChainKey, Event, Lines, Store, Version

_log = logging.getLogger("weir.versions")


@dataclass(frozen=True, slots=True)
class Standing:
    """A policy as it is in force. `number` 0 is the policy's own lines; `tag` names number and lines together."""

    policy: Policy
    number: int
    author: str
    reason: str
    at: float | None

    @property
    def tag(self) -> str:
        """What If-Match is compared with: it changes with every version, also when the same lines come back."""
        return f"{self.policy.version}.{self.number}"


class PolicyVersions:
    """Reads and sets versions, and keeps the book in force up to date. Reading what is in force needs no store."""

    def __init__(
        self, base: PolicyBook, artifact_digest: str, live: LivePolicies, store: Store, metrics: Metrics
    ) -> None:
        self._base = base
        self._digest = artifact_digest
        self._live = live
        self._store = store
        self._metrics = metrics
        self._keys = [self.key(name, chain) for name in base.policies for chain in ("live", "draft")]
        self._heads: Mapping[ChainKey, Version] = {}
        self._generation = -1
        self._lock = asyncio.Lock()  # so that no older answer of the store overtakes a newer one

    def key(self, name: str, chain: Chain = "live") -> ChainKey:
        """The chain of a policy on this base; raises UnknownPolicy."""
        return ChainKey(name, self._base.get(name).version, chain)

    def base(self, name: str) -> Policy:
        """The policy with its own lines, those of version 0."""
        return self._base.get(name)

    def standing(self, name: str, chain: Chain = "live") -> Standing:
        """What is in force; of a draft, the lines that are tried, or the policy's own where there is none."""
        head = self._heads.get(self.key(name, chain))
        if head is None:
            return Standing(self.base(name), 0, "", "", None)
        return Standing(self._apply(head), head.number, head.author, head.reason, head.at)

    def draft_token(self, name: str) -> str | None:
        """The name of the draft beside a policy, if there is one."""
        draft = self._live.draft(name)
        return draft.token if draft is not None else None

    def lines(self, name: str) -> dict[str, Lines]:
        """The lines in force, of every category."""
        return lines_of(self._live.get(name))

    async def refresh(self, *, force: bool = False) -> bool:
        """Swap the book in force if the store has a newer generation; whether it had."""
        async with self._lock:
            if not force and await self._store.generation() == self._generation:
                return False
            generation, heads = await self._store.heads(self._keys)
            if generation == self._generation:
                return False
            if generation < self._generation:  # emptied or put back from a copy: it is still the one truth
                _log.warning("the store has lost versions", extra={"generation": generation})
            self._heads = heads
            self._live.current = self._book(heads)
            self._generation = generation
        for name in self._base.policies:
            standing = self.standing(name)
            self._metrics.thresholds_number.labels(name).set(standing.number)
        in_force = self._live.current.policies.values()
        self._metrics.name_policies({policy.name: (policy.version, policy.preset) for policy in in_force})
        _log.info("thresholds refreshed", extra={"generation": generation})
        return True

    def _book(self, heads: Mapping[ChainKey, Version]) -> PolicyBook:
        policies = dict(self._base.policies)
        drafts: dict[str, Draft] = {}
        for key, head in heads.items():
            if key.chain == "live":
                policies[key.policy] = self._apply(head)
            elif head.lines:
                drafts[key.policy] = Draft(self._apply(head), head.token)
        return PolicyBook(policies, drafts)

    def _apply(self, version: Version) -> Policy:
        base = self.base(version.key.policy)
        return with_lines(base, version.lines, self._digest) if version.lines else base

    async def set_lines(
        self,
        name: str,
        lines: Mapping[str, Lines],
        *,
        author: str,
        reason: str,
        expected: str | None = None,
        chain: Chain = "live",
        detail: Mapping[str, Any] | None = None,
    ) -> Version:
        """Append a version with these lines, of every category or none, and put it in force.

        `expected` is the tag that it replaces; raises VersionConflict if another one is in force by now, BadInput for
        lines that are out of order, StoreUnavailable.
        """
        key = self.key(name, chain)
        await self.refresh(force=True)
        standing = self.standing(name, chain)
        if expected is not None and expected != standing.tag:
            raise VersionConflict("The thresholds have been changed since; read them again.")
        number = standing.number + 1
        token = secrets.token_hex(8)
        version = Version(key, number, dict(lines), author, reason, time.time(), token, dict(detail or {}))
        try:
            self._apply(version)
        except PolicyInvalid as error:
            raise BadInput(f"{error.message}.", param="categories") from None
        if not await self._store.compare_and_set(version):
            raise VersionConflict("The thresholds have been changed since; read them again.")
        await self.refresh(force=True)
        return version

    async def roll_back(self, name: str, to: int | None, *, author: str, expected: str | None) -> Version:
        """Append a version with the lines of version `to` (by default the one before); raises UnknownVersion."""
        await self.refresh(force=True)
        standing = self.standing(name)
        number = standing.number
        wanted = number - 1 if to is None else to
        if not 0 <= wanted < max(number, 1):
            raise UnknownVersion("There is no earlier version of that number.", param="to")
        found = await self._store.version(self.key(name), wanted) if wanted else None
        if wanted and found is None:
            raise UnknownVersion("There is no earlier version of that number.", param="to")
        lines = found.lines if found is not None else {}
        return await self.set_lines(
            *(name, lines),
            author=author,
            reason="rollback",
            expected=standing.tag if expected is None else expected,
            detail={"to": wanted},
        )

    async def history(self, name: str, most: int) -> tuple[list[Version], list[Event]]:
        """The newest versions on this base, and the newest events of the policy on any, newest first."""
        return await self._store.versions(self.key(name), most), await self._store.trail(name, most)


def lines_of(policy: Policy) -> dict[str, Lines]:
    """A policy's flag, review and block lines."""
    return {category: (own.flag, own.review, own.block) for category, own in policy.thresholds.items()}
