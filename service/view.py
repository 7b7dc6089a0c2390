"""A text as it is scored, and the map from each of its characters back to the text that was sent. stdlib only.

Owns `View` and how edits compose with its map. Refuses to know which edits are wise.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Replace text[start:end] by the string; edits of one pass are sorted, do not overlap and never have start == end.
Edit = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class View:
    """One reading of a text.

    `starts[i]` and `ends[i]` are the code-point offsets in the original between which `text[i]` has its source;
    both are non-decreasing and as long as `text`. None stands for the identity, which most texts are. `length` is
    the original's length in code points.
    """

    name: str
    text: str
    starts: Sequence[int] | None = None
    ends: Sequence[int] | None = None
    length: int = 0

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """The half-open span of the original behind `text[start:end]`; never empty unless the original is.

        Out-of-range and empty spans are widened to the nearest character rather than refused, since a span that
        is shown to a person must show something.
        """
        size = len(self.text)
        if not size:
            return 0, self.length
        start = min(max(start, 0), size - 1)
        end = min(max(end, start + 1), size)
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]

    def named(self, name: str) -> View:
        """The same reading under another name."""
        return View(name, self.text, self.starts, self.ends, self.length)

    def rewritten(self, edits: Iterable[Edit], coarse: bool = False) -> View:
        """This view with `edits` made to its text, or itself where there are none.

        A replacement as long as what it replaces is taken to correspond character by character, unless `coarse`;
        any other maps wholly to the whole of what it replaces.
        """
        todo = list(edits)
        if not todo:
            return self
        if not coarse and all(len(new) == end - start for start, end, new in todo):
            return View(self.name, _spliced(self.text, todo), self.starts, self.ends, self.length)
        old_starts: Sequence[int] = range(len(self.text)) if self.starts is None else self.starts
        old_ends: Sequence[int] = range(1, len(self.text) + 1) if self.ends is None else self.ends
        starts, ends = array("I"), array("I")
        at = 0
        for start, end, new in todo:
            same = not coarse and len(new) == end - start
            upto = end if same else start
            starts.extend(old_starts[at:upto])
            ends.extend(old_ends[at:upto])
            if not same and new:
                starts.extend([old_starts[start]] * len(new))
                ends.extend([old_ends[end - 1]] * len(new))
            at = end
        starts.extend(old_starts[at:])
        ends.extend(old_ends[at:])
        return View(self.name, _spliced(self.text, todo), starts, ends, self.length)


def original(text: str) -> View:
    """The view of a text as it was sent."""
    return View("plain", text, None, None, len(text))


def _spliced(text: str, edits: list[Edit]) -> str:
    parts: list[str] = []
    at = 0
    for start, end, new in edits:
        parts.append(text[at:start])
        parts.append(new)
        at = end
    parts.append(text[at:])
    return "".join(parts)
