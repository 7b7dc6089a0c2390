"""The events of one reply of OpenAI's responses: what of them is text, and how the reply ends.

Owns the order of events and their numbering. Refuses to know how text is judged, and HTTP.

Text, refusal, reasoning and the arguments of calls are voices. What comes whole (searches, outputs of tools) is judged
whole. Annotations and logprobs wait for the end of their text. An event of an unknown type is dropped.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from copy import deepcopy

from service.api.reply_steps import (
    Close,
    Ending,
    Event,
    MalformedEvent,
    Say,
    Send,
    Step,
    Voice,
    named_frame,
    part,
    place,
    string,
    texts_in,
)
from service.api.responses_ends import dones, late_fields, reasons, status_of
from service.api.responses_items import (
    DELTA_OF_ITEM,
    DELTA_OF_PART,
    DELTAS,
    DONES,
    OPAQUE,
    SILENT,
    SPOKEN,
    Item,
    Speech,
    envelope,
    unspoken,
    unspoken_part,
)

_TERMINAL = ("response.completed", "response.incomplete", "response.failed")


class ResponsesEditor:
    """Edits one response. Items are numbered anew, so that what is dropped leaves no gap."""

    def __init__(self, request: Event) -> None:
        """`request` is the caller's body: what the reply echoes is taken from it, not from the upstream."""
        self._request = request
        self._envelope = envelope({}, request)
        self._items: dict[int, Item] = {}
        self._output: dict[int, Event] = {}
        self._opened = 0
        self._number = 0
        self._begun = False
        self.ended = False

    def read(self, event: Event) -> Iterator[Step]:
        """Steps for one event of the upstream."""
        kind = string(event, "type")
        if kind in ("response.created", "response.in_progress", "response.queued"):
            yield from self._start(kind, part(event, "response"))
            return
        if not self._begun:
            raise MalformedEvent("an event came before response.created")
        if kind in _TERMINAL:
            yield from self._finish(kind, part(event, "response"))
        elif kind == "response.output_item.added":
            yield from self._open(place(event, "output_index"), part(event, "item"))
        elif kind in _ITEM_EVENTS:
            item = self._items.get(place(event, "output_index"))
            if item is None:
                raise MalformedEvent("an event belongs to no open item")
            yield from self._in_item(kind, event, item)

    def write(self, voice: Voice, text: str) -> Event:
        """The delta that releases this text."""
        speech = next(s for item in self._items.values() for s in item.speeches.values() if s.voice == voice)
        speech.released.append(text)
        event: Event = {"type": speech.delta, **speech.places, "delta": text}
        return {**event, "logprobs": []} if speech.delta == "response.output_text.delta" else event

    def stop(self, ending: Ending) -> list[Event]:
        """Close what is open, and end as incomplete."""
        events = [*self._begin(), *self._close_all()]
        response = self._response("incomplete")
        response["incomplete_details"] = {"reason": "content_filter"}
        if ending.facts:
            response["x_weir"] = dict(ending.facts)
        return [*events, self._last("response.incomplete", response)]

    def fail(self, code: str, message: str) -> list[Event]:
        """An explicit failure; the text that was released stays."""
        events = [*self._begin(), *self._close_all()]
        response = self._response("failed")
        response["error"] = {"code": code, "message": message}
        return [*events, self._last("response.failed", response)]

    def frame(self, event: Event) -> bytes:
        """The event with its name and its number."""
        self._number += 1
        return named_frame({**event, "sequence_number": self._number - 1})

    def _begin(self) -> list[Event]:
        """A response that the upstream had not begun."""
        if self._begun:
            return []
        self._begun = True
        return [{"type": "response.created", "response": dict(self._envelope)}]

    def _start(self, kind: str, response: Event) -> Iterator[Step]:
        first, self._begun = not self._begun, True
        self._envelope = envelope(response, self._request)
        if first or kind == "response.in_progress":
            kind = "response.created" if first else kind
            yield Send({"type": kind, "response": dict(self._envelope)})

    def _open(self, index: int, item: Event) -> Iterator[Step]:
        if index in self._items:
            raise MalformedEvent("an item was opened twice")
        shape = unspoken(item)
        kind = shape.get("type")
        opened = Item(self._opened, shape)
        yield Send(
            {"type": "response.output_item.added", "output_index": opened.index, "item": deepcopy(shape)},
            texts_in(shape, OPAQUE),
        )
        self._items[index] = opened
        self._opened += 1
        if kind in SPOKEN:
            yield from self._say(self._speech(opened, DELTA_OF_ITEM[str(kind)], 0), string(item, SPOKEN[str(kind)]))

    def _in_item(self, kind: str, event: Event, item: Item) -> Iterator[Step]:
        if kind == "response.output_item.done":
            yield from self._close_item(place(event, "output_index"), part(event, "item"))
        elif kind in SILENT:
            yield Send({"type": kind, "output_index": item.index, "item_id": item.shape.get("id")})
        elif kind in ("response.content_part.added", "response.reasoning_summary_part.added"):
            yield from self._open_part(event, item)
        elif kind in DELTAS:
            speech = yield from self._find(kind, event, item)
            logprobs = event.get("logprobs")
            speech.logprobs.extend(e for e in (logprobs if isinstance(logprobs, list) else ()) if isinstance(e, dict))
            yield from self._say(speech, string(event, "delta"))
        elif kind in DONES:
            field_, listed, _ = DELTAS[DONES[kind]]
            speech = yield from self._find(DONES[kind], event, item)
            if listed:  # its part's own end is still to come, with annotations
                yield from self._say_rest(speech, string(event, field_))
            else:
                yield from self._close(speech, string(event, field_))
        elif kind in ("response.content_part.done", "response.reasoning_summary_part.done"):
            listed = "content" if kind == "response.content_part.done" else "summary"
            ended = item.speeches.get((listed, place(event, f"{listed}_index")))
            if ended is not None:
                yield from self._close_part(ended, part(event, "part"))
        elif kind == "response.output_text.annotation.added":
            speech = yield from self._find("response.output_text.delta", event, item)
            speech.annotations.append(part(event, "annotation"))

    def _find(self, delta: str, event: Event, item: Item) -> Generator[Step, None, Speech]:
        """The voice that an event speaks with; a part that was not announced is announced."""
        _, listed, key = DELTAS[delta]
        number = place(event, key) if key else 0
        speech = item.speeches.get((listed, number))
        if speech is None and listed:
            kinds = {name: kind for kind, name in DELTA_OF_PART.items()}
            yield from self._open_listed(item, listed, key, number, {"type": kinds[delta]})
            speech = item.speeches.get((listed, number))
        if speech is None or speech.delta not in ("", delta):
            raise MalformedEvent("a delta is of another type than its part")
        return speech

    def _open_part(self, event: Event, item: Item) -> Iterator[Step]:
        listed = "summary" if event["type"] == "response.reasoning_summary_part.added" else "content"
        key = f"{listed}_index"
        given = part(event, "part")
        number = place(event, key)
        yield from self._open_listed(item, listed, key, number, given)
        speech = item.speeches.get((listed, number))
        if speech is not None:
            yield from self._say(speech, string(given, "refusal" if given["type"] == "refusal" else "text"))

    def _open_listed(self, item: Item, listed: str, key: str, number: int, given: Event) -> Iterator[Step]:
        """Announce a part, emptied; one of an unknown type is left out."""
        shape = unspoken_part(given)
        if shape is None or (listed, number) in item.speeches:
            return
        parts = item.shape.setdefault(listed, [])
        parts.append(shape)
        speech = self._speech(item, DELTA_OF_PART[shape["type"]], number, len(parts) - 1)
        name = "reasoning_summary_part" if listed == "summary" else "content_part"
        yield Send({"type": f"response.{name}.added", **speech.places, "part": dict(shape)})

    def _speech(self, item: Item, delta: str, number: int, own: int = 0) -> Speech:
        _, listed, key = DELTAS[delta]
        places: Event = {"output_index": item.index, "item_id": item.shape.get("id")}
        if listed:
            places[key] = own
        target = item.shape[listed][own] if listed else item.shape
        speech = Speech(Voice((item.index, delta, own)), delta, places, target)
        item.speeches[listed, number] = speech
        return speech

    def _say(self, speech: Speech, text: str) -> Iterator[Step]:
        if text:
            if not speech.delta:
                raise MalformedEvent("a part went on after its end")
            speech.said.append(text)
            yield Say(speech.voice, text)

    def _say_rest(self, speech: Speech, whole: str) -> Iterator[Step]:
        """What the upstream tells only at a voice's end is said now."""
        said = "".join(speech.said)
        if speech.delta and whole.startswith(said):
            yield from self._say(speech, whole[len(said) :])

    def _close_part(self, speech: Speech, given: Event) -> Iterator[Step]:
        annotations = given.get("annotations")
        if not speech.annotations and isinstance(annotations, list):
            speech.annotations.extend(entry for entry in annotations if isinstance(entry, dict))
        yield from self._close(speech, string(given, "refusal" if "refusal" in given else "text"))

    def _close(self, speech: Speech, whole: str) -> Iterator[Step]:
        if not speech.delta:
            return
        yield from self._say_rest(speech, whole)
        yield Close(speech.voice)
        if speech.whole and speech.annotations:
            for number, annotation in enumerate(speech.annotations):
                event = {"type": "response.output_text.annotation.added", **speech.places}
                event.update(annotation_index=number, annotation=annotation)
                yield Send(event, texts_in(annotation, OPAQUE))
                speech.target["annotations"].append(annotation)
        for event in dones(speech):
            yield Send(event)

    def _close_item(self, index: int, given: Event) -> Iterator[Step]:
        item = self._items[index]
        for listed in ("content", "summary"):
            parts = given.get(listed)
            for number, entry in enumerate(parts if isinstance(parts, list) else []):
                if (listed, number) not in item.speeches and isinstance(entry, dict):
                    yield from self._open_listed(item, listed, f"{listed}_index", number, entry)
                speech = item.speeches.get((listed, number))
                if speech is not None:
                    yield from self._close_part(speech, entry)
        for speech in item.speeches.values():
            spoken = SPOKEN.get(str(item.shape.get("type")))
            yield from self._close(speech, string(given, spoken) if spoken else "")
        late = late_fields(item, given)
        done = deepcopy({**item.shape, **late, "status": status_of(given)})
        event = {"type": "response.output_item.done", "output_index": item.index, "item": done}
        yield Send(event, texts_in(late, OPAQUE))
        self._output[item.index] = done  # only now: a stop tells of what was judged alone
        del self._items[index]

    def _close_all(self) -> list[Event]:
        """End what is open where it stands."""
        events: list[Event] = []
        for item in self._items.values():
            for speech in item.speeches.values():
                if speech.delta:
                    events.extend(dones(speech))
            done = deepcopy({**item.shape, "status": "incomplete"})
            self._output[item.index] = done
            events.append({"type": "response.output_item.done", "output_index": item.index, "item": done})
        self._items.clear()
        return events

    def _finish(self, kind: str, response: Event) -> Iterator[Step]:
        output = response.get("output")
        output = output if isinstance(output, list) else []
        for index in list(self._items):
            given = output[index] if index < len(output) and isinstance(output[index], dict) else {}
            yield from self._close_item(index, given)
        self._envelope = envelope(response, self._request)
        last = self._response(kind.removeprefix("response."))
        last.update(reasons(kind, response))
        yield Send(self._last(kind, last), facts_in=last)

    def _response(self, status: str) -> Event:
        return {**self._envelope, "status": status, "output": [self._output[n] for n in sorted(self._output)]}

    def _last(self, kind: str, response: Event) -> Event:
        self.ended = True
        return {"type": kind, "response": response}


_ITEM_EVENTS = frozenset(
    {"response.output_item.done", "response.content_part.added", "response.reasoning_summary_part.added"}
    | {"response.content_part.done", "response.reasoning_summary_part.done", "response.output_text.annotation.added"}
    | SILENT
    | DELTAS.keys()
    | DONES.keys()
)
