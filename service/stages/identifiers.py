"""Personal identifiers in a text: cards, accounts, identity numbers, phones, addresses.

Owns the patterns, their checks (check digits, issuers, lengths, context words) and what each is worth. Refuses to
know readings, policies and whose data it is: a lone phone number or e-mail address is everyday and stays weak, a card
or identity number is not. Sources: ISO/IEC 7812 (cards), ISO 13616 (IBAN), python-stdnum, libphonenumber.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import phonenumbers
from stdnum import iban, luhn
from stdnum.exceptions import ValidationError
from stdnum.us import ssn

from service.types import Finding, Span

CATEGORY = "privacy"
MAX_FINDINGS = 3
MAX_CANDIDATES = 200  # of one kind; a text of nothing but digits stays cheap
STRONG = 0.5  # from here on an identifier counts as strong
TWO_STRONG = 0.98
THREE_WEAK = 0.6
_TOGETHER = 600  # code points within which weak identifiers are about one person
_PHONE_WINDOW = 40  # code points around a run of digits that the phone matcher is shown
_DIGIT = re.compile(r"\d")
_NO_DIGITS = bytes(code for code in range(128) if not chr(code).isdigit())
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212"), "-")  # as they stand in typeset numbers
_SEPARATED = r"(?:[ -]?\d)"
_NOT_BEFORE = r"(?<![\w.,/#=-])"
_NOT_AFTER = r"(?![\w/=]|[.,-]\d)"

_CARD = re.compile(rf"{_NOT_BEFORE}\d{_SEPARATED}{{12,18}}{_NOT_AFTER}")
_CARD_ISSUERS = re.compile(  # Visa, Mastercard, Amex, Diners, Discover, JCB, UnionPay, Maestro
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|(?:6011|65\d{2}|64[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
    r"|(?:5018|5020|5038|6304|6759|676[1-3])\d{12,15}"
)
_CARD_LAYOUT = re.compile(r"\d{13,19}|\d{4}(?:([ -])\d{4})(?:\1\d{4}){1,2}\1\d{1,4}|\d{4}[ -]\d{6}[ -]\d{4,5}")
_CARD_WORD = re.compile(r"(?i)\b(?:card|visa|mastercard|amex|credit|debit|cc|cvv|cvc|karte|tarjeta|carte)\b")
_NOT_CARD_WORD = re.compile(r"(?i)\b(?:order|tracking|isbn|imei|timestamp|invoice|ticket|parcel|shipment|serial)\b")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])")
_SSN = re.compile(rf"{_NOT_BEFORE}\d{{3}}([- ])\d{{2}}\1\d{{4}}{_NOT_AFTER}")
_SSN_SOLID = re.compile(r"(?i)\b(?:ssn|social security(?: number| no\.?| #)?)[\s:#]{0,3}(?:is |number )?(\d{9})(?!\d)")
_SSN_WORD = re.compile(r"(?i)\b(?:ssn|social security|social)\b")
_SSN_EXAMPLES = frozenset({"123456789", "078051120", "219099999", "987654321", "111111111", "457555462"})
_PASSPORT = re.compile(
    r"(?i)\b(?:passport|driver'?s licen[cs]e|driving licen[cs]e|national id|id card)\b[\s\w.:#]{0,20}?[\s:#]"
    r"(?=[A-Z0-9]{0,8}\d)([A-Z0-9]{6,14})\b(?<=\d[A-Z0-9])"
)
_DOCUMENT_GATE = re.compile(r"[pPdDnNiI\u0130\u0131](?i:assport|riv(?:er'?s|ing) licen|ational id|d card)")
_EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@[A-Za-z0-9][A-Za-z0-9-]{0,62}(?:\.[A-Za-z0-9-]{1,63}){0,4}\.[A-Za-z]{2,24}\b"
)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_VERSION_WORD = re.compile(r"(?i)(?:version|release|build|v)\s?$")
_STREET_GATE = re.compile(r"\d[A-Za-z]?,? [A-Z\d]")
_STREET_DE_GATE = re.compile(r"[eg.z] \d")
_STREET = re.compile(
    r"(?<![\w.,/-])\d{1,5}[A-Za-z]?,? (?:[NSEW]\.? |North |South |East |West )?"
    r"(?:[A-Z][a-z'.-]{1,20} |\d{1,3}(?:st|nd|rd|th) )"
    r"{1,3}(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Terrace|Close|Crescent)"
    r"\b(?!\.\w)"
)
_STREET_DE = re.compile(r"\b[A-ZÄÖÜ][a-zäöüß-]{2,25}(?:straße|strasse|str\.|weg|allee|platz|gasse) \d{1,4}[a-z]?\b")
_PHONE_HINT = re.compile(r"(?<![\w.,/#=:-])[+(]?\d(?:[ ().\-/]{0,3}\d){6,14}(?![\w/=]|[.,:-]\d)")
_PHONE_WORD = re.compile(
    r"(?i)\b(?:call|phone|tel|telephone|mobile|cell|text|whatsapp|fax|number|ring|dial|contact|sms)\b"
)


@dataclass(frozen=True, slots=True)
class Identifier:
    """One identifier: which kind, where, and what it is worth alone."""

    kind: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class IdentifierPatterns:
    """Which identifiers to look for. `region` is where a phone number without country code is taken to be from."""

    region: str = "US"
    kinds: frozenset[str] = frozenset({"card", "iban", "ssn", "document", "phone", "email", "ip", "address"})

    def identifiers(self, text: str) -> list[Identifier]:
        """Every identifier, none overlapping a stronger one."""
        if not text.isascii():
            text = text.translate(_DASHES)
        digits = _count_digits(text)
        found: list[Identifier] = []
        for kind, least, gate, find in _FINDERS:
            if kind in self.kinds and digits >= least and (gate is None or gate.search(text)):
                found += islice(find(text, self.region), MAX_CANDIDATES)
        if not found:
            return found
        found.sort(key=lambda seen: (-seen.score, seen.start))
        kept: list[Identifier] = []
        for seen in found:
            if not any(seen.start < other.end and other.start < seen.end for other in kept):
                kept.append(seen)
        return kept

    def findings(self, text: str, stage: str) -> list[Finding]:
        """The strongest identifiers as findings, at most MAX_FINDINGS, the first with what the others add."""
        found = self.identifiers(text)
        return [
            Finding(CATEGORY, _combined(found) if index == 0 else seen.score, stage, f"identifier:{seen.kind}",
                    Span(seen.start, seen.end))
            for index, seen in enumerate(_varied(found))
        ]  # fmt: skip


def _count_digits(text: str) -> int:
    return len(text.encode("ascii").translate(None, _NO_DIGITS)) if text.isascii() else len(_DIGIT.findall(text))


def _varied(found: list[Identifier]) -> list[Identifier]:
    """A few of the strongest, one of each kind before a second of any."""
    kinds: set[str] = set()
    first = [seen for seen in found if not (seen.kind in kinds or kinds.add(seen.kind))]  # type: ignore[func-returns-value]
    rest = [seen for seen in found if seen not in first]
    return (first + rest)[:MAX_FINDINGS] if len(found) < 50 else first[:MAX_FINDINGS]


def _combined(found: list[Identifier]) -> float:
    """The score of all together: kinds count, not copies; weak ones only where they stand close together."""
    best = found[0].score
    if len({seen.kind for seen in found if seen.score >= STRONG}) >= 2:
        return max(best, TWO_STRONG)
    ordered = sorted(found, key=lambda seen: seen.start)
    for index, seen in enumerate(ordered):
        near = {other.kind for other in ordered[index : index + 20] if other.start - seen.start <= _TOGETHER}
        if len(near) >= 3:
            return max(best, THREE_WEAK)
    return best


def _before(text: str, at: int, width: int = 40) -> str:
    return text[max(0, at - width) : at]


def _cards(text: str, region: str) -> Iterator[Identifier]:
    for match in islice(_CARD.finditer(text), MAX_CANDIDATES):
        written = match.group()
        digits = re.sub(r"\D", "", written)
        if len(set(digits)) < 2 or not _CARD_LAYOUT.fullmatch(written):
            continue
        if not _CARD_ISSUERS.fullmatch(digits) or not luhn.is_valid(digits):
            continue
        before = _before(text, match.start())
        if _NOT_CARD_WORD.search(before) and not _CARD_WORD.search(before):
            continue
        # One number in ten passes Luhn: without card words or card-like grouping it may be any long number.
        plain = written.isdigit() and not _CARD_WORD.search(before) and len(digits) not in (15, 16)
        yield Identifier("card", match.start(), match.end(), 0.3 if plain else 0.95)


def _ibans(text: str, region: str) -> Iterator[Identifier]:
    for match in islice(_IBAN.finditer(text), MAX_CANDIDATES):
        end = match.end()
        # The last group may be the next word in capitals, so shorter readings are tried too.
        for cut in (end, *(match.start() + gap for gap in _gaps(match.group())[::-1][:2])):
            if iban.is_valid(text[match.start() : cut]):
                yield Identifier("iban", match.start(), cut, 0.95)
                break


def _gaps(written: str) -> list[int]:
    return [index for index, char in enumerate(written) if char == " "]


def _ssns(text: str, region: str) -> Iterator[Identifier]:
    for match in islice(_SSN.finditer(text), MAX_CANDIDATES):
        digits = re.sub(r"\D", "", match.group())
        spoken_of = bool(_SSN_WORD.search(_before(text, match.start())))
        if _is_ssn(digits) and (match.group(1) == "-" or spoken_of):
            yield Identifier("ssn", match.start(), match.end(), 0.95)
    for match in islice(_SSN_SOLID.finditer(text), MAX_CANDIDATES):
        if _is_ssn(match.group(1)):
            yield Identifier("ssn", match.start(1), match.end(1), 0.95)


def _is_ssn(digits: str) -> bool:
    if digits in _SSN_EXAMPLES or len(set(digits)) < 3:
        return False
    try:
        ssn.validate(digits)
    except ValidationError:
        return False
    return True


def _documents(text: str, region: str) -> Iterator[Identifier]:
    for match in _PASSPORT.finditer(text):
        yield Identifier("document", match.start(1), match.end(1), 0.35)


def _phones(text: str, region: str) -> Iterator[Identifier]:
    for hint in islice(_PHONE_HINT.finditer(text), MAX_CANDIDATES):
        written = hint.group()
        solid = written.isdigit()
        spoken_of = bool(_PHONE_WORD.search(_before(text, hint.start(), _PHONE_WINDOW)))
        if (
            _IPV4.fullmatch(written)
            or (solid and not spoken_of)
            or _NOT_CARD_WORD.search(_before(text, hint.start(), _PHONE_WINDOW))
        ):
            continue
        matcher = phonenumbers.PhoneNumberMatcher(written, region, max_tries=3)
        for number in matcher:
            yield Identifier("phone", hint.start() + number.start, hint.start() + number.end, 0.3)


def _emails(text: str, region: str) -> Iterator[Identifier]:
    if "@" not in text:
        return
    for match in _EMAIL.finditer(text):
        yield Identifier("email", match.start(), match.end(), 0.15)


def _addresses_ip(text: str, region: str) -> Iterator[Identifier]:
    for match in _IPV4.finditer(text):
        parts = [int(part) for part in match.group().split(".")]
        private = parts[0] in (0, 10, 127, 255) or parts[:2] in ([192, 168], [169, 254]) or parts[0] >= 224
        if max(parts) > 255 or private or (parts[0] == 172 and 16 <= parts[1] < 32):
            continue
        # 8.8.8.8 and 1.2.3.4 are resolvers, examples and versions, not people
        if max(parts) < 10 or _VERSION_WORD.search(_before(text, match.start(), 12)):
            continue
        yield Identifier("ip", match.start(), match.end(), 0.15)


def _streets(text: str, region: str) -> Iterator[Identifier]:
    for gate, pattern in ((_STREET_GATE, _STREET), (_STREET_DE_GATE, _STREET_DE)):
        for match in pattern.finditer(text) if gate.search(text) else ():
            yield Identifier("address", match.start(), match.end(), 0.3)


_Finder = Callable[[str, str], Iterator[Identifier]]
# How many digits there must be, and a gate: part of what the finder looks for. A gate begins with what `re` scans for
# quickly, where the whole pattern is tried at every letter.
_FINDERS: tuple[tuple[str, int, re.Pattern[str] | None, _Finder], ...] = (
    ("card", 13, re.compile(r"\d(?:[ -]?\d){12}"), _cards),
    ("iban", 2, re.compile(r"[A-Z]{2}\d{2}"), _ibans),
    ("ssn", 9, re.compile(r"\d{3}[- ]?\d{2}[- ]?\d{4}"), _ssns),
    ("document", 1, _DOCUMENT_GATE, _documents),
    ("phone", 7, re.compile(r"\d(?:[ ().\-/]{0,3}\d){6}"), _phones),
    ("email", 0, None, _emails),
    ("ip", 4, re.compile(r"\d\.\d"), _addresses_ip),
    ("address", 1, None, _streets),
)
