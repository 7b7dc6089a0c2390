"""Records as JSON, the form that both stores keep them in.

Owns the spelling, which must stay readable to later versions. Refuses to know where it is kept.
"""

from __future__ import annotations

import json
from typing import Any

from service.records import Answer, Cell, ChainKey, Event, Feedback, Version
from service.taxonomy import Action


def write_feedback(entry: Feedback) -> str:
    """A feedback as one line."""
    answers = {c: [int(a.harmful), round(a.score, 6), int(a.action)] for c, a in entry.answers.items()}
    body = {
        **{"receipt": entry.receipt, "reviewer": entry.reviewer, "policy": entry.policy},
        **{"policy_version": entry.policy_version, "artifact": entry.artifact, "made": entry.made, "at": entry.at},
        **{"audited": entry.audited, "audit_share": entry.audit_share, "answers": answers},
        **{"note": entry.note, "source": entry.source, "whole": entry.whole},
    }
    return json.dumps(body, separators=(",", ":"))


def read_feedback(line: str | bytes) -> Feedback:
    """The feedback of a line."""
    body = json.loads(line)
    answers = {c: Answer(bool(h), float(s), Action(a)) for c, (h, s, a) in body.pop("answers").items()}
    return Feedback(answers=answers, **body)


def write_version(version: Version) -> str:
    """A version as one line."""
    body = {
        **{"number": version.number, "lines": version.lines, "author": version.author, "reason": version.reason},
        **{"at": version.at, "token": version.token, "detail": version.detail},
    }
    return json.dumps(body, separators=(",", ":"))


def read_version(key: ChainKey, line: str | bytes) -> Version:
    """The version of a line in this chain."""
    body: dict[str, Any] = json.loads(line)
    lines = {c: (float(f), float(r), float(b)) for c, (f, r, b) in body.pop("lines").items()}
    return Version(key=key, lines=lines, **body)


def write_event(event: Event) -> str:
    """An event as one line."""
    body = {"policy": event.policy, "kind": event.kind, "actor": event.actor, "at": event.at, "detail": event.detail}
    return json.dumps(body, separators=(",", ":"))


def read_event(line: str | bytes) -> Event:
    """The event of a line."""
    return Event(**json.loads(line))


def write_cell(cell: Cell) -> str:
    """What of a cell is not in the key it lies under: category, bin, action, audited."""
    return f"{cell.category} {cell.bin} {cell.action} {int(cell.audited)}"


def read_cell(policy: str, artifact: str, day: int, text: str) -> Cell:
    """The cell of a text under these."""
    category, number, action, audited = text.rsplit(" ", 3)
    return Cell(policy, artifact, day, category, int(number), int(action), audited == "1")


def changed_version(version: Version) -> Event:
    """What the audit trail says of a new version."""
    detail = {"chain": version.key.chain, "base": version.key.base, "number": version.number, **version.detail}
    return Event(version.key.policy, version.reason, version.author, version.at, detail)


def changed_mind(before: Feedback, after: Feedback) -> Event:
    """What the audit trail says of an answer that another one replaced: the whole of what it was."""
    detail = {"receipt": before.receipt, "before": json.loads(write_feedback(before))}
    return Event(after.policy, "feedback_replaced", after.reviewer, after.at, detail)
