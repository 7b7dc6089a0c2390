"""One plain stream from its first piece of text to its one terminal event, whatever carries it.

Owns what a caller may wish for, the events and their fields, and the bounds in characters and in time. Refuses to know
HTTP and sockets. Every session ends with exactly one of stop, end and error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

from service.api.auth import Caller
from service.api.reply_gate import ending_of
from service.api.running_streams import RunningStreams
from service.api.segment_judge import SegmentJudge
from service.errors import BadInput, Forbidden, TextTooLong, WeirError
from service.log import describe
from service.stream_rules import Mode, StreamRules
from service.streaming import Channel, Release
from service.types import ROLES

if TYPE_CHECKING:
    from service.runtime import Runtime

Event = dict[str, Any]

POLICY_HEADER = "x-weir-policy"
MOST_S = 3600.0  # from the first to the last event of a stream
STRICTER = ("observe", "redact", "revise", "stop")  # from the weakest to the strictest

_log = logging.getLogger("weir.stream")


class ModeForbidden(Forbidden):
    """The caller wishes for a mode that is weaker than the policy's."""

    code = "mode_forbidden"


class StreamIdle(BadInput):
    """Nothing came, or nothing was taken, for too long."""

    status = 408
    code = "stream_idle"


def stricter_rules(rules: StreamRules, wish: str | None) -> StreamRules:
    """The policy's rules, in the mode that is wished for if it is no weaker."""
    if not wish:
        return rules
    mode: Mode | None = next((known for known in get_args(Mode) if known == wish), None)
    if mode is None:
        raise BadInput(f"The mode must be one of {', '.join(STRICTER)}.", param="mode")
    if STRICTER.index(mode) < STRICTER.index(rules.mode):
        raise ModeForbidden("This policy allows no mode that is weaker than its own.", param="mode")
    return replace(rules, mode=mode)


class PlainSession:
    """Judges one growing text. `error` is what ended it, if an error did."""

    def __init__(self, runtime: Runtime, running: RunningStreams, caller: Caller, wishes: dict[str, str]) -> None:
        """`wishes`: policy, role and mode. Raises Forbidden, UnknownPolicy and BadInput."""
        self._runtime, self._running = runtime, running
        self._policy = runtime.policies.get(caller.choose_policy(wishes.get("policy")))
        role = wishes.get("role", "assistant")
        if role and role not in ROLES:
            raise BadInput(f"The role must be one of {', '.join(ROLES)}, or empty.", param="role")
        rules = stricter_rules(self._policy.stream, wishes.get("mode"))
        self._hold_s = rules.hold_ms / 1000
        self._judge = SegmentJudge(runtime, self._policy.name, rules, (), role=role)
        self._channel = Channel(self._judge, rules, revise=self._judge.revise)
        self._idle_s = runtime.settings.stream_idle_s
        self._most_chars = runtime.settings.max_stream_chars
        self._released = 0
        self.error: WeirError | None = None

    @property
    def characters(self) -> int:
        """How many were given."""
        return self._channel.received

    @property
    def action(self) -> str:
        """The strictest verdict's so far."""
        strictest = self._channel.strictest
        return "allow" if strictest is None else strictest.action.wire

    async def events(self, pieces: AsyncGenerator[str, None]) -> AsyncGenerator[Event, None]:
        """What the caller is told, as soon as it may be. `pieces` is closed at the end, however that comes."""
        try:
            with self._running.one(self._runtime):
                async with aclosing(self._releases(pieces)) as releases:  # nothing of it outlives its reader
                    async for release in releases:
                        if release.text:
                            self._released += len(release.text)
                            yield {"type": "text", "text": release.text}
                yield self._ending()
        except WeirError as error:
            yield self._failed(error)
        except (ClientDisconnect, WebSocketDisconnect):
            raise  # nobody is there to be told
        except Exception as error:
            _log.error("a stream broke", extra=describe(error))
            yield self._failed(WeirError())
        finally:
            await pieces.aclose()

    async def _releases(self, pieces: AsyncGenerator[str, None]) -> AsyncGenerator[Release, None]:
        """Read, judge and release by turns, so that whoever takes events slowly is also read from slowly."""
        loop = asyncio.get_running_loop()
        begun = heard = loop.time()
        relieve = False
        reading: asyncio.Future[str | None] | None = None
        try:
            while self._channel.stopped is None:
                reading = reading or asyncio.ensure_future(anext(pieces, None))
                patience = self._patience(begun, heard, relieve=relieve)
                await asyncio.wait((reading,), timeout=patience)
                if not reading.done():
                    if relieve and loop.time() >= heard + self._hold_s:
                        relieve = False
                        if (relief := await self._channel.relieve()) is not None:
                            yield relief
                    continue
                piece, reading = reading.result(), None
                if piece is not None and self._channel.received + len(piece) > self._most_chars:
                    raise TextTooLong(f"The text is over {self._most_chars} characters.", param="text")
                releases = self._channel.finish() if piece is None else self._channel.feed(piece)
                async for release in releases:
                    yield release
                if piece is None:
                    return
                heard, relieve = loop.time(), self._hold_s > 0
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    def _patience(self, begun: float, heard: float, *, relieve: bool) -> float:
        """Seconds until something is due; raises Draining, or StreamIdle where a bound is reached."""
        now = asyncio.get_running_loop().time()
        if now - heard >= self._idle_s:
            raise StreamIdle(f"No text came for {self._idle_s:g} seconds.")
        if now - begun >= MOST_S:
            raise StreamIdle(f"The stream took over {MOST_S:g} seconds.")
        due = min(heard + self._idle_s, begun + MOST_S) - now
        if relieve and self._channel.held:
            due = min(due, max(0.0, heard + self._hold_s - now))
        return min(due, self._running.patience(self._runtime))

    def _ending(self) -> Event:
        """The stop, or the end with the strictest verdict's facts; its receipt stands for the whole stream."""
        entered = self._judge.enter()
        counts = {"characters": self._channel.received, "released": self._released}
        if entered is None:
            facts = {"action": "allow", "categories": [], "degraded": []}
            return {"type": "end", **facts, **counts, **self._versions()}
        ending = ending_of(entered)
        if self._channel.stopped is None:
            return {"type": "end", **ending.facts, **counts}
        return {"type": "stop", "explanation": ending.explanation, **ending.facts, **counts}

    def _versions(self) -> Event:
        return {"policy": self._policy.name, "policy_version": self._policy.version}

    def _failed(self, error: WeirError) -> Event:
        self._judge.enter()  # what was judged and released is counted, also where the rest failed
        self.error = error
        return {"type": "error", "code": error.code, "message": error.message}
