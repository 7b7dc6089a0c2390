"""Harm-related words and phrases: how lexicon.toml is read, and where its patterns stand in a text.

Owns the lexicon's format, its checks, and matching with one Aho-Corasick automaton (Aho and Corasick, 1975), whose
time does not grow with the number of patterns. Refuses to know categories' scores, views and findings: it says which
pattern stands where, and the keyword stage makes of it what it will.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import ahocorasick  # type: ignore[import-not-found, unused-ignore]

from service.errors import PolicyInvalid
from service.taxonomy import CATEGORIES

DEFAULT_LEXICON = Path(__file__).parents[1] / "data" / "lexicon.toml"
PLACES = ("word", "stem", "anywhere", "sentence", "message")
FINAL_WEIGHT = 0.9  # a rule that nobody may lower has to be sure of itself
MAX_EXPANSION = 20_000  # patterns from one template; more is a slip in the file
_UNACCENTED_LETTERS = 5  # shorter words lose their accents to innocent ones: Turkish "piç", English "pic"
_KEYS = frozenset({"id", "category", "weight", "words", "inflect", "at", "case", "final", "alone"})
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_BRACES = re.compile(r"\{([^{}]*)\}")
_SENTENCE_START = re.compile(r"(?:^|[.!?…\n])\s*(?:@\w{1,30}[\s,:]{1,3}){0,3}$")
_LOOK_BACK = 120  # code points before a match that decide whether it starts a sentence
_SPACES = "\n\t\r\x0b\x0c\u00a0\u2002\u2003\u2009\u202f\u3000"
_PLAIN = str.maketrans(dict.fromkeys(_SPACES, " ") | {"\u2019": "'", "\u02bc": "'"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One [[group]] of the file. An `allow` rule has no category and weight, and cancels what it overlaps."""

    id: str
    category: str
    weight: float
    at: str = "word"
    case: bool = False
    final: bool = False
    alone: bool = False

    @property
    def allow(self) -> bool:
        """Whether this is the allow-list."""
        return not self.category


@dataclass(frozen=True, slots=True)
class Pattern:
    """A string to look for, already folded, and as it was written where the case of letters counts."""

    rule: Rule
    folded: str
    written: str

    @property
    def letters(self) -> int:
        """How many letters and digits it has: few letters turn up by accident."""
        return sum(map(str.isalnum, self.folded))


@dataclass(frozen=True, slots=True)
class Match:
    """A pattern that stands at text[start:end]."""

    pattern: Pattern
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All patterns and their automaton; immutable, a reload makes another."""

    patterns: tuple[Pattern, ...]
    automaton: ahocorasick.Automaton

    def matches(self, text: str) -> list[Match]:
        """Every match that the allow-list leaves standing, by where it ends."""
        if not len(self.automaton):
            return []
        folded = fold(text)
        found: list[Match] = []
        allowed: list[Match] = []
        last = len(folded)
        for at, patterns in self.automaton.iter(folded):
            end = at + 1
            open_after = end == last or not folded[end].isalnum()
            for pattern in patterns:
                start = end - len(pattern.folded)
                place = pattern.rule.at
                if place != "anywhere":
                    if (start and folded[start - 1].isalnum()) or (not open_after and place != "stem"):
                        continue
                    if place == "sentence" and not _starts_sentence(text, start):
                        continue
                    if place == "message" and not _is_message(text, start, end):
                        continue
                if pattern.rule.case and text[start:end] != pattern.written:
                    continue
                (allowed if pattern.rule.allow else found).append(Match(pattern, start, end))
        return _without(found, allowed) if allowed else found


def fold(text: str) -> str:
    """The text in lower case, its white space and apostrophes plain; exactly as long as it was.

    "İ" is the one character whose lower case is longer than itself, so it is taken apart from the rest.
    """
    return text.replace("İ", "i").lower().translate(_PLAIN)


def load_lexicon(path: Path = DEFAULT_LEXICON) -> Lexicon:
    """Read and check a lexicon. Raises PolicyInvalid with one sentence that names the file and the entry."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PolicyInvalid(f"{path.name}: cannot be read as TOML ({error}).") from error
    return parse_lexicon(raw, path.name)


