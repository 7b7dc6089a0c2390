"""Keeps away from what fails, and lets it back once it answers again.

Owns the state of one breaker: closed, open, half open. Refuses to know what is called.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FAILURES = 3  # one after the other that open it: a single slow answer is no outage
PAUSE_S = 0.5  # before the first trial
MOST_PAUSE_S = 4.0  # each trial that fails doubles the pause up to this


class Breaker:
    """Ask `ready` before a call, and tell what became of it. Belongs to one event loop."""

    def __init__(self, on_change: Callable[[bool], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`on_change` is told True when it opens and False when it closes."""
        self._on_change = on_change
        self._clock = clock
        self._failures = 0
        self._pause_s = PAUSE_S
        self._open_until: float | None = None
        self._trying = False

    @property
    def closed(self) -> bool:
        """Whether calls pass freely."""
        return self._open_until is None

    @property
    def ready(self) -> bool:
        """Whether a call may be made now: it is closed, or it is time for a trial and none is under way."""
        return self._open_until is None or (not self._trying and self._clock() >= self._open_until)

    def begin(self) -> None:
        """A call is made: while open, it is the trial."""
        self._trying = not self.closed

    def succeeded(self) -> None:
        """The call was answered."""
        self._failures = 0
        self._pause_s = PAUSE_S
        self._trying = False
        if not self.closed:
            self._open_until = None
            self._on_change(False)

    def failed(self) -> None:
        """The call failed, or took too long."""
        self._failures += 1
        if self._trying:
            self._pause_s = min(MOST_PAUSE_S, 2 * self._pause_s)
        elif self._failures < FAILURES or not self.closed:
            return
        opened = self.closed
        self._trying = False
        self._open_until = self._clock() + self._pause_s
        if opened:
            self._on_change(True)
