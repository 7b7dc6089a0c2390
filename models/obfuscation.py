"""Ways in which people disguise words, for augmentation and for measuring what a disguise costs. stdlib only.

Owns the named obfuscations. Refuses to know how any of them is undone: it was written apart from the gateway's
folding, so that measuring one with the other says something.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType

Obfuscation = Callable[[str, Random], str]

_LEET = {"a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "t": "7", "l": "1"}
_TWINS = {
    "a": "а", "b": "Ь", "c": "с", "e": "е", "h": "һ", "i": "і", "j": "ј", "k": "к", "l": "ӏ", "n": "ո", "o": "оο",
    "p": "рρ", "r": "г", "s": "ѕ", "u": "υս", "v": "ν", "w": "ԝ", "x": "х", "y": "у", "A": "АΑ", "B": "ВΒ", "C": "С",
    "E": "ЕΕ", "H": "НΗ", "I": "ІΙ", "K": "КΚ", "M": "МΜ", "N": "Ν", "O": "ОΟ", "P": "РΡ", "S": "Ѕ", "T": "ТΤ",
    "X": "ХΧ", "Y": "ΥҮ",
}  # fmt: skip
_OCR = (("m", "rn"), ("w", "vv"), ("l", "1"), ("I", "l"), ("o", "0"), ("e", "c"), ("cl", "d"), ("h", "li"), ("S", "5"))
_UNSEEN = "\u200b\u200c\u200d\u2060\ufeff"
_MATH_STYLES = (0x1D400, 0x1D468, 0x1D4D0, 0x1D56C, 0x1D5D4, 0x1D63C, 0x1D670)  # the capitals; small ones follow
_WORD = re.compile(r"[^\W\d_]+")


def leet(text: str, rng: Random) -> str:
    """Digits and signs for about half of the letters that have one; a word of four letters or more has one."""
    return _by_word(text, 2, lambda word: _swapped(word, rng, _LEET, 0.5))


def homoglyph(text: str, rng: Random) -> str:
    """Cyrillic, Greek or Armenian twins for some letters of each word."""
    return _by_word(text, 3, lambda word: _swapped(word, rng, _TWINS, 0.4))


def zero_width(text: str, rng: Random) -> str:
    """Characters without width inside words."""
    return _sown(text, rng, _UNSEEN, 0.4)


def soft_hyphen(text: str, rng: Random) -> str:
    """Soft hyphens inside words."""
    return _sown(text, rng, "\u00ad", 0.5)


def spaced_letters(text: str, rng: Random) -> str:
    """Letters apart by spaces, with wider gaps between words, in one stretch of the text."""
    return _stretch(text, rng, " ", rng.choice(("  ", "   ")))


def punctuated_letters(text: str, rng: Random) -> str:
    """Letters apart by one punctuation mark, in one stretch of the text."""
    return _stretch(text, rng, rng.choice(".-_*~"), " ")


def full_width(text: str, rng: Random) -> str:
    """Printable ASCII in its full-width forms, spaces as they are or ideographic."""
    space = rng.choice((" ", "\u3000"))
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else space if c == " " else c for c in text)


def math_alphabet(text: str, rng: Random) -> str:
    """Letters from one of Unicode's mathematical alphabets."""
    base = rng.choice(_MATH_STYLES)
    return "".join(_mathematical(c, base) for c in text)


def combining(text: str, rng: Random) -> str:
    """Zalgo: from three to six combining marks on each letter."""
    marks = [chr(point) for point in range(0x0300, 0x0362) if point not in (0x034F, 0x0345)]
    return "".join(c + "".join(rng.choices(marks, k=rng.randint(3, 6))) if c.isalpha() else c for c in text)


def repeats(text: str, rng: Random) -> str:
    """One or two letters of each longer word drawn out to from three to six."""

    def drawn_out(word: str) -> str:
        for _ in range(rng.randint(1, 2)):
            at = rng.randrange(1, len(word))
            word = word[:at] + word[at] * rng.randint(2, 5) + word[at:]
        return word

    return _by_word(text, 3, drawn_out)


def case_mix(text: str, rng: Random) -> str:
    """Letters in alternating case."""
    odd = rng.randrange(2)
    return "".join(c.upper() if at % 2 == odd else c.lower() for at, c in enumerate(text))


def vowel_masking(text: str, rng: Random) -> str:
    """One inner vowel of each longer word masked by one sign."""
    sign = rng.choice("***#%")

    def masked(word: str) -> str:
        vowels = [at for at in range(1, len(word) - 1) if word[at] in "aeiouAEIOU"]
        at = rng.choice(vowels) if vowels else 0
        return word[:at] + sign + word[at + 1 :] if at else word

    return _by_word(text, 4, masked)


