"""The foldings that could be read two ways: letters swapped, spread, stretched, masked or turned. stdlib only.

Owns leetspeak, letters set apart, long repeats, masked letters, reversal and ROT13, each as the edits for one pass.
Refuses to touch numbers, names of models, links and addresses; what stays in doubt is left alone.
"""

from __future__ import annotations

import re
from codecs import encode
from collections import Counter
from itertools import pairwise

from service import confusables, vocabulary
from service.view import Edit

_LEET = {
    "0": "o", "1": "i|l", "3": "e", "4": "a", "5": "s", "6": "g", "7": "t", "8": "b", "9": "g", "@": "a", "$": "s",
    "!": "i|l", "|": "l|i", "€": "e", "£": "l", "¥": "y", "¢": "c", "¡": "i", "+": "t",
}  # fmt: skip
_LEET_SEEN = re.compile(r"[013-9@$!|€£¥¢¡+]")
_LEET_TOKEN = re.compile(r"[A-Za-z0-9@$€£¥¢¡](?:[A-Za-z0-9@$!|€£¥¢¡+]*[A-Za-z0-9@$€£¥¢¡])?")
_LEET_GATES = (  # two, since `re` scans quickly for the beginning of a pattern where there is one
    re.compile(r"[013-9@$€£¥¢¡](?:(?<=[A-Za-z].)|(?=[A-Za-z]))"),
    re.compile(r"[!|+](?<=[A-Za-z!|+].)(?=[A-Za-z0-9@$!|]{0,4}[A-Za-z])"),
)
_CHUNK = re.compile(r"\S+")
_PROTECTED = re.compile(r"://|www\.|[\w.]@\w[\w-]*\.\w|^#|^[@/~]\w")
_INSIDE = re.compile(r"(?<=[a-z])(?:[0134579]|00|11|33|55|[@$!€£¥¢¡])(?=[a-z])")
_SINGLE = re.compile(r"(?:[01345679@$!€£¥¢¡]|00|11|33|55|66|99|\$\$)(?![0-9])")
_RUNS = re.compile(r"[^a-z]+")
_MODELS = re.compile(r"mp[34]|m4[av]|w3c|h1n|web3|log4|s3|ipv|x8|win1|i1|k8|a11|l10|c1|v[0-9]|[0-9]+[a-z]{1,2}[0-9]")
_NUMERONYM = re.compile(r"[a-z][0-9]{2,}[a-z]")
_PHONETIC = {"h8": "hate", "h8r": "hater", "h8er": "hater", "h8ers": "haters", "h8ing": "hating", "h8s": "hates"}

_SET_APART = re.compile(
    r"[^\W_](?<![^\W_].)(?<![@$].)"
    r"(?:[\s.\-_*,~·•|/\\^+]{1,5}+(?:[^\W_](?![^\W_]|['’][a-z])|[@$!](?=[\s.\-_*,~·•|/\\^+]))){2,}+"
)
_APART_GATE = re.compile(r"[\s.\-_*,~·•|/\\^+](?:[^\W_]|[@$!])[\s.\-_*,~·•|/\\^+]{1,5}+(?:[^\W_]|[@$!])(?![^\W_])")
_GAP = re.compile(r"[\s.\-_*,~·•|/\\^+]+")
_LONG_GATE = re.compile(r"([^\W\d_])(?i:\1){2,}+")
_REACH = 24  # letters before a drawn-out one that may belong to its word
_NOT_TAIL = re.compile(r"[^\W\d_]+$")
_LETTERS = re.compile(r"[^\W\d_]+")
_RUN = re.compile(r"([^\W\d_])(?i:\1)*")
_MASKED = re.compile(r"(?<![\w*#%@/\\&.])[A-Za-z]+(?:[*#%•✱_@.-]{1,4}[A-Za-z]+){1,4}(?![\w*#%@/\\])")
_MASK_GATE = re.compile(r"[*#%•✱_.-](?=[*#%•✱_.-]{0,3}[A-Za-z])(?<=[A-Za-z*#%•✱_.-].)(?<![A-Z]\.)")
_MASKS = "*#%•✱_.-"
_ODD_LETTERS = re.compile(r"[^\W\d_\x00-\x7f]{2,}")
_WORDS = re.compile(r"[A-Za-z]+")
_TURNED_AT_MOST = 2_000  # characters; whoever turns a text round turns a short one


