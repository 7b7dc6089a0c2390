"""Drives an editor as the service does, with a judge that knows one word, and no core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from service.api.reply_steps import Ending, Event, ReplyEditor, Say, Send, Voice

ENDING = Ending("Held back.", {"action": "block"})


def edit(
    editor: ReplyEditor, events: Iterable[Event], *, harm: str = "\0", mask: str | None = None, held: int = 8
) -> list[Event]:
    """The events that leave. `harm` stops the reply, or is written as `mask`; the last `held` characters wait."""
    left: list[Event] = []
    pending: dict[Voice, str] = {}
    for event in events:
        for step in editor.read(event):
            if isinstance(step, Send):
                if any(harm in text for text in step.texts):
                    return [*left, *editor.stop(ENDING)]
                left.append(step.event)
                continue
            text = pending.get(step.voice, "") + (step.text if isinstance(step, Say) else "")
            if harm in text:
                if mask is None or step.voice.whole:
                    return [*left, *editor.stop(ENDING)]
                text = text.replace(harm, mask)
            cut = max(0, len(text) - held) if isinstance(step, Say) else len(text)
            pending[step.voice] = text[cut:]
            if text[:cut]:
                left.append(editor.write(step.voice, text[:cut]))
    return left


def stream(editor: ReplyEditor, events: Sequence[Event]) -> bytes:
    """The body that these events make."""
    return b"".join(editor.frame(event) for event in events)
