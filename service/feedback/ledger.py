"""What a verdict leaves behind: a receipt, a count, perhaps a request for review, and what a draft would have done.

Owns the order of these on the hot path. Refuses to wait for anything: no store, no file, no lock. It costs some
tens of microseconds and cannot fail a verdict for want of a store.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

from service.feedback.receipts import Receipts
from service.feedback.shadow import Shadow
from service.feedback.traffic import DRAFT, Traffic
from service.metrics import Metrics
from service.policy import Draft, LivePolicies, Policy
from service.taxonomy import Action
from service.types import Content, Verdict

_DRAWS = 1 << 32


class Ledger:
    """Enters verdicts. `audit_share` is the probability with which a verdict asks for review, whatever it says."""

    def __init__(
        self, receipts: Receipts, traffic: Traffic, policies: LivePolicies, metrics: Metrics, audit_share: float
    ) -> None:
        self.receipts = receipts
        self.traffic = traffic
        self.shadow: Shadow | None = None
        self._policies = policies
        self._metrics = metrics
        self._share = audit_share

    def enter(self, content: Content, verdict: Verdict) -> Verdict:
        """The verdict with its receipt. One that a stage is missing from is neither counted nor drawn for review."""
        drawn = os.urandom(16)
        audit = verdict.whole and int.from_bytes(drawn[12:], "big") < self._share * _DRAWS
        receipt = self.receipts.issue(
            content, verdict, made=time.time(), identity=drawn[:12], audited=audit, audit_share=self._share
        )
        entered = replace(verdict, receipt=receipt, audit=audit)
        if verdict.whole:
            draft = self._policies.draft(verdict.policy)
            self.traffic.note(entered)
            if draft is not None:
                self._compare(draft, entered)
            if self.shadow is not None:
                self.shadow.offer(content, entered)
        if audit:
            self._metrics.audits.inc()
        return entered

    def _compare(self, draft: Draft, verdict: Verdict) -> None:
        """Count what the draft would have done beside what was done."""
        action = act(draft.policy, verdict)
        self.traffic.compare(verdict, DRAFT + draft.token, action)
        self._metrics.count_beside("draft", verdict.policy, verdict.action, action)


def act(policy: Policy, verdict: Verdict) -> Action:
    """The action of a policy's lines on the scores of a verdict that no stage is missing from."""
    lines = policy.thresholds
    action = max(lines[judgement.category].action(judgement.score) for judgement in verdict.judgements)
    if any(entry.startswith("language:") for entry in verdict.degraded):
        action = max(action, policy.on_language)
    if any(entry.startswith("visual:") for entry in verdict.degraded):
        action = max(action, policy.on_unscanned_image)
    return action
