"""A draft model beside the live one: it judges a share of the same contents, afterwards, and decides nothing.

Owns the line of contents that wait for it. Refuses to delay or to fail a verdict: where the line is full, the content
is passed over and counted. A content lies in memory until it is judged, and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from service.feedback.traffic import Traffic
from service.log import describe
from service.metrics import Metrics
from service.types import Content, Verdict

MOST_WAITING = 64
NAME = "model:"  # in front of the artefact's version, in a cell's category

_log = logging.getLogger("weir.shadow")


class Shadow:
    """Compares verdicts. `judge` is a whole pipeline around the draft model, with the lines of its own presets."""

    def __init__(
        self,
        judge: Callable[[Content], Awaitable[Verdict]],
        artifact: str,
        traffic: Traffic,
        metrics: Metrics,
        *,
        share: float,
    ) -> None:
        """`share` of the contents is judged a second time."""
        self.artifact = artifact
        self._judge = judge
        self._traffic = traffic
        self._metrics = metrics
        self._share = share
        self._task: asyncio.Task[None] | None = None
        self._waiting: asyncio.Queue[tuple[Content, Verdict]] = asyncio.Queue(MOST_WAITING)
        self._draw = random.Random().random  # noqa: S311 - a sample, not a secret

    def offer(self, content: Content, verdict: Verdict) -> None:
        """Take a content that has been answered, if it is drawn and there is room."""
        if self._draw() >= self._share:
            return
        try:
            self._waiting.put_nowait((content, verdict))
        except asyncio.QueueFull:
            self._metrics.shadow_passed_over.inc()

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; what waits is not judged."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        """Judge what waits, one after the other."""
        while True:
            content, live = await self._waiting.get()
            try:
                drafted = await self._judge(content)
            except Exception as error:  # whatever the draft does, it is not what decides
                self._metrics.shadow_passed_over.inc()
                _log.warning("the shadow model failed", extra=describe(error))
                continue
            if drafted.whole:
                self._traffic.compare(live, NAME + self.artifact, drafted.action)
                self._metrics.count_beside("model", live.policy, live.action, drafted.action)
