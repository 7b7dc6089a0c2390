"""Policies, versions, proposals and reports as JSON.

Owns the shapes of these replies. Refuses to know requests. Actions are named as on the wire, times are seconds since
the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from service.feedback.adaptation import CategoryProposal
from service.feedback.goals import Goals
from service.feedback.report import CategoryReport
from service.feedback.targets import Estimate, Target
from service.feedback.tuning import Adaptation, DraftReport, Effect, FeedbackReport
from service.feedback.versions import Standing
from service.policy import Thresholds
from service.records import Event, Version
from service.taxonomy import CATEGORIES, Action


def to_policy(standing: Standing, model: str, goals: Goals, draft: str | None) -> dict[str, Any]:
    """A policy as it is in force."""
    policy = standing.policy
    return {
        "name": policy.name,
        "version": policy.version,
        "number": standing.number,
        "set_by": standing.author or None,
        "reason": standing.reason or None,
        "at": standing.at,
        "preset": policy.preset,
        "model": model,
        "on_degraded": policy.on_degraded.wire,
        "on_language": policy.on_language.wire,
        "on_unscanned_image": policy.on_unscanned_image.wire,
        "draft": draft is not None,
        "thresholds": {name: to_thresholds(name, lines, goals) for name, lines in policy.thresholds.items()},
    }


def to_thresholds(name: str, lines: Thresholds, goals: Goals) -> dict[str, Any]:
    """One category: its lines, and what they have to meet where feedback moves them."""
    target = goals.targets.get(name)
    return {
        **_lines(lines),
        "max_lowering": lines.max_lowering,
        "most": lines.most.wire,
        "harm_type": CATEGORIES[name].harm_type,
        "fixed": name in goals.fixed,
        "target": None if target is None else _target(target),
    }


def to_version(version: Version) -> dict[str, Any]:
    """One version."""
    return {
        "number": version.number,
        "chain": version.key.chain,
        "author": version.author,
        "reason": version.reason,
        "at": version.at,
        "detail": dict(version.detail),
        "thresholds": {
            name: {"flag": flag, "review": review, "block": block}
            for name, (flag, review, block) in version.lines.items()
        },
    }


def to_event(event: Event) -> dict[str, Any]:
    """One line of the audit trail."""
    return {"kind": event.kind, "actor": event.actor, "at": event.at, "detail": dict(event.detail)}


def to_adaptation(adapted: Adaptation) -> dict[str, Any]:
    """A proposal, its grounds and effect, and whether it is in force."""
    return {
        "policy": adapted.standing.policy.name,
        "applied": adapted.version is not None,
        "changed": adapted.proposal.changed,
        "strategy": adapted.proposal.strategy,
        "from": adapted.standing.number,
        "number": adapted.standing.number if adapted.version is None else adapted.version.number,
        "categories": {
            name: _proposal(proposal, adapted.effects[name]) for name, proposal in adapted.proposal.categories.items()
        },
    }


def _proposal(proposal: CategoryProposal, effect: Effect) -> dict[str, Any]:
    return {
        "old": _lines(proposal.old),
        "new": _lines(proposal.new),
        "reason": proposal.reason,
        "target": None if proposal.target is None else _target(proposal.target),
        "labels": proposal.labels,
        "receipts": proposal.receipts,
        "supported": proposal.supported,
        "before": to_estimate(proposal.before),
        "after": to_estimate(proposal.after),
        "out_of_line": list(proposal.out_of_line),
        "unproven": list(proposal.unproven),
        "effect": _effect(effect),
    }


def to_draft(report: DraftReport) -> dict[str, Any]:
    """A draft beside the live lines."""
    return {
        "policy": report.live.policy.name,
        "active": report.active,
        "number": report.draft.number if report.active else None,
        **_compared(report.verdicts),
        "categories": {
            name: {
                "live": _lines(report.live.policy.thresholds[name]),
                "draft": _lines(report.draft.policy.thresholds[name]),
                "effect": _effect(effect),
            }
            for name, effect in report.effects.items()
            if report.live.policy.thresholds[name] != report.draft.policy.thresholds[name]
        },
        "model": None if report.model is None else {"artifact": report.model, **_compared(report.model_verdicts)},
    }


def _compared(verdicts: Mapping[tuple[Action, Action], int]) -> dict[str, Any]:
    """Verdicts by what was done and what would have been done."""
    return {
        "verdicts": sum(verdicts.values()),
        "changed": sum(n for (live, draft), n in verdicts.items() if live is not draft),
        "would_block": sum(n for (live, draft), n in verdicts.items() if draft is Action.BLOCK > live),
        "by_action": [
            {"live": live.wire, "draft": draft.wire, "verdicts": n} for (live, draft), n in sorted(verdicts.items())
        ],
    }


def to_report(found: FeedbackReport) -> dict[str, Any]:
    """What feedback says of the lines in force."""
    return {
        "policy": found.standing.policy.name,
        "number": found.standing.number,
        "days": found.days,
        "recent_verdicts": {action.wire: n for action, n in found.verdicts.items()},
        "categories": {name: _category(category) for name, category in found.categories.items()},
    }


def _category(found: CategoryReport) -> dict[str, Any]:
    counts = ("labels", "receipts", "audited", "twice", "disputed", "harmful", "innocent", "split")
    return {
        **{name: getattr(found, name) for name in counts},
        "precision": to_estimate(found.precision),
        "fpr": to_estimate(found.fpr),
        "fnr": to_estimate(found.fnr),
        "missing": dict(found.missing),
        "out_of_line": [asdict(standing) for standing in found.out_of_line],
    }


def to_estimate(found: Estimate | None) -> dict[str, Any] | None:
    """A metric with its exact interval."""
    if found is None:
        return None
    return {
        "line": found.line,
        "events": found.events,
        "trials": found.trials,
        "value": found.value,
        "low": found.low,
        "high": found.high,
    }


def _effect(effect: Effect) -> dict[str, Any] | None:
    """Shares of recent traffic at or over each line, or null where there was no traffic."""
    if not effect.verdicts:
        return None
    return {"verdicts": effect.verdicts, "before": _shares(effect.before), "after": _shares(effect.after)}


def _shares(shares: Mapping[Action, float]) -> dict[str, float]:
    return {action.wire: round(share, 6) for action, share in shares.items()}


def _lines(lines: Thresholds) -> dict[str, float]:
    return {"flag": lines.flag, "review": lines.review, "block": lines.block}


def _target(target: Target) -> dict[str, Any]:
    return {"metric": target.metric, "bound": target.bound, "delta": target.delta}
