"""The text classifier: tokens, windows, onnxruntime and calibration.

Owns the session and the tokenizer. Refuses to know policies, views and stages.
Shapes: T tokens, C labels, H = 384 hidden units, L inner states, S sentences; the graph takes ids and segments (1, T).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from service.backends.artifact import Artifact
from service.backends.batcher import SLICE_ITEMS, Batcher
from service.backends.cache import Ids, Logits, ScoreCache
from service.backends.inner_states import STATES, RecentVectors, Unread, cut_sentences, pool, with_outputs
from service.constitution.reading import Reading, Vectors
from service.errors import ArtifactInvalid, ScorerFailed
from service.metrics import Metrics
from service.types import Kind, Scores, Span

CLS, SEP = 101, 102
RUN_TOKENS = 8


def cost_in_tokens(item: Ids | Unread) -> int:
    """What an input costs, as the tokens that would take that long: the fixed part of a run is worth some."""
    return len(item.ids if isinstance(item, Unread) else item[0]) + RUN_TOKENS


def open_session(artifact: Artifact, threads: int) -> ort.InferenceSession:
    """An onnxruntime session on the CPU; raises ArtifactInvalid when the graph cannot be loaded."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # Spinning threads would take the core that the event loop answers on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        graph = with_outputs(artifact.weights.read_bytes(), STATES)
        session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that share no public base
        raise ArtifactInvalid(f"{artifact.name}: onnxruntime cannot load model.onnx") from error
    shapes = {output.name: output.shape for output in session.get_outputs()}
    if "logits" not in shapes or shapes["logits"][-1:] != [len(artifact.labels)]:
        raise ArtifactInvalid(f"{artifact.name}: model.onnx does not give a logit for each of its labels")
    return session


def open_tokenizer(artifact: Artifact) -> Tokenizer:
    """The artefact's tokenizer, without truncation or padding; raises ArtifactInvalid when it cannot be read."""
    try:
        tokenizer = Tokenizer.from_file(str(artifact.tokenizer))
    except Exception as error:  # tokenizers raises bare Exception
        raise ArtifactInvalid(f"{artifact.name}: tokenizer.json cannot be read") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


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
        given = {output.name for output in self._session.get_outputs()}
        self._states = [name for name in STATES if name in given] or ["embedding"]
        marks = (self._tokenizer.token_to_id(mark) for mark in ".!?")
        self._ends = frozenset(mark for mark in marks if mark is not None)
        self._recent = RecentVectors()
        self._batcher: Batcher[Ids | Unread, Logits | Vectors] = Batcher(
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
        self._encoded: tuple[str, Any] = ("", None)  # by `windows`, for the `tokenize` that follows on the same text

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

    async def score(self, pairs: Sequence[tuple[str, str]], kind: Kind, scope: str | None = "") -> list[Scores]:
        """Calibrated scores of (text, context) pairs, in order; of a text beyond the window only its beginning.

        What was computed for this scope before, or is being computed, is not computed again.
        """
        items = [self.tokenize(text, context) for text, context in pairs]
        if scope is None:
            computed = await self._batcher.submit(items)
            return [self.calibrate(row, kind) for row in computed]
        keys = self._cache.keys(items, scope)
        found = await self._cache.find(keys)
        missing = [n for n, row in enumerate(found) if row is None]
        if missing:
            wanted = [keys[n] for n in missing]
            computed = await self._batcher.submit([items[n] for n in missing], wanted)
            self._cache.keep(wanted, computed)
            for n, row in zip(missing, computed, strict=True):
                found[n] = row
        return [self.calibrate(row, kind) for row in found if row is not None]

    async def read(self, text: str) -> Reading:
        """The text's sentences as inner states. A text that was read a moment ago is not computed again."""
        items: list[Unread] = []
        spans: list[list[Span]] = []
        for window in self.windows(text):
            encoding = self._encode(text[window.start : window.end])
            kept = [
                (token, place)
                for token, place in zip(encoding.ids, encoding.offsets, strict=True)
                if token != self._unknown
            ][: self._room(())]
            ids = [token for token, _ in kept]
            items.append(Unread(ids))
            spans.append(
                [
                    Span(window.start + kept[begin][1][0], window.start + kept[end - 1][1][1])
                    for begin, end in cut_sentences(ids, self._ends)
                ]
            )
        found = [vectors for vectors in await self._vectors(items) if len(vectors)]
        if not found:
            return Reading.empty()
        return Reading(np.concatenate(found), tuple(span for group in spans for span in group))

    async def _vectors(self, items: Sequence[Unread]) -> list[Vectors]:
        """Inner states (S, L, H) of each input, remembered or computed."""
        names = [self._recent.name(item.ids) for item in items]
        known = [self._recent.get(name) for name in names]
        missing = [n for n, vectors in enumerate(known) if vectors is None]
        if missing:
            wanted = [names[n] for n in missing]
            computed = await self._batcher.submit([items[n] for n in missing], wanted)
            for n, vectors in zip(missing, computed, strict=True):
                self._recent.keep(names[n], vectors)
                known[n] = vectors
        return [vectors for vectors in known if vectors is not None]

    def tokenize(self, text: str, context: str = "") -> Ids:
        """Token ids of one input, at most `max_tokens`, the end of the context kept."""
        tail = self._tail(context)
        ids = self._known(self._encode(text).ids)[: self._room(tail)]
        whole = [CLS, *ids, SEP]
        return ([*whole, *tail, SEP] if tail else whole), len(whole)

    def _compute(self, item: Ids | Unread) -> Logits | Vectors:
        return self.states(item) if isinstance(item, Unread) else self.run(item)

    def run(self, item: Ids) -> Logits:
        """Raw logits (C,) of one input, computed on the calling thread."""
        ids, first = item
        logits: Logits = self._outputs(["logits"], ids, first)[0][0]
        if not np.isfinite(logits).all():  # not a number compares as no harm
            raise ScorerFailed("The model gave something that is not a number.")
        return logits

    def states(self, item: Unread) -> Vectors:
        """Inner states of the sentences (S, L, H) of one input, computed on the calling thread."""
        ids = [CLS, *item.ids, SEP]
        outputs = self._outputs(self._states, ids, len(ids))
        return pool([state[0] for state in outputs], cut_sentences(item.ids, self._ends))

    def _outputs(self, names: list[str], ids: list[int], first: int) -> Any:
        """What the graph gives under these names, a batch of one, for `first` ids of a text and then its context."""
        row = np.array([ids], dtype=np.int64)
        segments = np.zeros_like(row)
        segments[0, first:] = 1
        try:
            return self._session.run(names, {"ids": row, "segments": segments})
        except Exception as error:  # as in open_session
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
            self._encoded = (text, encoding)
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
        """Tokens without [CLS] and [SEP]; a lone surrogate has no UTF-8 and is read as '?'."""
        known, encoding = self._encoded
        if encoding is not None and text is known:
            self._encoded = ("", None)
            return encoding
        plain = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
        return self._tokenizer.encode(plain, add_special_tokens=False)

    async def close(self) -> None:
        """Drain and end the workers, and let the model go: what refers to this in a circle is not soon collected."""
        await self._batcher.close()
        del self._session, self._tokenizer


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
