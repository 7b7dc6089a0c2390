"""A policy's rules for growing texts, as its file's `[stream]` table says them. Pure.

Owns names, defaults and bounds of these rules. Refuses to know how they are carried out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from service.errors import PolicyInvalid
from service.segments import MOST_CHARS, OVERLAP_CHARS
from service.taxonomy import Action
from service.types import Verdict

Mode = Literal["stop", "redact", "revise", "observe"]
BOUNDS = {"hold_ms": (0, 60_000), "segment_chars": (40, MOST_CHARS), "overlap_chars": (0, 160)}


@dataclass(frozen=True, slots=True)
class StreamRules:
    """What happens to a text that grows while it is judged.

    `mode`: a block stops the text, has its span masked, has its segment revised, or is only counted.
    `on_review`, `on_degraded`: whether a review, and one for want of a stage, stops as a block does.
    `hold_ms`: how long text is held while the upstream is silent, before an extra verdict may release it up to its last
    word; 0 holds it until its segment is whole.
    `judge_in_context`: segments of a reply are judged beside the prompt's end too, which costs as much again.
    """

    mode: Mode = "stop"
    on_review: Literal["pass", "stop"] = "pass"
    on_degraded: Literal["pass", "stop"] = "stop"
    hold_ms: int = 400
    segment_chars: int = MOST_CHARS
    overlap_chars: int = OVERLAP_CHARS
    judge_system: bool = False
    judge_in_context: bool = False
    allow_unjudged_parts: bool = False


def holds_back(verdict: Verdict, rules: StreamRules) -> bool:
    """Whether text of this verdict is held back: a reply's segment, or a prompt before its upstream is asked."""
    if rules.mode == "observe":
        return False
    stops = rules.on_review if verdict.whole else rules.on_degraded
    return verdict.action >= Action.BLOCK or (verdict.action >= Action.REVIEW and stops == "stop")


def read_rules(where: str, table: Mapping[str, Any]) -> StreamRules:
    """The rules of a table; PolicyInvalid says in one sentence what is wrong."""
    known = {field.name for field in fields(StreamRules)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise PolicyInvalid(f"{where}: {unknown[0]!r} is not a key; there are {', '.join(sorted(known))}")
    hints = get_type_hints(StreamRules)
    for name, value in table.items():
        if get_origin(hints[name]) is Literal:
            if value not in get_args(hints[name]):
                raise PolicyInvalid(f"{where}: {name} must be one of {', '.join(get_args(hints[name]))}")
        elif type(value) is not hints[name]:
            kind = "true or false" if hints[name] is bool else "a whole number"
            raise PolicyInvalid(f"{where}: {name} must be {kind}")
        elif name in BOUNDS and not BOUNDS[name][0] <= value <= BOUNDS[name][1]:
            raise PolicyInvalid(f"{where}: {name} must lie between {BOUNDS[name][0]} and {BOUNDS[name][1]}")
    return StreamRules(**table)
