"""Log probabilities of one choice, which wait for the text that they belong to.

Owns which of them may leave with a piece of text. Refuses to know verdicts. They name tokens, so that one which left
early would tell what is held back; where the text was altered they fit no more and are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from service.api.reply_steps import Event

KINDS = ("content", "refusal")


@dataclass(slots=True)
class _Line:
    """What one kind of text has said and released, in bytes of UTF-8, and the entries that wait."""

    said: bytearray = field(default_factory=bytearray)
    released: bytearray = field(default_factory=bytearray)
    told: int = 0  # bytes whose entries have left
    waiting: list[Event] = field(default_factory=list)


class Logprobs:
    """The entries of one choice."""

    def __init__(self) -> None:
        self._lines = {kind: _Line() for kind in KINDS}

    def add(self, logprobs: Event) -> None:
        """Entries of a chunk."""
        for kind, line in self._lines.items():
            entries = logprobs.get(kind)
            line.waiting += [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    def say(self, kind: str, text: str) -> None:
        """Text that the upstream said."""
        if kind in self._lines:
            self._lines[kind].said += text.encode("utf-8", "replace")

    def release(self, kind: str, text: str) -> Event | None:
        """The entries of tokens that have left wholly with this text; None where there are none."""
        line = self._lines.get(kind)
        if line is None:
            return None
        line.released += text.encode("utf-8", "replace")
        if line.said[: len(line.released)] != line.released:
            line.waiting.clear()
        leaving: list[Event] = []
        while line.waiting:
            token = _bytes_of(line.waiting[0])
            end = line.told + len(token)
            if end > len(line.released):
                break
            if line.released[line.told : end] != token:
                line.waiting.clear()
                break
            line.told = end
            # Alternatives that were not chosen are text too, which nobody has judged.
            leaving.append({**line.waiting.pop(0), "top_logprobs": []})
        return {kind: leaving} if leaving else None


def _bytes_of(entry: Event) -> bytes:
    given = entry.get("bytes")
    if isinstance(given, list) and all(isinstance(value, int) and 0 <= value < 256 for value in given):
        return bytes(given)
    token = entry.get("token")
    return token.encode("utf-8", "replace") if isinstance(token, str) else b""