def typos(text: str, rng: Random) -> str:
    """In about half of the longer words, two inner letters swapped, one dropped or one doubled."""

    def mistyped(word: str) -> str:
        if rng.random() < 0.5:
            return word
        at = rng.randrange(1, len(word) - 2)
        swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return rng.choice((swapped, word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:]))

    return _by_word(text, 4, mistyped)


def tag_smuggle(text: str, rng: Random) -> str:
    """The text in tag characters (U+E0000 block) after an innocent word; what is not ASCII is lost."""
    return rng.choice(("Hello", "Nice day", "😀")) + "".join(chr(0xE0000 + ord(c)) for c in text if " " <= c <= "~")


def selector_smuggle(text: str, rng: Random) -> str:
    """The text's UTF-8 bytes as variation selectors after an emoji."""
    return rng.choice("😀😎👍") + "".join(
        chr(0xFE00 + byte if byte < 16 else 0xE0100 + byte - 16) for byte in text.encode("utf-8", "replace")
    )


def base64_encoded(text: str, rng: Random) -> str:
    """The text in base64, alone or after a few words that say so."""
    coded = base64.b64encode(text.encode("utf-8", "replace")).decode()
    return rng.choice(("", "decode this: ", "base64 ")) + coded


def html_entities(text: str, rng: Random) -> str:
    """Numeric entities, decimal or hexadecimal, for about half of the letters."""

    def entity(c: str) -> str:
        return rng.choice((f"&#{ord(c)};", f"&#x{ord(c):x};"))

    return "".join(entity(c) if c.isalpha() and rng.random() < 0.5 else c for c in text)


def percent_escapes(text: str, rng: Random) -> str:
    """Every letter and space percent-escaped, as in a URL."""
    wide = rng.random() < 0.5
    return "".join(f"%{b:02X}" if wide or not chr(b).isalnum() else chr(b) for b in text.encode("utf-8", "replace"))


def bidi(text: str, rng: Random) -> str:
    """The text backwards under a right-to-left override, so that it is seen as it was; line by line."""
    end = rng.choice(("\u202c", ""))
    return "\n".join("\u202e" + line[::-1] + end if line else line for line in text.split("\n"))


def ocr_noise(text: str, rng: Random) -> str:
    """Shapes mistaken for one another, as by a scanner: about one in six of those that can be."""
    for seen, taken in _OCR:
        first, *others = text.split(seen)
        text = first + "".join((taken if rng.random() < 0.15 else seen) + other for other in others)
    return text


OBFUSCATIONS: Mapping[str, Obfuscation] = MappingProxyType(
    {
        "leet": leet,
        "homoglyph": homoglyph,
        "zero_width": zero_width,
        "soft_hyphen": soft_hyphen,
        "spaced_letters": spaced_letters,
        "punctuated_letters": punctuated_letters,
        "full_width": full_width,
        "math_alphabet": math_alphabet,
        "combining": combining,
        "repeats": repeats,
        "case_mix": case_mix,
        "vowel_masking": vowel_masking,
        "typos": typos,
        "tag_smuggle": tag_smuggle,
        "selector_smuggle": selector_smuggle,
        "base64": base64_encoded,
        "html_entities": html_entities,
        "percent_escapes": percent_escapes,
        "bidi": bidi,
        "ocr_noise": ocr_noise,
    }
)


def obfuscate(text: str, name: str, rng: Random) -> str:
    """`text` disguised by the obfuscation `name`; KeyError where there is none of that name."""
    return OBFUSCATIONS[name](text, rng)


def _by_word(text: str, least: int, change: Callable[[str], str]) -> str:
    return _WORD.sub(lambda m: change(m.group()) if len(m.group()) >= least else m.group(), text)


def _swapped(word: str, rng: Random, table: Mapping[str, str], share: float) -> str:
    places = [at for at, c in enumerate(word) if c in table or c.lower() in table]
    if not places:
        return word
    chosen = {at for at in places if rng.random() < share} or {rng.choice(places)}
    return "".join(rng.choice(table.get(c) or table[c.lower()]) if at in chosen else c for at, c in enumerate(word))


def _sown(text: str, rng: Random, seeds: str, share: float) -> str:
    def sow(word: str) -> str:
        must = rng.randrange(len(word) - 1)
        inner = (
            c + (rng.choice(seeds) if at == must or rng.random() < share else "") for at, c in enumerate(word[:-1])
        )
        return "".join(inner) + word[-1]

    return _by_word(text, 2, sow)


def _stretch(text: str, rng: Random, between: str, gap: str) -> str:
    words = text.split()
    if not words:
        return text
    count = min(len(words), rng.randint(2, 4))
    at = rng.randrange(len(words) - count + 1)
    apart = gap.join(between.join(word) for word in words[at : at + count])
    return " ".join([*words[:at], apart, *words[at + count :]])


def _mathematical(c: str, base: int) -> str:
    if "A" <= c <= "Z":
        return chr(base + ord(c) - ord("A"))
    return chr(base + 26 + ord(c) - ord("a")) if "a" <= c <= "z" else c
