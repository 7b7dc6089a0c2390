"""The constitution's part of a reply: which principles, why, where, and what would be fine instead.

Owns those fields. Refuses to know routes. What it quotes goes to whoever sent the text, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.constitution.critique import quote
from service.constitution.principles import Constitution, Principle
from service.constitution.reviser import Chain
from service.taxonomy import Action
from service.types import Content, Verdict

if TYPE_CHECKING:
    from service.runtime import Runtime


async def constitution_reply(runtime: Runtime, content: Content, verdict: Verdict) -> dict[str, Any]:
    """What `/v1/moderate` adds: the critique of what is flagged, and of what is blocked a revision that passed."""
    parts = runtime.parts
    with parts.users:
        reviser = parts.constitution.reviser
        if verdict.action >= Action.BLOCK:
            chain = await reviser.chain(content, verdict)
        else:
            chain = reviser.explain(content, verdict)
    constitution = parts.constitution.live.get(content.policy).constitution
    reply: dict[str, Any] = {"constitution": chain_reply(constitution, content, verdict, chain)}
    if verdict.action >= Action.BLOCK:
        reply["suggested_revision"] = chain.revision
    return reply


def chain_reply(constitution: Constitution, content: Content, verdict: Verdict, chain: Chain) -> dict[str, Any]:
    """Principles that are violated, and the critique; `escalated` says that the judge was asked."""
    found: list[dict[str, Any]] = []
    for breach in chain.breaches:
        entry: dict[str, Any] = {"id": breach.principle, "score": round(breach.score, 6), "reason": breach.reason}
        principle = constitution.get(breach.principle)
        if principle is not None:
            entry |= {"statement": principle.statement, "theme": principle.theme, "instead": principle.instead}
        if breach.span is not None:
            entry["span"] = {"start": breach.span.start, "end": breach.span.end}
            entry["quote"] = quote(content.text, breach.span)
        found.append(entry)
    return {
        "digest": constitution.digest[:12],
        "depth": content.constitution,
        "escalated": "judge" in verdict.timings_ms,
        "violated": found,
        "critique": chain.critique,
    }


def rounds_reply(chain: Chain) -> list[dict[str, Any]]:
    """Every attempt, its text included, in order."""
    return [{"made_by": one.made_by, "text": one.text, "action": one.action.wire} for one in chain.rounds]


def training_record(constitution: Constitution, content: Content, chain: Chain) -> dict[str, Any]:
    """One line for training: prompt, response, critique, revision and the principles that were applied."""
    names = [constitution.get(breach.principle) for breach in chain.breaches]
    asked = [principle for principle in names if principle is not None]
    return {
        "prompt": "\n".join(turn.text for turn in content.context),
        "response": content.text,
        "critique_request": " ".join(principle.critique for principle in asked if principle.critique),
        "critique": chain.critique,
        "revision_request": " ".join(principle.revision for principle in asked if principle.revision),
        "revision": chain.revision,
        "refused": chain.refused,
        "principles": [principle.id for principle in asked],
        "constitution": constitution.digest[:12],
    }


def principle_reply(principle: Principle, accuracy: float | None) -> dict[str, Any]:
    """A principle as its file says it; with the AUROC of its own examples where it is made of them."""
    entry: dict[str, Any] = {
        "id": principle.id,
        "theme": principle.theme,
        "statement": principle.statement,
        "categories": list(principle.categories),
        "severity": principle.severity,
        "means": list(principle.means),
        "instead": principle.instead,
    }
    if "classifier" not in principle.means or principle.detectors:
        entry |= {"line": principle.line, "action": principle.action.wire}
    if accuracy is not None:
        entry["leave_one_out_auroc"] = round(accuracy, 3)
    return entry
