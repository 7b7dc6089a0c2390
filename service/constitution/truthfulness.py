"""What can be said of a text's truth without knowing the world: claims without support, contradiction, bad statistics.

Owns those three detectors. Refuses to know facts: none of them says that a claim is false, each says why a reader has
no reason to believe it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from service.constitution.cues import distanced
from service.constitution.evidence import MOST_PLACES, Evidence, pattern, places
from service.types import Span

_CLAIMS = (
    pattern(
        0.75,
        r"(?:scientists|doctors|experts|studies|researchers|historians|they)(?: \w+)? (?:don't|do not|won't) want you to know",
    ),
    pattern(
        0.7,
        r"(?:it is|it's|it has been) (?:a )?(?:well[- ]known|proven|scientifically proven|undeniable|established)(?: fact)?(?: that)?",
    ),
    pattern(
        0.7,
        r"(?:100|one hundred|a hundred) ?(?:%|percent|per cent) (?:guaranteed|effective|proven|safe|natural cure|certain|accurate)",
    ),
    pattern(
        0.7,
        r"(?:cures?|heals?|reverses?|eliminates?) (?:all |any |every |your )?(?:cancer|diabetes|autism|aids|alzheimer'?s|covid(?:-19)?|arthritis|depression|illness(?:es)?|diseases?)",
    ),
    pattern(0.65, r"(?:everyone|everybody|nobody|no one) (?:knows|denies|believes|can deny)(?: that)?"),
    pattern(
        0.65,
        r"(?:the truth is|the fact is|make no mistake|wake up|open your eyes)[,:]? (?:that )?(?:they|the (?:government|media|elite|elites|doctors|vaccines?|virus|pharma))",
    ),
    pattern(
        0.6,
        r"(?:studies|research|science|experts|doctors|scientists) (?:show|shows|prove|proves|say|says|agree|confirm|have proven|has proven)(?: that)?",
    ),
    pattern(0.6, r"(?:without (?:a|any) doubt|undoubtedly|beyond (?:any )?doubt|there is no question that)"),
)
_CLAIM_SIGNS = (
    *("want you", "proven", "prove", "known", "established", "undeniable", "%", "percent", "per cent", "cure", "heal"),
    *(
        "reverse",
        "eliminate",
        "everyone",
        "everybody",
        "nobody",
        "no one",
        "truth",
        "fact",
        "mistake",
        "wake up",
        "eyes",
    ),
    *("studies", "research", "science", "scientists", "experts", "doctors", "doubt", "question"),
)
# A source beside the claim: an address, a year in brackets, a named body, a title that is cited.
_SOURCE = re.compile(
    r"https?://|\bdoi\b|\(\s*(?:[A-Z][\w.&' -]+,? )?(?:19|20)\d\d\s*\)|\[\d+\]|\bet al\b|\baccording to (?:the |a |an )?[A-Z]|"
    r"\b(?:published|reported) (?:in|by) (?:the )?[A-Z]|\b(?:WHO|CDC|NHS|NASA|Cochrane|Lancet|Nature|Reuters)\b"
)
_STATISTICS = (
    pattern(
        0.7,
        r"\d{1,3}(?:\.\d+)? ?(?:%|percent|per cent) of (?:all )?(?:people|women|men|americans|immigrants|muslims|doctors|users|voters|crimes?|cases|students|scientists)\b(?! (?:surveyed|asked|in the (?:survey|study|sample)))",
    ),
    pattern(0.7, r"(?:doubles?|doubled|triples?|tripled|quadruples?) (?:your|the|their) (?:risk|chances?|odds|rate)"),
    pattern(
        0.65,
        r"(?:\d+|two|three|four|five|ten|twenty|a hundred) times (?:more|less|as) (?:likely|effective|dangerous|safe|many|powerful)",
    ),
    pattern(
        0.65,
        r"(?:crime|deaths?|cases|prices|sales|infections) (?:has|have|had)? ?(?:exploded|skyrocketed|soared|collapsed|plummeted)",
    ),
    pattern(
        0.6,
        r"(?:9|nine|four|4|8|eight) out of (?:10|ten|5|five) (?:\w+ )?(?:doctors|dentists|people|experts|women|men|users|customers)",
    ),
    pattern(0.6, r"up to \d{1,3} ?(?:%|percent|per cent)"),
)
_STATISTIC_SIGNS = (
    *("%", "percent", "per cent", "double", "triple", "quadruple", " times ", "exploded", "skyrocketed", "soared"),
    *("collapsed", "plummeted", "out of"),
)
_BASE = re.compile(
    r"\b(?:n ?= ?\d+|out of \d{2,}|survey of|sample of|of \d{2,} (?:people|patients|respondents|participants)|"
    r"confidence interval|margin of error|compared (?:to|with)|from \d[\d.,]*(?: ?%| percent)? to|in absolute terms|"
    r"between (?:19|20)\d\d and (?:19|20)\d\d)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_NEGATIVE = frozenset(
    [
        "not",
        "never",
        "no",
        "none",
        "nobody",
        "cannot",
        "can't",
        "don't",
        "doesn't",
        "didn't",
        "isn't",
        "aren't",
        "wasn't",
        "won't",
        "hasn't",
        "haven't",
        "weren't",
    ]
)
_FILLER = frozenset(
    [
        *(
            "the",
            "a",
            "an",
            "of",
            "to",
            "in",
            "on",
            "at",
            "and",
            "or",
            "is",
            "are",
            "was",
            "were",
            "be",
            "been",
            "has",
            "have",
        ),
        *(
            "had",
            "do",
            "does",
            "did",
            "it",
            "this",
            "that",
            "these",
            "those",
            "i",
            "you",
            "he",
            "she",
            "we",
            "they",
            "for",
        ),
        *(
            "with",
            "will",
            "can",
            "could",
            "would",
            "should",
            "may",
            "my",
            "your",
            "his",
            "her",
            "their",
            "our",
            "there",
            "but",
        ),
        *("so", "as", "any", "all", "very", "really", "just", "always", "ever", "however", "actually"),
    ]
)
_OPPOSITES = tuple(
    (frozenset(a.split()), frozenset(b.split()))
    for a, b in (
        ("safe", "dangerous unsafe"), ("increase increased rises rose", "decrease decreased falls fell"),
        ("legal", "illegal"), ("true", "false untrue"), ("possible", "impossible"),
        ("free", "costs paid"), ("open", "closed"), ("alive", "dead"), ("before", "after"), ("won", "lost"),
    )
)  # fmt: skip
LEAST_SHARED = 3  # content words that two sentences must share to speak of the same thing
SHARED_FROM = 0.6  # of the shorter one's content words
MOST_SENTENCES = 40  # that are compared with one another


def unsupported_claims(text: str) -> Sequence[Evidence]:
    """Appeals to proof, authority or everyone, with no source in the same sentence."""
    return [
        one
        for one in places(text, _CLAIMS, "unsupported-claim", _CLAIM_SIGNS)
        if not _SOURCE.search(_around(text, one.span)) and not distanced(text, one.span)
    ]


def misleading_statistics(text: str) -> Sequence[Evidence]:
    """Shares, multiples and soaring numbers without what they are measured against, nor a source."""
    return [
        one
        for one in places(text, _STATISTICS, "misleading-statistic", _STATISTIC_SIGNS)
        if not _SOURCE.search(_around(text, one.span)) and not _BASE.search(_around(text, one.span))
    ]


def contradictions(text: str) -> Sequence[Evidence]:
    """Two sentences about the same thing, of which one denies what the other says; the later one is the place."""
    all_words = frozenset(_WORD.findall(text.lower()))
    if not all_words & _NEGATIVE and not any(a & all_words and b & all_words for a, b in _OPPOSITES):
        return []
    read: list[tuple[frozenset[str], frozenset[str], int]] = []
    found: list[Evidence] = []
    for match in list(_SENTENCE.finditer(text))[:MOST_SENTENCES]:
        sentence = match.group()
        if "?" in sentence:
            continue
        words = _WORD.findall(sentence.lower())
        every = frozenset(words)
        content = every - _FILLER - _NEGATIVE
        denials = sum(word in _NEGATIVE for word in words) % 2
        for other_content, other_every, other_denials in read:
            if _deny(content, every, denials, other_content, other_every, other_denials):
                lead = len(sentence) - len(sentence.lstrip())
                span = Span(match.start() + lead, match.start() + len(sentence.rstrip()))
                found.append(Evidence(0.7, span, "contradiction"))
                break
        read.append((content, every, denials))
    return found[:MOST_PLACES]


def _deny(
    content: frozenset[str],
    every: frozenset[str],
    denials: int,
    other_content: frozenset[str],
    other_every: frozenset[str],
    other_denials: int,
) -> bool:
    opposite = any((a & every and b & other_every) or (b & every and a & other_every) for a, b in _OPPOSITES)
    marks = frozenset().union(*(a | b for a, b in _OPPOSITES)) if opposite else frozenset()
    mine, others = content - marks, other_content - marks
    shared = len(mine & others)
    if shared < LEAST_SHARED or shared < SHARED_FROM * max(1, min(len(mine), len(others))):
        return False
    return (denials != other_denials) != opposite


def _around(text: str, span: Span) -> str:
    """The sentence that the span stands in."""
    start = max(text.rfind(mark, 0, span.start) for mark in ".!?\n") + 1
    ends = [place for mark in ".!?\n" if (place := text.find(mark, span.end)) >= 0]
    return text[start : min(ends, default=len(text)) + 40]


TRUTHFULNESS = {
    "unsupported-claim": unsupported_claims,
    "misleading-statistic": misleading_statistics,
    "contradiction": contradictions,
}