def leet_edits(text: str) -> list[Edit]:
    """Edits for tokens that read as words once their digits and signs are read as letters."""
    if not any(gate.search(text) for gate in _LEET_GATES):
        return []
    edits: list[Edit] = []
    weak: list[Edit] = []
    for chunk in _CHUNK.finditer(text):
        piece = chunk.group()
        if len(piece) > 64 or not _LEET_SEEN.search(piece) or _PROTECTED.search(piece):
            continue
        for match in _LEET_TOKEN.finditer(piece):
            token = match.group()
            if token.isalpha() or token.isdigit() or len(token) < 2:
                continue
            start, end = chunk.start() + match.start(), chunk.start() + match.end()
            word = _as_word(token)
            if word is not None:
                edits.append((start, end, word))
            elif (known := _known_word(token)) is not None:
                weak.append((start, end, known))
    # "4re" alone could be anything; beside "1d10t" it is a word.
    return sorted(edits + weak) if edits else []


def _known_word(token: str) -> str | None:
    known = vocabulary.best_spelling([_LEET.get(letter, letter) for letter in token.lower()])
    return None if known is None else _cased(token, known)


def _as_word(token: str) -> str | None:
    low = _LONG_GATE.sub(lambda run: run[0][:2], token.lower())
    if low in _PHONETIC:
        return _PHONETIC[low]
    letters = sum(letter.isalpha() for letter in low)
    if not letters or len(token) > 24 or "2" in token:
        return None
    known = vocabulary.best_spelling([_LEET.get(letter, letter) for letter in low])
    if known is None and "@" in low[1:]:
        known = vocabulary.unmasked(low, "@")
    if known is not None and _NUMERONYM.fullmatch(low) and not vocabulary.is_known(known):
        return None  # "a11y" stands for "accessibility", not for "ally"
    if known is not None:
        short = len(known) < 4 and known not in vocabulary.DISGUISED
        plausible = not short and (letters > 1 or not token[0].isdigit()) and not (token[0].isupper() and letters == 1)
        return _cased(token, known) if plausible else None
    if letters < 3 or letters < len(token) / 2 or not _is_even(token) or not _may_be_word(low):
        return None
    word = "".join(_guess(low, at) for at in range(len(low)))
    return _cased(token, word) if len(word) <= 14 and _is_pronounceable(word) else None


def _may_be_word(low: str) -> bool:
    if _MODELS.match(low) or not _INSIDE.search(low):
        return False
    if "!" in low and (len(low) > 8 or re.search(r"[aeiou]!|![aeiou]", low)):
        return False  # more likely the end of a sentence whose space is missing
    return all(_SINGLE.fullmatch(run) for run in _RUNS.findall(low))


def _is_even(token: str) -> bool:
    letters = "".join(letter for letter in token if letter.isalpha())
    return letters.islower() or letters.isupper() or letters.istitle()


def _guess(low: str, at: int) -> str:
    options = _LEET.get(low[at], low[at])
    if "|" not in options or len(options) == 1:
        return options
    before, after = low[at - 1 : at], low[at + 1 : at + 2]
    doubled = low[at] in (before, after) or before in ("i", "l")
    opening = after in tuple("aeou") and (not before or before in tuple("pbcfg"))
    return "l" if doubled or opening else "i"


def _is_pronounceable(word: str) -> bool:
    return bool(
        re.search(r"[aeiouy]", word)
        and not re.search(r"[^aeiouy]{4}|[aeiou]{3}|(.)\1\1|^(?:[^aeiouyhlrstwn]{2}(?<!ps)(?<!kn))", word)
    )


def _cased(token: str, word: str) -> str:
    return word.upper() if sum(letter.isupper() for letter in token) > 1 and not re.search("[a-z]", token) else word


def joined_edits(text: str) -> list[Edit]:
    """Edits that close up words spelled with their letters apart; a gap wider than the rest parts two words."""
    if not _APART_GATE.search(text):
        return []
    edits: list[Edit] = []
    for match in _SET_APART.finditer(text):
        new = _closed_up(match.group())
        if new is not None:
            edits.append((match.start(), match.end(), new))
    return edits


def _closed_up(run: str) -> str | None:
    gaps = _GAP.findall(run)
    letters = _GAP.split(run)
    ((usual, times),) = Counter(gaps).most_common(1)
    mixed = times * 2 <= len(gaps) and len(gaps) < 12
    words = [letters[0]]
    for gap, letter in zip(gaps, letters[1:], strict=True):
        if gap != usual and not mixed and (gap.isspace() or len(gap) > len(usual)):
            words.append(letter)
        else:
            words[-1] += letter
    whole = "".join(letters)
    if sum(letter.isalpha() for letter in whole) < max(3, len(whole) * 0.6) and len(whole) > 3:
        return None
    if len(whole) == 3 and len(set(gaps)) > 1:
        return None
    readings = [_reading(word) for word in words]
    if any(reading is not None and len(word) > 2 for reading, word in zip(readings, words, strict=True)):
        if _is_initials(whole, usual):
            return None
        return " ".join(reading or word for reading, word in zip(readings, words, strict=True))
    if any(len(word) > 3 for word in words) and not _is_initials(whole, usual) and _is_spelled(whole, usual):
        return " ".join(words)
    return None