def parse_lexicon(raw: Mapping[str, Any], source: str) -> Lexicon:
    """Make a lexicon of a parsed file; `source` names it in complaints."""
    unknown = sorted(set(raw) - {"slots", "group", "allow"})
    if unknown:
        raise PolicyInvalid(f"{source}: there is no table {unknown[0]!r}.")
    slots = _slots(raw.get("slots", {}), source)
    patterns: dict[tuple[str, str, str], Pattern] = {}
    ids: set[str] = set()
    groups = raw.get("group", [])
    if not isinstance(groups, list):
        raise PolicyInvalid(f"{source}: groups are written [[group]].")
    for number, group in enumerate(groups, 1):
        where = f"{source}: group {group.get('id', number)!r}"
        rule = _rule(group, where)
        if rule.id in ids:
            raise PolicyInvalid(f"{where} has the id of an earlier group.")
        ids.add(rule.id)
        for pattern in _patterns(rule, group, slots, where):
            other = patterns.setdefault((rule.category, rule.at, pattern.written), pattern)
            if other.rule is not rule:
                raise PolicyInvalid(f"{where}: {pattern.written!r} is already in group {other.rule.id!r}.")
    allow = Rule("allow", "", 0.0)
    for pattern in _patterns(allow, raw.get("allow", {"words": []}), slots, f"{source}: allow", empty=True):
        patterns[("", "", pattern.written)] = pattern
    return _built(tuple(patterns.values()))


def _built(patterns: tuple[Pattern, ...]) -> Lexicon:
    by_text: dict[str, list[Pattern]] = {}
    for pattern in patterns:
        by_text.setdefault(pattern.folded, []).append(pattern)
    automaton = ahocorasick.Automaton()
    for text, sharing in by_text.items():
        automaton.add_word(text, tuple(sharing))
    automaton.make_automaton()
    return Lexicon(patterns, automaton)


def _rule(group: Mapping[str, Any], where: str) -> Rule:
    unknown = sorted(set(group) - _KEYS)
    if unknown:
        raise PolicyInvalid(f"{where} has an unknown key {unknown[0]!r}.")
    rule_id, category, weight = group.get("id"), group.get("category"), group.get("weight")
    if not isinstance(rule_id, str) or not _ID.fullmatch(rule_id):
        raise PolicyInvalid(f"{where} needs an id of lower-case words joined by hyphens.")
    if category not in CATEGORIES:
        raise PolicyInvalid(f"{where}: category {category!r} is not in the taxonomy.")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0.0 < weight <= 1.0:
        raise PolicyInvalid(f"{where}: weight must be a number above 0 and at most 1.")
    at, flags = group.get("at", "word"), [group.get(name, False) for name in ("case", "final", "alone")]
    if at not in PLACES:
        raise PolicyInvalid(f"{where}: at must be one of {', '.join(PLACES)}.")
    if not all(isinstance(flag, bool) for flag in flags):
        raise PolicyInvalid(f"{where}: case, final and alone are true or false.")
    if flags[1] and weight < FINAL_WEIGHT:
        raise PolicyInvalid(f"{where}: a final rule needs a weight of at least {FINAL_WEIGHT}.")
    return Rule(rule_id, category, float(weight), at, *flags)


def _slots(raw: Any, source: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(raw, dict):
        raise PolicyInvalid(f"{source}: slots is a table of lists.")
    slots: dict[str, tuple[str, ...]] = {}
    for name, templates in raw.items():
        where = f"{source}: slot {name!r}"
        slots[name] = tuple(text for template in _strings(templates, where) for text in _expand(template, slots, where))
    return slots


def _patterns(
    rule: Rule, group: Any, slots: Mapping[str, tuple[str, ...]], where: str, empty: bool = False
) -> Iterator[Pattern]:
    inflect = group.get("inflect", "") if isinstance(group, dict) else ""
    if inflect not in ("", "noun", "verb"):
        raise PolicyInvalid(f"{where}: inflect is 'noun' or 'verb'.")
    templates = group.get("words") if isinstance(group, dict) else None
    for template in _strings(templates, where, empty):
        for text in _expand(template, slots, where):
            for form in _inflections(text, inflect):
                written = " ".join(form.split())
                if not written.isascii():
                    written = unicodedata.normalize("NFKC", written)
                if sum(map(str.isalnum, written)) < 2:
                    raise PolicyInvalid(f"{where}: {template!r} comes down to fewer than two letters.")
                for spelling in _spellings(written):
                    folded = fold(spelling)
                    yield Pattern(rule, folded, spelling if rule.case else folded)


def _strings(raw: Any, where: str, empty: bool = False) -> list[str]:
    if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw) or not (raw or empty):
        raise PolicyInvalid(f"{where} needs a list of strings.")
    return raw


