"""What of a text would be lost to the tokenizer, made readable to it without moving a character.

Owns which signs are read as spaces. Refuses to know what is done with tokens. WordPiece gives up a word with one sign
that its vocabulary has not, and such words are dropped: "you" would be gone with the emoji that is glued to it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from tokenizers import Tokenizer

MOST_IN_WORD = 100  # characters of a word that the tokenizer takes apart; a longer one is unknown to it as a whole
DIGITS_OF_BLOB = 16  # letters of an endless word to one digit, from which on it is hex or base64 and no language
_ORPHANS = re.compile("[\ud800-\udfff]")
# Arrows, frames, stars and hearts: glued to a letter they part words or adorn them.
_SIGNS = "\u00a6\u00a9\u00ac\u00ae\u00d7\u00f7\u2122\u2190-\u2bff"
_GLUED = re.compile(rf"(?<=[^\W\d_])[{_SIGNS}]+|[{_SIGNS}]+(?=[^\W\d_])")


class Words:
    """The letters of one tokenizer's vocabulary. What is given back is as long as what was given."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._unknown = tokenizer.token_to_id("[UNK]")
        pieces = tokenizer.get_vocab()
        self._letters = frozenset(piece for piece in pieces if len(piece) == 1 and f"##{piece}" in pieces)

    @staticmethod
    def readable(text: str) -> str:
        """The text, lone surrogates as U+FFFD, which is no token, and signs that are glued to letters as spaces."""
        return text if text.isascii() else _GLUED.sub(_blank, _ORPHANS.sub("\ufffd", text))

    def apart(self, plain: str, encoding: Any) -> str:
        """The text with spaces for what makes words unknown in its encoding; signs by themselves stay.

        Of a word without end every hundredth letter is one too.
        """
        parts: list[str] = []
        at = 0
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if token != self._unknown or end - start < 2:
                continue
            word = plain[start:end]
            word = word.translate({ord(letter): " " for letter in set(word) if not self._is_letter(letter)})
            if end - start > MOST_IN_WORD and sum(map(str.isdigit, word)) * DIGITS_OF_BLOB < end - start:
                size = MOST_IN_WORD - 1
                word = " ".join(word[n : n + size] for n in range(0, end - start, size + 1))[: end - start]
            parts += [plain[at:start], word]
            at = end
        return "".join((*parts, plain[at:]))

    def _is_letter(self, letter: str) -> bool:
        """Whether a word with this letter in it may be known, as the tokenizer writes it: small, without its marks."""
        written = unicodedata.normalize("NFD", letter.lower())
        return all(part in self._letters or unicodedata.category(part) == "Mn" for part in written)


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])
