"""One reply through its channels: what an editor asks for is carried out, and nothing leaves that was not judged.

Owns the order of reading, judging and writing, the relief of text that is held while the upstream is silent, and that
every reply ends explicitly. Refuses to know dialects (an editor does) and sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from service.api.explain import explain
from service.api.reply_steps import Close, Ending, Event, MalformedEvent, ReplyEditor, Say, Send, Voice
from service.api.stream_measures import StreamMeasures
from service.backends.sse import MalformedStream
from service.backends.upstream import UpstreamFault
from service.errors import WeirError
from service.streaming import Channel, Release
from service.types import Verdict

MakeChannel = Callable[[bool], Channel]  # whether its text must not be altered


@dataclass(frozen=True, slots=True)
class Hooks:
    """What else a reply goes past.

    `patience`: seconds that may be waited before it is asked again; it raises a WeirError to end the reply.
    `enter`: the reply's verdict, entered, once all of it was judged; None where nothing was.
    """

    patience: Callable[[], float | None] = lambda: None
    enter: Callable[[], Verdict | None] = lambda: None
    measures: StreamMeasures | None = None


class ReplyGate:
    """Drives one editor from the upstream's first event to the last one that leaves."""

    def __init__(
        self, editor: ReplyEditor, make_channel: MakeChannel, hold_ms: int, hooks: Hooks | None = None
    ) -> None:
        """`hold_ms`: silence after which held text is relieved; 0 never does."""
        self._editor, self._make, self._hold_s = editor, make_channel, hold_ms / 1000
        self._hooks = hooks or Hooks()
        self._measures = self._hooks.measures
        self._channels: dict[Voice, Channel] = {}
        self._relief_at: float | None = None
        self.stopped: Verdict | None = None
        self.failed = ""  # code of the fault that ended the reply
        self.strictest: Verdict | None = None

    @property
    def end(self) -> Literal["finished", "stopped", "failed", "left"]:
        """How the reply has ended; `left` where nobody was there any more to read it."""
        if self.failed:
            return "failed"
        if self.stopped is not None:
            return "stopped"
        return "finished" if self._editor.ended else "left"

    async def edited(self, events: AsyncGenerator[Event, None]) -> AsyncIterator[Event]:
        """What may leave, as soon as it may. `events` is closed at the end, however that comes."""
        reading: asyncio.Future[Event | None] | None = None
        try:
            while not self._editor.ended:
                reading = reading or asyncio.ensure_future(anext(events, None))
                await asyncio.wait((reading,), timeout=self._patience())
                if reading.done():
                    event, reading = reading.result(), None
                    passing = self._pass(event)
                elif self._relief_in() == 0:
                    passing = self._relieve()
                else:
                    continue
                async for out in passing:
                    yield out
        except (MalformedEvent, MalformedStream, UpstreamFault, WeirError) as error:
            for out in self._fail(*_told(error)):
                yield out
        except Exception:
            self.failed = "internal_error"
            raise
        finally:
            self._hooks.enter()
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            await events.aclose()

    async def _pass(self, event: Event | None) -> AsyncIterator[Event]:
        if event is None:
            for out in self._fail("upstream_cut", "The upstream's reply ended without its end."):
                yield out
            return
        if event.get("type") == "error" or event.get("error"):
            for out in self._fail("upstream_error", "The upstream reported an error."):
                yield out
            return
        for step in self._editor.read(event):
            async for out in self._carry_out(step):
                yield out
            if self.stopped is not None:
                for out in self._editor.stop(self._ending(self.stopped)):
                    yield out
                return

    async def _carry_out(self, step: Say | Close | Send) -> AsyncIterator[Event]:
        if isinstance(step, Send):
            if not await self._allows(step.texts):
                return
            if step.facts_in is not None and (entered := self._hooks.enter()) is not None:
                step.facts_in["x_weir"] = facts_of(entered)
            yield step.event
            return
        channel = self._channels.get(step.voice)
        if channel is None:
            channel = self._channels[step.voice] = self._make(step.voice.whole)
        if self._measures is not None and isinstance(step, Say):
            self._measures.said(step.voice, step.text)
        releases = channel.feed(step.text) if isinstance(step, Say) else channel.finish()
        async for release in releases:
            self._measure(step.voice, release)
            if release.text:
                yield self._editor.write(step.voice, release.text)
        self._note(channel)
        # A closed channel stays: a voice that comes back is judged with the end of what it said before.
        if isinstance(step, Say) and self._hold_s:
            self._relief_at = asyncio.get_running_loop().time() + self._hold_s

    async def _allows(self, texts: Iterable[str]) -> bool:
        """Judge texts that come whole, and go whole or not at all."""
        for text in texts:
            channel = self._make(True)
            async for _ in channel.feed(text):
                pass
            async for _ in channel.finish():
                pass
            self._note(channel)
        return self.stopped is None

    async def _relieve(self) -> AsyncIterator[Event]:
        self._relief_at = None
        for voice, channel in list(self._channels.items()):
            release: Release | None = await channel.relieve()
            self._note(channel)
            if self.stopped is not None:
                for out in self._editor.stop(self._ending(self.stopped)):
                    yield out
                return
            if release is None:
                continue
            self._measure(voice, release)
            if release.text:
                yield self._editor.write(voice, release.text)

    def _patience(self) -> float | None:
        """Seconds until something else is to be done than to read; None where that is never."""
        found = [seconds for seconds in (self._relief_in(), self._hooks.patience()) if seconds is not None]
        return min(found, default=None)

    def _relief_in(self) -> float | None:
        """Seconds until something is to be relieved; None where nothing is held."""
        if self._relief_at is None or not any(channel.held for channel in self._channels.values()):
            return None
        return max(0.0, self._relief_at - asyncio.get_running_loop().time())

    def _note(self, channel: Channel) -> None:
        self.stopped = self.stopped or channel.stopped
        found = channel.strictest
        if found is not None and (self.strictest is None or found.action > self.strictest.action):
            self.strictest = found

    def _measure(self, voice: Voice, release: Release) -> None:
        if self._measures is not None:
            self._measures.released(voice, release)

    def _ending(self, stopped: Verdict) -> Ending:
        """The end by the reply's strictest verdict, which is entered, or by the one that stopped it."""
        entered = self._hooks.enter()
        return ending_of(stopped if entered is None or entered.action < stopped.action else entered)

    def _fail(self, code: str, message: str) -> list[Event]:
        if self._editor.ended:
            return []
        self.failed = code
        return self._editor.fail(code, message)


def _told(error: Exception) -> tuple[str, str]:
    """Code and message of what ended a reply."""
    if isinstance(error, WeirError):
        return error.code, error.message
    if isinstance(error, UpstreamFault):
        return f"upstream_{error.kind}", "The upstream's reply broke off."
    return "upstream_malformed", "The upstream's reply is not what its dialect promises."


def ending_of(verdict: Verdict) -> Ending:
    """The end of a reply, or the refusal of a prompt, by this verdict."""
    return Ending(explain(verdict), facts_of(verdict))


def facts_of(verdict: Verdict) -> Mapping[str, Any]:
    """What a reply's last event says of its verdict, under `x_weir`."""
    facts = {
        "action": verdict.action.wire,
        "categories": [judgement.category for judgement in verdict.judgements if judgement.flagged],
        "degraded": list(verdict.degraded),
        "policy": verdict.policy,
        "policy_version": verdict.policy_version,
    }
    return {**facts, "receipt": verdict.receipt} if verdict.receipt else facts
