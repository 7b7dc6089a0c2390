"""A budget in front of something that costs money. Pure but for the clock that is handed in.

Owns how many calls may be made. Refuses to know what is called.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


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