def _expand(template: str, slots: Mapping[str, tuple[str, ...]], where: str) -> Iterator[str]:
    """Every reading of a template: {name} is a slot, {a|b} the alternatives themselves."""
    parts = _BRACES.split(template)
    if any(brace in part for part in parts for brace in "{}"):
        raise PolicyInvalid(f"{where}: {template!r} has a brace too many.")
    choices: list[tuple[str, ...]] = []
    total = 1
    for index, part in enumerate(parts):
        if index % 2 and "|" not in part and part not in slots:
            raise PolicyInvalid(f"{where}: {template!r} names the slot {part!r}, which is not defined above it.")
        choices.append((part,) if index % 2 == 0 else slots[part] if part in slots else tuple(part.split("|")))
        total *= len(choices[-1])
    if total > MAX_EXPANSION:
        raise PolicyInvalid(f"{where}: {template!r} makes {total} patterns, more than {MAX_EXPANSION}.")
    return ("".join(choice) for choice in product(*choices))


def _inflections(text: str, how: str) -> tuple[str, ...]:
    """The word and its regular English forms; only its last word changes."""
    if not how:
        return (text,)
    sibilant = text.endswith(("s", "x", "z", "ch", "sh"))
    falling = text.endswith("y") and text[-2:-1] not in "aeiou"
    plural = text + "es" if sibilant else text[:-1] + "ies" if falling else text + "s"
    if how == "noun":
        return (text, plural)
    stem = text
    if text.endswith("e"):
        stem = text[:-1]
    elif re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", text):  # one short syllable doubles its end: stab, stabbed
        stem = text + text[-1]
    past = text[:-1] + "ied" if falling else stem + "ed"
    return (text, plural, past, stem + "ing")


def _spellings(text: str) -> tuple[str, ...]:
    """The text, and without its accents where what is left is plain Latin and long enough to be itself."""
    if text.isascii():
        return (text,)
    bare = "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))
    if bare == text or not bare.isascii() or sum(map(str.isalpha, bare)) < _UNACCENTED_LETTERS:
        return (text,)
    return (text, bare)


def _starts_sentence(text: str, start: int) -> bool:
    """Whether nothing but names it is addressed to stands between a sentence's start and `start`."""
    before = text[max(0, start - _LOOK_BACK) : start]
    if start > _LOOK_BACK:
        before = "x" + before  # "^" below is the start of the text, not of what is looked at
    return bool(_SENTENCE_START.search(before))


def _is_message(text: str, start: int, end: int) -> bool:
    """Whether the text says nothing else."""
    return len(text) - (end - start) <= _LOOK_BACK and not any(map(str.isalnum, text[:start] + text[end:]))


def _without(found: list[Match], allowed: list[Match]) -> list[Match]:
    """The matches that no allowed one overlaps, and those that say more than the allowed one within them."""
    ordered = sorted(allowed, key=lambda match: match.start)
    kept: list[Match] = []
    reach = max(match.end - match.start for match in ordered)
    starts = [match.start for match in ordered]
    for match in found:
        near = ordered[bisect_left(starts, match.start - reach) : bisect_left(starts, match.end)]
        if not any(_cancels(allow, match) for allow in near):
            kept.append(match)
    return kept


def _cancels(allow: Match, match: Match) -> bool:
    within = match.start <= allow.start and allow.end <= match.end
    longer = match.end - match.start > allow.end - allow.start
    return allow.start < match.end and match.start < allow.end and not (within and longer)
