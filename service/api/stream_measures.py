"""What is measured of one relayed reply: how it began, what was held, how it ended, and whether anything leaked.

Owns clocks and counts. Refuses to know dialects and to alter anything. Of a stream that is drawn for an audit it keeps
the text until the audit is over, in memory and up to a bound.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from service.api.running_streams import RunningStreams
from service.api.stream_audit import Transcript, audit
from service.backends.upstream import FAULTS
from service.errors import WeirError
from service.log import describe
from service.streaming import Release
from service.types import Turn, Verdict

if TYPE_CHECKING:
    from service.runtime import Runtime

Part = Literal["prompt", "reply"]
_KINDS = frozenset({*FAULTS, "cut", "error"})  # of upstream errors; any other is a refusal in the upstream's own code
_UPSTREAM = "upstream_"

_log = logging.getLogger("weir.stream")


@dataclass(slots=True)
class _Voice:
    """One voice: when its held characters came, and its text where it is audited."""

    received: int = 0
    released: int = 0
    arrivals: deque[tuple[int, float]] = field(default_factory=deque)  # (characters received by then, when)
    transcript: Transcript | None = None


class StreamMeasures:
    """Measures of one reply. `timed`: its text comes bit by bit; `audited`: it may be drawn for an audit."""

    def __init__(self, runtime: Runtime, running: RunningStreams, dialect: str, *, timed: bool, audited: bool) -> None:
        self._runtime, self._running, self._dialect, self._timed = runtime, running, dialect, timed
        self._metrics = runtime.metrics
        self._begun = time.perf_counter()
        self._first = True
        self._voices: dict[Hashable, _Voice] = {}
        # Not for secrets: which streams are looked at twice.
        self._sampled = audited and random.random() < running.audit_share  # noqa: S311

    def said(self, voice: Hashable, text: str) -> None:
        """Text of a voice has come from the upstream."""
        known = self._voices.get(voice)
        if known is None:
            known = self._voices[voice] = _Voice(transcript=Transcript() if self._sampled else None)
        known.received += len(text)
        if self._timed:
            known.arrivals.append((known.received, time.perf_counter()))
        if known.transcript is not None:
            known.transcript.add(text)

    def released(self, voice: Hashable, release: Release) -> None:
        """Some of it may leave."""
        known = self._voices[voice]
        if known.transcript is not None:
            known.transcript.kept.extend(release.kept)
        if self._timed:
            now = time.perf_counter()
            self._metrics.stream_held_characters.observe(known.received - known.released)
            self._metrics.stream_hold_seconds.observe(now - known.arrivals[0][1])
            if self._first and release.text:
                self._metrics.stream_first_text_seconds.labels(self._dialect).observe(now - self._begun)
                self._first = False
        known.released += release.settled
        while known.arrivals and known.arrivals[0][0] <= known.released:
            known.arrivals.popleft()

    def stopped(self, part: Part, verdict: Verdict) -> None:
        """A verdict stopped the prompt or the reply."""
        top = verdict.top
        self._metrics.stream_stops.labels(part, top.category if top is not None else "degraded").inc()

    def failed(self, code: str) -> None:
        """A fault ended the reply, or kept it from beginning; `code` as the caller was told."""
        if code.startswith(_UPSTREAM):
            kind = code.removeprefix(_UPSTREAM)
            self._metrics.upstream_errors.labels(self._dialect, kind if kind in _KINDS else "refused").inc()

    def end(self, end: Literal["finished", "stopped", "failed", "left"]) -> None:
        """The reply is over."""
        self._metrics.streams.labels(self._dialect, end).inc()

    def audit(self, policy: str, context: tuple[Turn, ...]) -> None:
        """Judge the whole once more where this stream was drawn, beside what is served."""
        transcripts = [voice.transcript for voice in self._voices.values() if voice.transcript is not None]
        if transcripts and not self._running.audit(self._audit(transcripts, policy, context)):
            self._metrics.stream_audits.labels("passed_over").inc()

    async def _audit(self, transcripts: list[Transcript], policy: str, context: tuple[Turn, ...]) -> None:
        try:
            found = [await audit(self._runtime, transcript, policy, context) for transcript in transcripts]
        except Exception as error:
            # The stream is over: whatever fails here can only be counted and told.
            self._metrics.stream_audits.labels("failed").inc()
            if not isinstance(error, WeirError):
                _log.error("an audit broke", extra=describe(error))
            return
        leaked = sum(chars or 0 for chars in found)
        end = "leaked" if leaked else "unplaced" if None in found else "clean"
        self._metrics.stream_audits.labels(end).inc()
        self._metrics.stream_leaked_characters.inc(leaked)
        if leaked:
            _log.warning("text left that the whole is blocked for", extra={"chars": leaked, "policy": policy})
