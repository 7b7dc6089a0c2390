"""The text classifier: tokens, windows, onnxruntime and calibration.

Owns the session and the tokenizer. Refuses to know policies, views and stages.
Shapes: T tokens, C labels, H = 384 hidden units, L inner states, S sentences; the graph takes ids and segments (1, T).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from service.backends.artifact import Artifact
from service.backends.batcher import SLICE_ITEMS, Batcher
from service.backends.cache import Ids, Logits, ScoreCache
from service.backends.inner_states import RECENT_BYTES, STATES, Seen, Unread, cut_sentences, pool
from service.backends.onnx_session import open_session, open_tokenizer
from service.backends.unknown_words import Words
from service.constitution.reading import Reading
from service.errors import ScorerFailed
from service.lru import Lru
from service.metrics import Metrics
from service.types import Kind, Scores, Span

CLS, SEP = 101, 102
RUN_TOKENS = 8


def cost_in_tokens(item: Ids | Unread) -> int:
    """What an input costs, as the tokens that would take that long: the fixed part of a run is worth some."""
    ids, _ = item.ids if isinstance(item, Unread) else item
    return len(ids) + RUN_TOKENS


class OnnxTextScorer:
    """A Scorer over one artefact. Sessions are shared by the worker threads; onnxruntime allows that."""

    def __init__(
        self,
        artifact: Artifact,
        *,
        workers: int,
        threads: int,
        max_items: int,
        metrics: Metrics,
        cache: ScoreCache,
        slice_items: int = SLICE_ITEMS,
        budget_s: float = 60.0,
    ) -> None:
        self.artifact = artifact
        self._cache = cache
        self._session = open_session(artifact, threads)
        self._tokenizer = open_tokenizer(artifact)
        self._unknown = self._tokenizer.token_to_id("[UNK]")
        self._words = Words(self._tokenizer)
        given = {output.name for output in self._session.get_outputs()}
        self._states = [name for name in STATES if name in given] or ["embedding"]
        marks = (self._tokenizer.token_to_id(mark) for mark in ".!?")
        self._ends = frozenset(mark for mark in marks if mark is not None)
        self._recent: Lru[Seen] = Lru(RECENT_BYTES, "states", metrics)
        self._batcher: Batcher[Ids | Unread, Seen] = Batcher(
            self._compute,
            workers=workers,
            max_items=max_items,
            metrics=metrics,
            tokens=cost_in_tokens,
            slice_items=slice_items,
            budget_s=budget_s,
        )
        self._scaling: dict[Kind, list[tuple[str, int, float, float]]] = {
            kind: [
                (name, column, heads[name].slope, heads[name].intercept) for name, column in artifact.columns.items()
            ]
            for kind, heads in artifact.calibration.items()
        }
        self._encoded: tuple[str, Any] = ("", None)  # the last: `windows`, `tokenize` and `read` follow on one text

    @property
    def version(self) -> str:
        """The artefact's name and digest."""
        return self.artifact.version

    @property
    def alive(self) -> bool:
        """Whether the workers can take work."""
        return self._batcher.alive

    @property
    def depth(self) -> int:
        """Items that wait for the model."""
        return self._batcher.depth

    @property
    def capacity(self) -> int:
        """Items that may wait for the model."""
        return self._batcher.capacity

    @property
    def expected_wait_s(self) -> float:
        """Seconds that a short text coming now would wait for a worker."""
        return self._batcher.expected_wait_s

    @property
    def backlog_s(self) -> float:
        """Seconds until all that waits now is computed."""
        return self._batcher.backlog_s

    async def score(
        self, pairs: Sequence[tuple[str, str]], kind: Kind, scope: str | None = "", *, read_next: bool = False
    ) -> list[Scores]:
        """Calibrated scores of (text, context) pairs, in order; of a text beyond the window only its beginning.

        What was computed for this scope before, or is being computed, is not computed again.
        """
        items = [self.tokenize(text, context) for text, context in pairs]
        if read_next:
            return [self.calibrate(seen.logits, kind) for seen in await self._see(items, scope)]
        if scope is None:
            return [self.calibrate(seen.logits, kind) for seen in await self._batcher.submit(items)]
        keys = self._cache.keys(items, scope)
        found = await self._cache.find(keys)
        missing = [n for n, row in enumerate(found) if row is None]
        if missing:
            wanted = [keys[n] for n in missing]
            computed = [seen.logits for seen in await self._batcher.submit([items[n] for n in missing], wanted)]
            self._cache.keep(wanted, computed)
            for n, row in zip(missing, computed, strict=True):
                found[n] = row
        return [self.calibrate(row, kind) for row in found if row is not None]

    async def read(self, text: str, scope: str | None = "") -> Reading:
        """The text's sentences as inner states. What was just scored to be read is not computed again."""
        items: list[Ids] = []
        spans: list[Span] = []
        for window in self.windows(text):
            encoding = self._encode(text[window.start : window.end])
            kept = [
                (token, place)
                for token, place in zip(encoding.ids, encoding.offsets, strict=True)
                if token != self._unknown
            ][: self._room(())]
            ids = [token for token, _ in kept]
            items.append(([CLS, *ids, SEP], len(ids) + 2))
            spans += [
                Span(window.start + kept[begin][1][0], window.start + kept[end - 1][1][1])
                for begin, end in cut_sentences(ids, self._ends)
            ]
        seen = await self._see(items, scope, last=True)
        return Reading(np.concatenate([one.vectors for one in seen]), tuple(spans)) if spans else Reading.empty()

    async def _see(self, items: Sequence[Ids], scope: str | None, *, last: bool = False) -> list[Seen]:
        """Logits and inner states of each input, remembered or of one run.

        Where nothing may be kept they are kept until they are asked for with `last`, and only for that.
        """
        keys = self._cache.keys(items, scope or "")
        names = [key + (b"once" if scope is None else b"kept") for key in keys]
        found = [self._recent.get(name) if last or scope is not None else None for name in names]
        missing = [n for n, seen in enumerate(found) if seen is None]
        if missing:
            wanted = [names[n] for n in missing]
            computed = await self._batcher.submit(
                [Unread(items[n]) for n in missing], wanted if scope is not None else None
            )
            for n, seen in zip(missing, computed, strict=True):
                self._recent.put(names[n], seen, seen.nbytes)
                found[n] = seen
            if scope is not None:
                self._cache.keep([keys[n] for n in missing], [seen.logits for seen in computed])
        if scope is None and last:
            for name in names:
                self._recent.drop(name)
        return [seen for seen in found if seen is not None]

    def tokenize(self, text: str, context: str = "") -> Ids:
        """Token ids of one input, at most `max_tokens`, the end of the context kept."""
        tail = self._tail(context)
        ids = self._known(self._encode(text).ids)[: self._room(tail)]
        whole = [CLS, *ids, SEP]
        return ([*whole, *tail, SEP] if tail else whole), len(whole)

    def _compute(self, item: Ids | Unread) -> Seen:
        return self.see(item) if isinstance(item, Unread) else Seen(self.run(item))

    def run(self, item: Ids) -> Logits:
        """Raw logits (C,) of one input, computed on the calling thread."""
        return _checked(self._outputs(["logits"], *item)[0][0])

    def see(self, item: Unread) -> Seen:
        """Raw logits of one input and the inner states of its sentences, computed on the calling thread."""
        ids, first = item.ids
        logits, *states = self._outputs(["logits", *self._states], ids, first)
        return Seen(_checked(logits[0]), pool([state[0] for state in states], cut_sentences(ids[1:-1], self._ends)))

    def _outputs(self, names: list[str], ids: list[int], first: int) -> Any:
        """What the graph gives under these names, a batch of one, for `first` ids of a text and then its context."""
        row = np.array([ids], dtype=np.int64)
        segments = np.zeros_like(row)
        segments[0, first:] = 1
        try:
            return self._session.run(names, {"ids": row, "segments": segments})
        except Exception as error:  # onnxruntime raises classes of its own that share no public base
            raise ScorerFailed("The model could not be run.") from error

    def calibrate(self, logits: Logits, kind: Kind) -> Scores:
        """Probabilities by category from raw logits (C,)."""
        raw = logits.tolist()  # seventeen numbers: plain arithmetic is quicker than an array's overhead
        return {name: _sigmoid(slope * raw[column] + shift) for name, column, slope, shift in self._scaling[kind]}

    def windows(self, text: str, context: str = "") -> list[Span]:
        """Overlapping ranges that together cover the text, each of at most `max_tokens` tokens beside the context."""
        room = self._room(self._tail(context))
        # Of ASCII a token is at least one character; a Korean syllable, for one, may be three tokens.
        if text.isascii() and len(text) <= room:
            return [Span(0, len(text))]
        encoding = self._encode(text)
        offsets = encoding.offsets
        if len(offsets) <= room:
            return [Span(0, len(text))]
        spans: list[Span] = []
        for width in (room, room - room // 8, room - room // 4, room // 2):  # a cut inside a word makes more tokens
            spans = _cut(offsets, width, min(self.artifact.overlap_tokens, width // 2), len(text))
            if all(len(self._encode(text[span.start : span.end]).ids) <= room for span in spans):
                break
        return spans

    def _tail(self, context: str) -> list[int]:
        """The last tokens of a context, as many as the model was trained with."""
        return self._known(self._encode(context).ids)[-self.artifact.context_tokens :] if context else []

    def _known(self, ids: list[int]) -> list[int]:
        """The ids without the unknown token: any emoji and foreign sign is the same one, which says nothing of harm."""
        return [token for token in ids if token != self._unknown]

    def _room(self, tail: Sequence[int]) -> int:
        """How many tokens a text may have beside that end of its context."""
        return self.artifact.max_tokens - 2 - (len(tail) + 1 if tail else 0)

    def _encode(self, text: str) -> Any:
        """Tokens without [CLS] and [SEP]; a lone surrogate has no UTF-8 and is read as U+FFFD, which is no token.

        A word with one sign that the vocabulary has not, such as an emoji at its end, would be unknown as a whole. So
        such signs are read as spaces, and so is every hundredth letter of an endless word.
        """
        known, encoding = self._encoded
        if encoding is None or text is not known:
            plain = self._words.readable(text)
            encoding = self._tokenizer.encode(plain, add_special_tokens=False)
            if self._unknown in encoding.ids and (apart := self._words.apart(plain, encoding)) != plain:
                encoding = self._tokenizer.encode(apart, add_special_tokens=False)
            self._encoded = (text, encoding)
        return encoding

    async def close(self) -> None:
        """Drain and end the workers, and let the model go: what refers to this in a circle is not soon collected."""
        await self._batcher.close()
        del self._session, self._tokenizer


def _checked(logits: Logits) -> Logits:
    if not np.isfinite(logits).all():  # not a number compares as no harm
        raise ScorerFailed("The model gave something that is not a number.")
    return logits


def _sigmoid(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-700.0, min(700.0, odds))))


def _cut(offsets: Sequence[tuple[int, int]], width: int, overlap: int, length: int) -> list[Span]:
    """Ranges of `width` tokens that share at least `overlap`, of more tokens than one range holds.

    At fixed strides from the start, so that those of a text that grows stay what they were; the last one ends with the
    text and is as wide as the others, since a few tokens would be judged without what stands before them.
    """
    last = len(offsets) - width
    starts = [*range(0, last, width - overlap), last]
    spans = [Span(offsets[begin][0], offsets[begin + width - 1][1]) for begin in starts]
    return [Span(0, spans[0].end), *spans[1:-1], Span(spans[-1].start, length)]
