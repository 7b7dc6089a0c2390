"""Categories that are made of two facts: `sexual/minors`, `hate/threatening`.

Owns how the facts are joined. Refuses to know thresholds and how a score came about. There is hardly a row to train
`sexual/minors` on, and none may be written; but what is sexual is known well, and words for a child are plain. Of
threats to groups there are few rows too: hate that is violent is one, by the taxonomy's own words.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from service.normalize import LONG_CHARS, View, views
from service.types import Content, Finding, Span

STAGE = "composition"
SEXUAL, MINORS = "sexual", "sexual/minors"
LEAST = 0.1  # below this there is nothing to compose
HATE, VIOLENCE, THREAT = "hate", "violence", "hate/threatening"
JOINT_SHARE = 0.9  # of the weaker of the two facts

_NUMBERS = "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
_UNDER_18 = rf"(?:1[0-7]|[1-9]|{_NUMBERS})"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Words that tell of a minor, and which share of the parent's score they carry over."""

    id: str
    share: float
    pattern: re.Pattern[str]


def _evidence(id_: str, share: float, pattern: str) -> Evidence:
    return Evidence(id_, share, re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE))


EVIDENCE = (
    _evidence(
        "age",
        0.97,
        rf"{_UNDER_18}[\s-]*(?:yo|y/o|yrs?[\s-]*olds?|years?[\s-]*olds?|years? of age)|age[sd]? {_UNDER_18}"
        rf"|(?:turned|only|barely|just|is|am|i'm|she's|he's) {_UNDER_18}(?=[.,;!?]|$| and\b)|[mf]\s?/?1[0-7]",
    ),
    _evidence(
        "minor",
        0.97,
        r"under-?aged?|minors?|pre-?teens?|prepubescents?|lolis?|lolicon|shota(?:con)?|under (?:18|eighteen)",
    ),
    _evidence(
        "child",
        0.85,
        r"child|children|kids?|toddlers?|school-?(?:girl|boy)s?|little (?:girl|boy)s?|young (?:girl|boy)s?|tweens?"
        r"|(?:[3-9]|1[01])th grade(?:rs?)?"
        r"|(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth) grade(?:rs?)?"
        r"|middle[\s-]school(?:er|ers)?|elementary school(?:er|ers)?|(?:girl|boy) scouts?|babysit(?:ter|ting)",
    ),
    _evidence("teenager", 0.7, r"teen(?:age|aged|ager|agers|s)?|high[\s-]school(?:er|ers)?|adolescents?"),
    _evidence(
        "family",
        0.4,
        r"daughters?|(?:little|kid|younger) (?:sister|brother)s?|sons?|nieces?|nephews?|students?|pupils?",
    ),
)
_ADULTS = re.compile(r"\b18\s?\+|\bover (?:18|eighteen)\b|\badults? only\b|\bconsenting adults?\b", re.IGNORECASE)
_SURE = 0.9  # evidence from this share on stands beside talk of adults


def has_facts(content: Content, so_far: Sequence[Finding]) -> bool:
    """The gate of the stage: whether the detectors found anything to compose with."""
    return _score(SEXUAL, so_far) >= LEAST or min(_score(HATE, so_far), _score(VIOLENCE, so_far)) >= LEAST


def _strongest(category: str, so_far: Sequence[Finding]) -> Finding | None:
    found = [finding for finding in so_far if finding.category == category and not finding.overrides]
    return max(found, key=lambda finding: finding.score, default=None)


def _score(category: str, so_far: Sequence[Finding]) -> float:
    found = _strongest(category, so_far)
    return 0.0 if found is None else found.score


def violent_hate(so_far: Sequence[Finding]) -> list[Finding]:
    """Hate and violence in one text, as sure as the weaker of the two; it stands where the violence does."""
    hate, violence = _strongest(HATE, so_far), _strongest(VIOLENCE, so_far)
    if hate is None or violence is None or min(hate.score, violence.score) < LEAST:
        return []
    score = round(min(hate.score, violence.score) * JOINT_SHARE, 6)
    return [Finding(THREAT, score, STAGE, "composition:violence", violence.span)]


class CompositionStage:
    """A detector that reads what the stages before it found: sexual and about a minor, or hateful and violent.

    A minor's score is the parent's times the share of the plainest evidence; the reason names it, the span shows it.
    """

    name = STAGE

    async def inspect(self, content: Content, so_far: Sequence[Finding]) -> list[Finding]:
        """At most one finding of each kind."""
        found, sexual = violent_hate(so_far), _score(SEXUAL, so_far)
        if sexual < LEAST:
            return found
        if len(content.text) > LONG_CHARS:
            return found + await asyncio.to_thread(self._minors, content.text, sexual)
        return found + self._minors(content.text, sexual)

    @staticmethod
    def _minors(text: str, sexual: float) -> list[Finding]:
        best: tuple[Evidence, Span] | None = None
        for view in views(text):
            found = plainest(view)
            if found is not None and (best is None or found[0].share > best[0].share):
                best = found
        if best is None:
            return []
        evidence, span = best
        return [Finding(MINORS, round(sexual * evidence.share, 6), STAGE, f"composition:{evidence.id}", span)]


def plainest(view: View) -> tuple[Evidence, Span] | None:
    """The strongest evidence of a minor in one reading, with its place in the original; None where there is none."""
    adults = _ADULTS.search(view.text) is not None
    for evidence in EVIDENCE:
        if adults and evidence.share < _SURE:
            break
        match = evidence.pattern.search(view.text)
        if match is not None:
            return evidence, Span(*view.original_span(match.start(), match.end()))
    return None
