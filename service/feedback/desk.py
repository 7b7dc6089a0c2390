"""Where feedback comes in: a receipt or a content, and what a reviewer says of it, become a record.

Owns what is recorded of whom. Refuses to know HTTP, and keeps no text: of a content it keeps a keyed hash at most.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from service.errors import ReceiptMismatch
from service.feedback.labels import Label
from service.feedback.receipts import Receipt, Receipts
from service.feedback.truths import settle
from service.metrics import Metrics
from service.policy import LivePolicies
from service.records import Answer, Appended, Feedback, Store
from service.taxonomy import Action
from service.types import Content, Verdict

Judge = Callable[[Content], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one reviewer says: harmful or not, or truths by category; `note` is an id in the reviewer's own system."""

    reviewer: str
    harmful: bool | None = None
    categories: Mapping[str, bool] = field(default_factory=dict)
    note: str = ""


class FeedbackDesk:
    """Takes feedback. `judge` scores a content without counting it as traffic."""

    def __init__(
        self, receipts: Receipts, store: Store, policies: LivePolicies, judge: Judge, artifact: str, metrics: Metrics
    ) -> None:
        self._receipts = receipts
        self._store = store
        self._policies = policies
        self._judge = judge
        self._artifact = artifact
        self._metrics = metrics

    def open(self, token: str, content: Content | None = None) -> Receipt:
        """A genuine receipt; with a content, only if it was issued for that one."""
        receipt = self._receipts.open(token, time.time())
        if content is not None and not self._receipts.belongs(receipt, content):
            raise ReceiptMismatch("The receipt was issued for another content.", param="receipt")
        return receipt

    def on_receipt(self, receipt: Receipt, opinion: Opinion) -> Feedback:
        """The record of an opinion on a receipt."""
        policy = self._policies.get(receipt.policy)
        truths = settle(opinion.harmful, opinion.categories, receipt.scores, receipt.actions, policy)
        return Feedback(
            receipt=receipt.id,
            reviewer=opinion.reviewer,
            policy=receipt.policy,
            policy_version=receipt.policy_version,
            artifact=receipt.artifact,
            made=receipt.made,
            at=time.time(),
            audited=receipt.audited,
            audit_share=receipt.audit_share,
            answers={c: Answer(truth, receipt.scores[c], receipt.actions[c]) for c, truth in truths.items()},
            note=opinion.note,
            whole=receipt.whole,
        )

    async def on_content(
        self, content: Content, opinion: Opinion, *, tie: str = "", source: str = "content"
    ) -> Feedback:
        """The record of an opinion on a content, scored anew.

        Whoever says something of the same `tie` (or, without one, the same text) under the same policy speaks of the
        same thing. It was not drawn at random, so it is no audit.
        """
        verdict = await self._judge(content)
        scores: dict[str, float] = {j.category: j.score for j in verdict.judgements}
        actions: dict[str, Action] = {j.category: j.action for j in verdict.judgements}
        policy = self._policies.get(content.policy)
        truths = settle(opinion.harmful, opinion.categories, scores, actions, policy)
        named = f"tie:{tie}" if tie else f"text:{content.text}"
        now = time.time()
        return Feedback(
            receipt=self._receipts.name_content(content.policy, self._artifact, named.encode("utf-8", "surrogatepass")),
            reviewer=opinion.reviewer,
            policy=content.policy,
            policy_version=verdict.policy_version,
            artifact=verdict.model,
            made=now,
            at=now,
            audited=False,
            audit_share=0.0,
            answers={c: Answer(truth, scores[c], actions[c]) for c, truth in truths.items()},
            note=opinion.note,
            source=source,
            whole=verdict.whole,
        )

    async def record(self, entries: Sequence[Feedback]) -> list[Appended]:
        """Keep them; what is answered is on disk. Raises StoreUnavailable."""
        done = await self._store.append_feedback(entries)
        for status in done:
            self._metrics.feedback.labels(status.value).inc()
        return done

    async def suggest(
        self, content: Content, categories: Mapping[str, bool], *, reviewer: str, tie: str = ""
    ) -> Appended:
        """Perspective's suggested score as feedback: the later one on the same comment counts."""
        opinion = Opinion(reviewer, categories=categories)
        entry = await self.on_content(content, opinion, tie=tie, source="perspective")
        return (await self.record([entry]))[0]


def labels_of(entries: Sequence[Feedback]) -> list[Label]:
    """What the statistics read. A verdict that a stage was missing from is left out: its scores mean something else."""
    return [
        Label(
            receipt=entry.receipt,
            category=category,
            score=answer.score,
            action=answer.action,
            audited=entry.audited,
            audit_share=entry.audit_share,
            harmful=answer.harmful,
            reviewer=entry.reviewer,
            at=entry.at,
        )
        for entry in entries
        if entry.whole
        for category, answer in entry.answers.items()
    ]
