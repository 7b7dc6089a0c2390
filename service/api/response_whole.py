"""A response of OpenAI's that came in one piece: as the events that it could have come in, and back.

Owns both directions, so that a reply is judged in one way whether it is streamed or not. Refuses to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from service.api.reply_steps import Event, MalformedEvent

_LAST = {"completed": "response.completed", "incomplete": "response.incomplete", "failed": "response.failed"}


def to_events(response: Event) -> Iterator[Event]:
    """The response as events: what an item holds is told at its end. Raises MalformedEvent for what is no response."""
    output, last = response.get("output"), _LAST.get(str(response.get("status")))
    if response.get("object") != "response" or not isinstance(output, list) or last is None:
        raise MalformedEvent("the reply is no finished response")
    yield {"type": "response.created", "response": response}
    for index, item in enumerate(output):
        if not isinstance(item, dict):
            raise MalformedEvent("an item is no object")
        yield {"type": "response.output_item.added", "output_index": index, "item": item}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": last, "response": response}


def from_events(events: Iterable[Event]) -> Event:
    """The response that the last of these events, which an editor wrote, holds."""
    last: Event = {}
    for event in events:
        last = event
    return dict(last["response"])
