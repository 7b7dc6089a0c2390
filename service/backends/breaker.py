"""A breaker and a budget in front of something that costs time or money. Pure but for the clock that is handed in.

Owns when a call may be made. Refuses to know what is called.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Breaker:
    """Opens after `failures` in a row; after `rest_s` lets one call through, which closes it or opens it again."""

    def __init__(self, clock: Callable[[], float], *, failures: int = 5, rest_s: float = 20.0) -> None:
        self._clock = clock
        self._most = failures
        self._rest_s = rest_s
        self._failed = 0
        self._open_since: float | None = None

    def admits(self) -> bool:
        """Whether a call may be made now. Of a breaker that has rested the first caller is let through, alone."""
        if self._open_since is None:
            return True
        if self._clock() - self._open_since < self._rest_s:
            return False
        self._open_since = self._clock()
        return True

    def succeeded(self) -> None:
        """Close."""
        self._failed, self._open_since = 0, None

    def failed(self) -> None:
        """Count a failure; open at the limit."""
        self._failed += 1
        if self._failed >= self._most:
            self._open_since = self._clock()


class Budget:
    """At most `per_minute` calls in any sixty seconds."""

    def __init__(self, clock: Callable[[], float], per_minute: int) -> None:
        self._clock = clock
        self._most = per_minute
        self._made: deque[float] = deque()

    def take(self) -> bool:
        """Whether one more call may be made; if so, it counts."""
        now = self._clock()
        while self._made and now - self._made[0] >= 60.0:
            self._made.popleft()
        if len(self._made) >= self._most:
            return False
        self._made.append(now)
        return True
