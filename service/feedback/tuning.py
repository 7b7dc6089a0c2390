"""A proposal and what comes of it: labels and counts out of the store, new lines back into it, and the report.

Owns the way between the store and the pure statistics. Refuses to know HTTP, and to judge answers itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from service.errors import VersionConflict
from service.feedback.adaptation import Proposal, Strategy, propose
from service.feedback.desk import labels_of
from service.feedback.goals import Goals
from service.feedback.labels import Label
from service.feedback.receipts import DAY_S
from service.feedback.report import CategoryReport, report
from service.feedback.shadow import NAME as SHADOW
from service.feedback.targets import Target
from service.feedback.traffic import DRAFT, actions, histogram, share_over, transitions
from service.feedback.versions import PolicyVersions, Standing
from service.policy import Thresholds
from service.records import Cell, Store, Version
from service.taxonomy import CATEGORIES, Action

RECENT_DAYS = 7  # of traffic that an expected effect is told for


@dataclass(frozen=True, slots=True)
class Effect:
    """Shares of recent traffic that reach each line of a category, before and after; None for no traffic."""

    verdicts: int
    before: Mapping[Action, float]
    after: Mapping[Action, float]


@dataclass(frozen=True, slots=True)
class Adaptation:
    """A proposal for a policy, its expected effect, and the version that it became, if it was applied."""

    standing: Standing
    proposal: Proposal
    effects: Mapping[str, Effect]
    version: Version | None = None


@dataclass(frozen=True, slots=True)
class DraftReport:
    """A draft beside the live lines: verdicts by (live action, draft's action), and the effect by category.

    Without a draft, `active` is false, the two are the same and there are no verdicts.
    """

    active: bool
    live: Standing
    draft: Standing
    verdicts: Mapping[tuple[Action, Action], int]
    effects: Mapping[str, Effect]
    model: str | None  # a draft model's version, if one runs beside
    model_verdicts: Mapping[tuple[Action, Action], int]


@dataclass(frozen=True, slots=True)
class FeedbackReport:
    """What feedback says of a policy's lines in force, by category, and the verdicts of recent traffic."""

    standing: Standing
    days: int
    verdicts: Mapping[Action, int]
    categories: Mapping[str, CategoryReport]


class Tuning:
    """Proposes and applies. `artifact` is the version of the scoring artefact: labels of another one say nothing."""

    def __init__(self, versions: PolicyVersions, store: Store, goals: Mapping[str, Goals], artifact: str) -> None:
        self._versions = versions
        self._store = store
        self._goals = goals
        self._artifact = artifact
        self.shadow_artifact: str | None = None

    def goals(self, name: str) -> Goals:
        """The goals of a policy."""
        return self._goals.get(name, Goals())

    async def labels(self, name: str) -> list[Label]:
        """What reviewers said within the goals' days."""
        since = time.time() - self.goals(name).days * DAY_S
        return labels_of(await self._store.feedback(name, self._artifact, since))

    async def recent(self, name: str, days: int = RECENT_DAYS) -> dict[Cell, int]:
        """The counts of the last days, today included."""
        return await self._store.counts(name, self._artifact, int(time.time() // DAY_S) - days + 1)

    async def adapt(
        self,
        name: str,
        *,
        apply: bool,
        author: str = "",
        expected: str | None = None,
        strategy: Strategy = "learn-then-test",
        targets: Mapping[str, Target] | None = None,
    ) -> Adaptation:
        """Propose, and with `apply` put it in force if it moves anything.

        Raises VersionConflict if the lines that it started from are no longer in force, or not those that `expected`
        tags; StoreUnavailable.
        """
        await self._versions.refresh(force=True)
        standing, goals = self._versions.standing(name), self.goals(name)
        if expected is not None and expected != standing.tag:
            raise VersionConflict("The thresholds have been changed since; read them again.")
        cells = await self.recent(name)
        counts = histogram(cells)
        proposal = await asyncio.to_thread(  # tens of thousands of labels take seconds
            propose,
            await self.labels(name),
            standing.policy.thresholds,
            goals.targets if targets is None else targets,
            goals.limits,
            goals.fixed,
            strategy,
            self._versions.base(name).thresholds,
        )
        effects = _effects(counts, standing.policy.thresholds, proposal.lines)
        version = None
        if apply and proposal.changed:
            version = await self._versions.set_lines(
                name,
                {category: (line.flag, line.review, line.block) for category, line in proposal.lines.items()},
                author=author,
                reason="adapt",
                expected=standing.tag,
                detail={"strategy": strategy, "moved": _moved(proposal)},
            )
        return Adaptation(standing, proposal, effects, version)

    async def report(self, name: str) -> FeedbackReport:
        """What feedback says, and what it does not say yet."""
        standing, goals = self._versions.standing(name), self.goals(name)
        labels = await self.labels(name)
        found = await asyncio.to_thread(report, labels, standing.policy.thresholds, goals.targets, goals.limits)
        return FeedbackReport(standing, goals.days, actions(await self.recent(name)), found)

    async def draft_report(self, name: str) -> DraftReport:
        """What a draft would have changed."""
        live, token = self._versions.standing(name), self._versions.draft_token(name)
        draft = live if token is None else self._versions.standing(name, "draft")
        cells = await self.recent(name)
        pairs = {} if token is None else transitions(cells, DRAFT + token)
        effects = _effects(histogram(cells), live.policy.thresholds, draft.policy.thresholds)
        model = self.shadow_artifact
        beside = {} if model is None else transitions(cells, SHADOW + model)
        return DraftReport(token is not None, live, draft, pairs, effects, model, beside)


def _moved(proposal: Proposal) -> dict[str, list[float]]:
    return {name: [p.old.flag, p.new.flag] for name, p in proposal.categories.items() if p.new != p.old}


def _effects(
    counts: Mapping[str, list[int]], before: Mapping[str, Thresholds], after: Mapping[str, Thresholds]
) -> dict[str, Effect]:
    return {
        name: Effect(sum(counts[name]), _shares(counts[name], before[name]), _shares(counts[name], after[name]))
        for name in CATEGORIES
    }


def _shares(counts: list[int], lines: Thresholds) -> dict[Action, float]:
    """The share of traffic at or over each line that the category may reach."""
    reach = {Action.FLAG: lines.flag, Action.REVIEW: lines.review, Action.BLOCK: lines.block}
    return {action: share_over(counts, line) for action, line in reach.items() if action <= lines.most}


def flag_rate(cells: Mapping[Cell, int]) -> float | None:
    """The share of verdicts that were flagged or stricter; None of none."""
    by_action = actions(cells)
    total = sum(by_action.values())
    return (total - by_action[Action.ALLOW]) / total if total else None
