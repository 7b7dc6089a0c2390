"""Signs that a text keeps its distance from what it says: it quotes, denies, condemns, warns, reports or tells a story.

Owns those signs. Refuses to judge: they are weak, anyone can write them, and what is made of them is bounded elsewhere.
"""

from __future__ import annotations

import re

from service.types import Span

_LOOK = 90  # code points before and after a span that are read

_NEGATION = re.compile(
    r"\b(?:not true|isn't true|is not true|untrue|false that|myth that|wrong to|never (?:say|tell|do|trick|threaten)|"
    r"(?:do not|don't|must not|should not|shouldn't|never|nobody should|stop|avoid|refuse to) (?:\w+ ){0,3}$)",
    re.IGNORECASE,
)
_CONDEMNATION = re.compile(
    r"\b(?:wrong|unacceptable|disgusting|horrible|awful|appalling|shameful|racist|sexist|hateful|bigoted|cruel|abusive|"
    r"condemn\w*|denounc\w*|reject\w*|disagree|oppose\w*|report(?:ed)? (?:it|this|him|her|them)|prejudice|stereotype)\b",
    re.IGNORECASE,
)
_REPORTING = re.compile(
    r"\b(?:say|said|says|saying|wrote|claimed|claims|told|called|according to|reported|allegedly|quoted|yelled|shouted|"
    r"accused|testified|the (?:article|report|study|film|novel|book|song|character|narrator|accused|defendant))\b",
    re.IGNORECASE,
)
_WARNING = re.compile(
    r"\b(?:beware|warning|scams?|scammers?|red flags?|how (?:to|can i|can you|do i|do you) (?:spot|recogni[sz]e|avoid|protect)|signs? (?:of|that)|"
    r"protect yourself|watch out|be careful|prevention|awareness|help ?line|hotline|support group|victims?|survivors?)\b",
    re.IGNORECASE,
)
_OPEN, _CLOSE = '"“‘«„', '"”’»“'


def distanced(text: str, span: Span) -> bool:
    """Whether what stands at the span is quoted and spoken against, denied, or warned of."""
    before = text[max(0, span.start - _LOOK) : span.start]
    after = text[span.end : span.end + _LOOK]
    near = before + " " + after
    if _NEGATION.search(before) or _WARNING.search(near):
        return True
    return (quoted(text, span) or bool(_REPORTING.search(before))) and bool(_CONDEMNATION.search(near))


def quoted(text: str, span: Span) -> bool:
    """Whether the span stands between quotation marks."""
    before, after = text[: span.start], text[span.end :]
    opened = max(before.rfind(mark) for mark in _OPEN)
    if opened < 0 or not any(mark in after for mark in _CLOSE):
        return False
    mark = before[opened]
    return before.count(mark) % 2 == 1 if mark == '"' else True