def _reading(word: str) -> str | None:
    if word.isascii() and word.isalpha():
        low = word.lower()
        if vocabulary.is_known(low):
            return word if len(word) > 2 or len(set(low) - set("urainbcy")) else None
        pieces = vocabulary.cut(low)
        return None if pieces is None else _cased(word, " ".join(pieces))
    return word if len(word) > 2 and not word.isdigit() and _as_word(word) is not None else None


def _is_initials(whole: str, gap: str) -> bool:
    return whole.isupper() and "." in gap and not (len(whole) > 3 and vocabulary.is_known(whole.lower()))


def _is_spelled(whole: str, gap: str) -> bool:
    if not whole.isalpha():
        return False
    low = whole.lower()
    ladder = all(ord(b) - ord(a) in (0, 1) for a, b in pairwise(low))
    listed = gap.strip() in tuple(",/|+\\") or "\n" in gap
    return not ladder and not listed and (not low.isascii() or _is_pronounceable(low))


def squeezed_edits(text: str) -> list[Edit]:
    """Edits that give words with a letter drawn out their likeliest spelling: a known word, else single letters."""
    edits: list[Edit] = []
    end = 0
    for gate in _LONG_GATE.finditer(text):
        if gate.start() < end:
            continue
        start = max(end, gate.start() - _REACH)
        start += len(_NOT_TAIL.sub("", text[start : gate.start()])) if start != gate.start() else 0
        found = _LETTERS.match(text, start)
        if found is None or gate.group(1).lower() == gate.group(1).upper():
            continue
        word, end = found.group(), found.end()
        runs = [run.group() for run in _RUN.finditer(word)]
        options = [run[0] if len(run) == 1 else f"{run[0]}|{run[:2]}" for run in runs]
        known = vocabulary.best_spelling([option.lower() for option in options])
        cut_down = "".join(run[0] if len(run) > 2 else run for run in runs)
        new = _cased(word, known) if known else cut_down
        if len(set(new.lower())) > 1 and len(new) > 2:
            edits.append((start, end, new))
    return edits


def masked_edits(text: str) -> list[Edit]:
    """Edits that fill in letters masked by signs where only one of the commonly masked words fits."""
    if not _MASK_GATE.search(text):
        return []
    edits: list[Edit] = []
    sure = False
    for match in _MASKED.finditer(text):
        word = match.group()
        if len(word) > 16 or (len(word) < 4 and word[1] != "*"):
            continue
        new = vocabulary.unmasked(word.lower(), _MASKS)
        if new is not None:
            edits.append((match.start(), match.end(), _cased(word, new)))
            sure = sure or new in vocabulary.DISGUISED
    return edits if sure or len(edits) > 1 else []


def lookalike_edits(text: str) -> list[Edit]:
    """Edits for known words that are spelled wholly in another script's letters, in a text otherwise in Latin."""
    if text.isascii():
        return []
    edits: list[Edit] = []
    for match in _ODD_LETTERS.finditer(text):
        latin = confusables.as_latin(match.group())
        if latin is None:
            if re.match(r"[\u0370-\u052f]", match.group()):
                return []  # real words of that script stand here too, so these may be words of it as well
            continue
        if vocabulary.is_known(latin.lower()):
            edits.append((match.start(), match.end(), latin))
    return edits


def turned(text: str) -> tuple[str, str] | None:
    """("reversed" or "rot13", the text turned back) where that alone makes words of it; None for most texts."""
    if not 8 <= len(text) <= _TURNED_AT_MOST:
        return None
    if not vocabulary.TELLTALES.isdisjoint(text.lower().split()):
        return None
    words = [word.lower() for word in _WORDS.findall(text)]
    if sum(map(len, words)) * 2 < len(text) or sum(word in vocabulary.KNOWN for word in words) * 5 > len(words):
        return None
    for name, made in (("reversed", [word[::-1] for word in words]), ("rot13", [encode(w, "rot13") for w in words])):
        hits = [word for word in made if len(word) > 2 and word in vocabulary.KNOWN]
        telling = any(len(word) > 3 for word in hits)
        if len(hits) * 5 >= len(words) * 2 and telling and (len(set(hits)) > 1 or set(hits) & vocabulary.DISGUISED):
            return name, text[::-1] if name == "reversed" else encode(text, "rot13")
    return None
