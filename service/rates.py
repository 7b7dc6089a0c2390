"""How much a key may have judged: rates, and the arithmetic of a bucket that fills at one. Pure: no clock, no store.

Owns the written form of WEIR_RATE_LIMIT and what is taken, refused and told. Refuses to know where a bucket's state
lies. State is what was spent and has not come back yet, in items; an untouched bucket has spent nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

_UNITS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "day": 86_400}
_RATE = re.compile(r"(\d{1,9})/([a-z]+)")


@dataclass(frozen=True, slots=True)
class Rate:
    """`items` in every `window_s` seconds on average, and as many at once."""

    items: int
    window_s: int

    @property
    def per_s(self) -> float:
        """Items that come back in a second."""
        return self.items / self.window_s


@dataclass(frozen=True, slots=True)
class Standing:
    """What is told of a key's bucket after a request. `retry_after_s` is None where the request may go on."""

    rate: Rate
    remaining: int
    reset_s: float
    retry_after_s: float | None


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Each key's rate: its own, else that of every key; None is unlimited."""

    every: Rate | None = None
    own: Mapping[str, Rate | None] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `600/min,batch=6000/min,trusted=off`; ValueError says what is wrong, without the text."""
        every: list[Rate | None] = []
        own: dict[str, Rate | None] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            name, equals, rate = entry.rpartition("=")
            if not equals:
                every.append(_parse_rate(rate))
            elif name in own:
                raise ValueError("a key has two rates")
            else:
                own[name.strip()] = _parse_rate(rate.strip())
        if len(every) > 1:
            raise ValueError("there are two rates for every key; a key's own is written name=rate")
        return cls(every[0] if every else None, own)

    def of(self, name: str) -> Rate | None:
        """The rate of the key of that name."""
        return self.own.get(name, self.every)


def _parse_rate(text: str) -> Rate | None:
    if text == "off":
        return None
    match = _RATE.fullmatch(text)
    if match is None or match[2] not in _UNITS or int(match[1]) < 1:
        raise ValueError("a rate is written 600/min (or /s, /hour, /day), or off")
    return Rate(int(match[1]), _UNITS[match[2]])


def take(rate: Rate, spent: float, elapsed_s: float, cost: int) -> tuple[float, Standing]:
    """What is spent after a request of `cost` items, `elapsed_s` after the one before; refused, it costs nothing.

    A request of more items than the bucket holds needs a full one, and leaves a debt: no request is refused for ever.
    """
    spent = max(0.0, spent - max(0.0, elapsed_s) * rate.per_s)
    missing = spent + min(cost, rate.items) - rate.items
    if missing <= 1e-9:  # of a number that was divided and multiplied
        return spent + cost, stand(rate, spent + cost, None)
    return spent, stand(rate, spent, missing / rate.per_s)


def stand(rate: Rate, spent: float, retry_after_s: float | None) -> Standing:
    """What is told of a bucket of which so much is spent."""
    return Standing(rate, max(0, int(rate.items - spent + 1e-9)), spent / rate.per_s, retry_after_s)
