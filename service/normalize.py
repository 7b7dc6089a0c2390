"""The readings of a text that are worth scoring: the plain one, and others where it was disguised. stdlib only.

Owns which foldings are made, in which order, and how many readings there may be. Refuses to know what is harmful,
what a model is and what a reading costs to score; each folding lives beside it and knows only text.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import nullcontext

from service import confusables, decoding, folding, spelling, wordplay
from service.view import Edit, View, original

__all__ = ["LONG_CHARS", "SPELLINGS", "Readings", "View", "views"]

MAX_VIEWS = 8
LONG_CHARS = 20_000  # code points from which reading a text takes so long that the event loop is to be spared
_DEPTH = 3  # carriers inside carriers
_PASSES = 4  # one folding may uncover work for another; a text that needs more is left after this many

_Edits = Callable[[str], list[Edit]]
# Most texts have none of these and are their own plain view.
_UNPLAIN_SIGN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f&%]")
_UNPLAIN_RUNS = ("  ", " \t", "\t ", "\t\t", "\n\n\n", *(letter * 3 for letter in "abcdefghijklmnopqrstuvwxyz"))
_CLEANING: tuple[_Edits, ...] = (
    decoding.escape_edits,
    folding.hidden_edits,
    folding.mark_edits,
    folding.compatibility_edits,
    confusables.mixed_script_edits,
)
_AMBIGUOUS: tuple[tuple[str, _Edits], ...] = (
    ("joined", wordplay.joined_edits),
    ("squeezed", wordplay.squeezed_edits),
    ("lookalike", wordplay.lookalike_edits),
    ("leet", wordplay.leet_edits),
    ("masked", wordplay.masked_edits),
)
_PARTIAL = frozenset(name for name, _ in _AMBIGUOUS)
# Names of the views that hold the text as it stands, only spelt otherwise; the others hold what was hidden in it.
SPELLINGS = frozenset({"plain", "respelled", "folded", *(name for name, _ in _AMBIGUOUS)})


def views(text: str) -> tuple[View, ...]:
    """The readings of `text`, the plain one first and at most `MAX_VIEWS` in all; the others differ from it.

    Any string is accepted, lone surrogates and NUL included. Sources: Unicode UAX15 (NFKC), TR36 and TR39.
    """
    source = original(text)
    if _is_plain(text):
        clean = plain = source
    else:
        clean = _clean(source)
        plain = _finished(clean)
    found = [plain, *_hidden_views(source, clean), *_ambiguous_views(clean, plain)]
    for view in tuple(found[1:]):
        if view.name in ("decoded", "smuggled", "reversed"):
            found += [extra.named(f"{view.name}-folded") for extra in _ambiguous_views(view, view)[-1:]]
    first_of = {view.text: view for view in reversed(found)}
    unlike = [view for view in found if first_of[view.text] is view]
    if len(unlike) > MAX_VIEWS:  # one folding alone is given up before that with all of them, and what was hidden
        partial = [view for view in unlike if view.name in _PARTIAL][MAX_VIEWS - len(unlike) :]
        unlike = [view for view in unlike if view not in partial]
    return tuple(unlike[:MAX_VIEWS])


class Readings:
    """`views`, with those of the last text kept: stages read one text after the other. For any thread.

    Texts of more than LONG_CHARS are for threads of their own, which wait for each other: two that read the same text
    at the same time make its readings once.
    """

    def __init__(self) -> None:
        self._last = "", views("")
        self._long = threading.Lock()

    def __call__(self, text: str) -> tuple[View, ...]:
        """The readings of a text."""
        with self._long if len(text) > LONG_CHARS else nullcontext():
            return self._read(text)

    def _read(self, text: str) -> tuple[View, ...]:
        known, found = self._last
        if text is not known:
            found = views(text)
            self._last = text, found
        return found


def _is_plain(text: str) -> bool:
    if not text.isascii() or _UNPLAIN_SIGN.search(text):
        return False
    low = text.lower()
    for run in _UNPLAIN_RUNS:  # noqa: SIM110 - a third quicker than `any`, and every text comes through here
        if run in low:
            return False
    return True


def _clean(view: View) -> View:
    """Every safe folding that leaves spacing and repeats as they are, which other foldings read."""
    for _ in range(_PASSES):
        before = view
        for edits in _CLEANING:
            view = view.rewritten(edits(view.text))
        if view is before:
            break
    return view


def _finished(view: View) -> View:
    for _ in range(_PASSES):
        before = view
        view = view.rewritten(folding.space_edits(view.text))
        view = view.rewritten(folding.repeat_edits(view.text))
        if view is before:
            break
        view = _clean(view)
    return view


def _hidden_views(source: View, clean: View) -> list[View]:
    found: list[View] = []
    carried = clean
    smuggled = source.rewritten(decoding.smuggled_edits(source.text))
    if smuggled is not source:
        carried = _clean(smuggled)
        found.append(_finished(carried).named("smuggled"))
    opened = carried
    for _ in range(_DEPTH):
        inside = opened.rewritten(decoding.payload_edits(opened.text))
        if inside is opened:
            break
        opened = _clean(inside)
    if opened is not carried:
        found.append(_finished(opened).named("decoded"))
    turned = source.rewritten(decoding.direction_edits(source.text), coarse=True)
    if turned is not source:
        found.append(_finished(_clean(turned)).named("reversed"))
        return found
    whole = wordplay.turned(clean.text)
    if whole is not None:
        view = clean.rewritten([(0, len(clean.text), whole[1])], coarse=whole[0] == "reversed")
        found.append(_finished(view).named(whole[0]))
    return found


def _ambiguous_views(clean: View, plain: View) -> list[View]:
    """One view for each ambiguous folding that changes something, then one with all of them if several do."""
    found: list[View] = []
    for name, edits in _AMBIGUOUS:
        if name == "squeezed" and plain is clean:
            continue  # a letter drawn out would have been shortened in the plain view
        base = clean if name in ("joined", "squeezed") else plain
        view = base.rewritten(edits(base.text))
        if view is not base:
            found.append(_finished(view).named(name))
    if not found:  # whoever disguises does not slip, and what is left of a disguise looks like slips
        respelled = plain.rewritten(spelling.slip_edits(plain.text))
        return [] if respelled is plain else [respelled.named("respelled")]
    if found[0].name != "joined" and len(found) < 2:
        return found
    folded = clean
    for name, edits in _AMBIGUOUS:
        folded = folded.rewritten(edits(folded.text))
        if name == "joined":
            folded = _clean(folded)
    folded = _finished(folded)
    return found if any(folded.text == view.text for view in found) else [*found, folded.named("folded")]
