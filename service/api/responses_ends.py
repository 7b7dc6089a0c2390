"""How voices, items and responses of OpenAI's end: the events and fields that tell it once more.

Owns what is written at an end, from what was released. Refuses to know the order of events and judgement.
"""

from __future__ import annotations

import re
from copy import deepcopy

from service.api.reply_steps import Event
from service.api.responses_items import DELTAS, SPOKEN, Item, Speech

_CODE = re.compile(r"[a-z_]{1,64}")
_INCOMPLETE = ("max_output_tokens", "content_filter")


def dones(speech: Speech) -> list[Event]:
    """The events that end a voice, with what was released."""
    field_, listed, _ = DELTAS[speech.delta]
    text = "".join(speech.released)
    speech.target[field_] = text
    done: Event = {"type": speech.delta.removesuffix("delta") + "done", **speech.places, field_: text}
    if speech.delta == "response.output_text.delta":
        # Alternatives that were not chosen are text too, which nobody has judged.
        done["logprobs"] = [{**entry, "top_logprobs": []} for entry in speech.logprobs] if speech.whole else []
    events = [done]
    if listed:
        name = "reasoning_summary_part" if listed == "summary" else "content_part"
        events.append({"type": f"response.{name}.done", **speech.places, "part": deepcopy(speech.target)})
    speech.delta = ""
    return events


def late_fields(item: Item, given: Event) -> Event:
    """What an item holds at its end beside what was spoken: a tool's output, the finds of a search."""
    kind = item.shape.get("type")
    if kind in ("message", "reasoning"):
        return {key: given[key] for key in ("encrypted_content",) if isinstance(given.get(key), str)}
    spoken = SPOKEN.get(str(kind))
    late = {key: value for key, value in given.items() if key not in ("type", "id", "status", spoken)}
    if kind == "image_generation_call":
        late["result"] = None
    return late


def reasons(kind: str, response: Event) -> Event:
    """Why a response is not whole, in the upstream's code and in none of its words, which may quote the model."""
    if kind == "response.incomplete":
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return {"incomplete_details": {"reason": reason if reason in _INCOMPLETE else "content_filter"}}
    if kind == "response.failed":
        error = response.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        code = code if isinstance(code, str) and _CODE.fullmatch(code) else "server_error"
        return {"error": {"code": code, "message": "The upstream reported that it failed."}}
    return {}


def status_of(given: Event) -> str:
    """How the upstream says that an item ended."""
    status = given.get("status")
    return status if status in ("completed", "incomplete", "failed") else "completed"
