"""Server-sent events as a response that owns what they come from.

Owns the end of it: whether the reply ends, fails or its reader leaves, what it was read from is closed. Refuses to
know dialects. A defect in the middle ends with the dialect's error, never in silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.reply_steps import Event, ReplyEditor
from service.log import describe

_log = logging.getLogger("weir.stream")


class EventStream(Response):
    """Sends events as they come, no faster than they are taken."""

    media_type = "text/event-stream"

    def __init__(self, stack: AsyncExitStack, events: AsyncIterator[Event], editor: ReplyEditor, idle_s: float) -> None:
        """`stack` holds what the events come from. `idle_s`: how long a reader may take to accept one event."""
        super().__init__(None, 200, {"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._stack, self._events, self._editor, self._idle_s = stack, events, editor, idle_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write until the end, or until the reader has left."""
        async with self._stack:
            writing = asyncio.ensure_future(self._write(send))
            leaving = asyncio.ensure_future(_left(receive))
            try:
                await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
                if writing.done():
                    writing.result()
            finally:
                writing.cancel()
                leaving.cancel()
                await asyncio.gather(writing, leaving, return_exceptions=True)

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for event in self._events:
                await self._send(send, event)
        except ClientDisconnect:
            raise  # nobody is there to be told
        except Exception as error:
            _log.error("a stream broke", extra=describe(error))
            for event in self._editor.fail("internal_error", "Something went wrong inside Weir."):
                await self._send(send, event)
        finally:
            close = getattr(self._events, "aclose", None)
            if close is not None:
                await close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, event: Event) -> None:
        body = {"type": "http.response.body", "body": self._editor.frame(event), "more_body": True}
        try:
            # Else who reads nothing holds a stream, and an upstream, for ever.
            async with asyncio.timeout(self._idle_s):
                await send(body)
        except TimeoutError:
            raise ClientDisconnect from None


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
