"""What makes a text look like an unsolicited advertisement: plain signs, each 0 to 1. Pure: no model, no weights.

Owns the signs. Refuses to know what they weigh (data/perspective.toml) and what they are for: advertising is no harm
of Weir's taxonomy, only an attribute that Perspective's clients ask for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

SIGNS = ("link", "number", "money", "offer", "urge", "shouting", "marks")

_LINK = re.compile(
    r"https?://|\bwww\.|<link>|\[link\]|\b[a-z0-9-]{2,63}\.(?:com|net|org|info|biz|shop|ru|co)\b", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<![\d.])\+?\d[\d\- ]{3,}\d(?![\d.])")
_MONEY = re.compile(
    r"[$£€₹]\s?\d|\b\d+(?:[.,]\d+)?\s?(?:%|(?:usd|eur|gbp|rs|pounds?|dollars?|bucks|p)\b)", re.IGNORECASE
)
_OFFER = re.compile(
    r"\b(?:free|win|won|winners?|prizes?|cash|offers?|discounts?|cheap(?:est)?|sale|deals?|bonus|promo\w*|vouchers?|"
    r"rewards?|guaranteed|credits?|loans?|casino|betting|viagra|cialis|replica|crypto|bitcoin|followers|ringtones?|"
    r"earn(?:ing|ings)?|profits?|income|awarded|selected|exclusive|lowest prices?|best price)\b",
    re.IGNORECASE,
)
_URGE = re.compile(
    r"\b(?:click|call (?:now|us|me|free)|txt|text (?:stop|now|to|us)|reply|claim|subscribe|unsubscribe|opt[- ]?out|"
    r"order (?:now|today)|buy now|visit|sign ?up|join (?:now|us)|apply now|contact (?:us|me)|dm me|whats ?app|telegram|"
    r"check out|limited time|hurry|today only|expires?|valid|t&cs?)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]{3,}")


def advert_signs(text: str) -> Mapping[str, float]:
    """Each of SIGNS, 0 where it is absent and 1 where it is as strong as it gets."""
    words = _WORD.findall(text)
    return {
        "link": float(bool(_LINK.search(text))),
        "number": float(bool(_NUMBER.search(text))),
        "money": float(bool(_MONEY.search(text))),
        "offer": _share(len({match.lower() for match in _OFFER.findall(text)})),
        "urge": _share(len({match.lower() for match in _URGE.findall(text)})),
        "shouting": sum(map(str.isupper, words)) / len(words) if words else 0.0,
        "marks": _share(text.count("!")),
    }


def _share(count: int, most: int = 3) -> float:
    return min(count, most) / most
