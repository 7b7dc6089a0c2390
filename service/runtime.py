"""What the API works with: the parts in force, and how others take their place without dropping a request.

Owns the one reference that a reload swaps, who still uses what it replaced, and how a reload reaches every process.
Refuses to know concrete parts: `wiring` builds them. New parts are opened beside those in force, and have run a real
batch before they are taken; whatever is wrong with them, those in force stay.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from service.backends.upstream import Upstream, UpstreamClient, UpstreamKind
from service.config import Settings
from service.constitution_parts import ConstitutionParts
from service.errors import (
    ReloadRefused,
    StartRefused,
    StoreRefused,
    StoreUnavailable,
    UnknownUpstream,
    VersionConflict,
)
from service.feedback.desk import FeedbackDesk
from service.feedback.ledger import Ledger
from service.feedback.tuning import Tuning
from service.feedback.versions import PolicyVersions
from service.images.bank_desk import BankDesk
from service.log import describe
from service.metrics import Metrics
from service.parts import LoadedScorer, Parts
from service.pipeline import Pipeline
from service.policy import LivePolicies
from service.rates import Standing
from service.records import ChainKey, Store, Version
from service.types import Content, Verdict

RELOADS = ChainKey("*reload*", "")  # no policy can have that name; its number is how often a reload was asked for
LOOK_S = 0.25  # so that every process has begun well within a second
MOST_TRIES = 8  # of a number that other processes keep taking
RETIRE_S = 5.0  # beyond a request's budget, for what still uses parts that were replaced

_log = logging.getLogger("weir.runtime")


class RequestSpans(Protocol):
    """Follows requests in a trace."""

    def request(
        self, method: str, headers: Iterable[tuple[bytes, bytes]]
    ) -> AbstractContextManager[Callable[[Mapping[str, str | int | float]], None]]:
        """A span around one request; what the context gives takes the facts of its log line."""
        ...


class Limits(Protocol):
    """Charges keys for what they have judged."""

    def refused(self, name: str) -> Standing | None:
        """The standing of a key that is known to have nothing left."""
        ...

    async def take(self, name: str, cost: int) -> Standing | None:
        """Charge a key; None where it has no limit."""
        ...


class ImageFetcher(Protocol):
    """Fetches images from the hosts that are allowed."""

    async def fetch(self, url: str) -> bytes:
        """The bytes; raises ImageUrlRefused, ImageNotFetched and ImageTooLarge."""
        ...


class Runtime:
    """What runs. `ready` is proved by work; `draining` is set when the process is about to stop."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        parts: Parts,
        build: Callable[[], Awaitable[Parts]],
        store: Store,
        *,
        seen: int,
        limits: Limits | None = None,
        tracing: RequestSpans | None = None,
    ) -> None:
        """`build` opens new parts from what now lies on disk, warmed by a batch; it raises StartRefused.

        `seen` is the number of the last reload before `parts` were opened.
        """
        self.settings = settings
        self.metrics = metrics
        self.limits = limits
        self.tracing = tracing
        self.draining = False
        self.upstreams: Mapping[tuple[UpstreamKind, str], Upstream] = {}
        self.upstream_client: UpstreamClient | None = None
        self.banks: BankDesk | None = None
        self.sees_images = True
        self.visual_categories: frozenset[str] = frozenset()  # what an image is looked at for, besides its words
        self.image_fetcher: ImageFetcher | None = None
        self.parts = parts
        self._build = build
        self._store = store
        self._reloading = asyncio.Lock()
        self._seen = seen
        self._following: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    def upstream(self, kind: UpstreamKind, name: str) -> Upstream:
        """The upstream of that name that speaks this dialect; UnknownUpstream where none is configured."""
        try:
            return self.upstreams[kind, name]
        except KeyError:
            raise UnknownUpstream("No upstream is configured for this path.") from None

    @property
    def policies(self) -> LivePolicies:
        """The policies in force."""
        return self.parts.policies

    @property
    def model(self) -> str:
        """The artefact's name and digest."""
        return self.parts.model

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the model was measured on, its own first (ISO 639-1)."""
        return self.parts.languages

    @property
    def pipeline(self) -> Pipeline:
        """The stages, in order."""
        return self.parts.pipeline

    @property
    def scorer(self) -> LoadedScorer:
        """The model."""
        return self.parts.scorer

    @property
    def feedback(self) -> FeedbackDesk:
        """What takes feedback."""
        return self.parts.feedback

    @property
    def versions(self) -> PolicyVersions:
        """The thresholds' versions."""
        return self.parts.versions

    @property
    def tuning(self) -> Tuning:
        """What proposes thresholds."""
        return self.parts.tuning

    @property
    def ledger(self) -> Ledger | None:
        """Where verdicts are entered; None where nothing is kept."""
        return self.parts.ledger

    @property
    def constitution(self) -> ConstitutionParts:
        """The constitutions in force, and who judges and revises by them."""
        return self.parts.constitution

    @property
    def ready(self) -> bool:
        """Whether a batch really ran, every worker is alive and nobody asked for a stop."""
        return self.parts.scorer.alive and not self.draining

    async def moderate(self, content: Content) -> Verdict:
        """Judge one content, and enter the verdict; raises UnknownPolicy and Overloaded."""
        parts = self.parts
        with parts.users:
            verdict = await parts.pipeline.moderate(content)
            return verdict if parts.ledger is None else parts.ledger.enter(content, verdict)

    def enter(self, content: Content, verdict: Verdict) -> Verdict:
        """Count and enter a verdict that `judge` gave: of a content whose parts were judged one by one."""
        self.metrics.count_verdict(verdict)
        parts = self.parts
        return verdict if parts.ledger is None else parts.ledger.enter(content, verdict)

    async def judge(self, content: Content) -> Verdict:
        """Judge a part of a content that is moderated as a whole: nothing is counted."""
        parts = self.parts
        with parts.users:
            return await parts.pipeline.judge(content)

    async def revise(self, content: Content, verdict: Verdict) -> str | None:
        """Other words in place of a content with this verdict, which passed the whole pipeline; None for none."""
        parts = self.parts
        with parts.users:
            return await parts.constitution.reviser.revise(content, verdict)

    async def reload(self, author: str) -> None:
        """Take up the artefact and the policies that now lie on disk, here and in every process of the store.

        Raises ReloadRefused if something is wrong with them, StoreUnavailable; then everything stays as it was.
        """
        async with self._reloading:
            before = await last_reload(self._store)
            parts = await self._open_beside()
            try:
                await self._publish(before, author)
            except BaseException:
                await parts.stack.aclose()
                raise
            self._take(parts, before + 1)  # if others have reloaded meanwhile, `_follow` sees a higher number

    async def _publish(self, number: int, author: str) -> None:
        for _ in range(MOST_TRIES):
            version = Version(RELOADS, number + 1, {}, author, "reload", time.time(), secrets.token_hex(8))
            if await self._store.compare_and_set(version):
                return
            number = await last_reload(self._store)
        raise VersionConflict("Other processes keep reloading.")

    async def _open_beside(self) -> Parts:
        try:
            return await self._build()
        except StoreRefused:
            raise StoreUnavailable("The store does not answer.") from None
        except StartRefused as refused:
            self.metrics.reloads.labels("refused").inc()
            _log.error("a reload was refused", extra={"why": refused.message})
            raise ReloadRefused(refused) from refused

    def _take(self, parts: Parts, number: int) -> None:
        """Swap the one reference, and let go of what was there."""
        before, self.parts = self.parts, parts
        self._seen = number
        self.metrics.name_model(parts.model)
        self.metrics.name_policies({p.name: (p.version, p.preset) for p in parts.policies.current.policies.values()})
        self.metrics.reloads.labels("taken").inc()
        _log.info("reloaded", extra={"model": parts.model, "number": number})
        retiring = asyncio.create_task(before.retire(self.settings.request_budget_s + RETIRE_S))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    def follow(self) -> None:
        """From now on, reload when another process has."""
        self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._catch_up()
            except (StoreUnavailable, ReloadRefused):  # told where it happened
                continue
            except Exception as error:  # a defect in one turn must not end the task
                _log.error("a reload failed", extra=describe(error))

    async def _catch_up(self) -> None:
        if await last_reload(self._store) == self._seen:
            return
        async with self._reloading:
            number = await last_reload(self._store)
            if number == self._seen:  # it was this process's own
                return
            try:
                parts = await self._open_beside()
            except StoreUnavailable:  # nothing is wrong with what lies on disk: it is tried again
                raise
            except BaseException:
                self._seen = number  # tried once: what is wrong now is put right by the next reload
                raise
            self._take(parts, number)

    async def close(self) -> None:
        """Follow no more, and close all parts."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        if self._retiring:
            await asyncio.wait(self._retiring)
        await self.parts.stack.aclose()


async def last_reload(store: Store) -> int:
    """How often a reload was asked for."""
    _, heads = await store.heads([RELOADS])
    return heads[RELOADS].number if RELOADS in heads else 0
