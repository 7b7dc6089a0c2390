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
from numpy.typing import NDArray
from tokenizers import Tokenizer

from service.backends.artifact import Artifact
from service.backends.batcher import SLICE_ITEMS, Batcher
from service.backends.inner_states import STATES, RecentVectors, cut_sentences, pool, with_outputs
from service.constitution.reading import Reading, Vectors
from service.errors import ArtifactInvalid, ScorerFailed
from service.metrics import Metrics
from service.types import Kind, Scores, Span

CLS, SEP = 101, 102
Ids = tuple[list[int], int]  # token ids, and how many of them are the first segment's
Logits = NDArray[np.float32]


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
        slice_items: int = SLICE_ITEMS,
    ) -> None:
        self.artifact = artifact
        self._session = open_session(artifact, threads)
        self._tokenizer = open_tokenizer(artifact)
        self._unknown = self._tokenizer.token_to_id("[UNK]")
        given = {output.name for output in self._session.get_outputs()}
        self._states = [name for name in STATES if name in given] or ["embedding"]
        marks = (self._tokenizer.token_to_id(mark) for mark in ".!?")
        self._ends = frozenset(mark for mark in marks if mark is not None)
        self._recent = RecentVectors()
        self._batcher: Batcher[Ids, tuple[Logits, Vectors]] = Batcher(
            self.compute, workers=workers, max_items=max_items, metrics=metrics, slice_items=slice_items
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

    async def score(self, pairs: Sequence[tuple[str, str]], kind: Kind) -> list[Scores]:
        """Calibrated scores of (text, context) pairs, in order; of a text beyond the window only its beginning."""
        passes = await self._batcher.submit([self.tokenize(text, context) for text, context in pairs])
        return [self.calibrate(logits, kind) for logits, _ in passes]

    async def read(self, text: str) -> Reading:
        """The text's sentences as inner states. A text that has just been scored is not computed again."""
        items: list[Ids] = []
        spans: list[list[Span]] = []
        for window in self.windows(text):
            encoding = self._encode(text[window.start : window.end])
            kept = [
                (token, place)
                for token, place in zip(encoding.ids, encoding.offsets, strict=True)
                if token != self._unknown
            ][: self._room(())]
            ids = [token for token, _ in kept]
            items.append(([CLS, *ids, SEP], len(ids) + 2))
            spans.append(
                [
                    Span(window.start + kept[begin][1][0], window.start + kept[end - 1][1][1])
                    for begin, end in cut_sentences(ids, self._ends)
                ]
            )
        known = [self._recent.get(ids) for ids, _ in items]
        missing = [n for n, vectors in enumerate(known) if vectors is None]
        for n, (_, vectors) in zip(missing, await self._batcher.submit([items[n] for n in missing]), strict=True):
            known[n] = vectors
        found = [vectors for vectors in known if vectors is not None and len(vectors)]
        if not found:
            return Reading.empty()
        return Reading(np.concatenate(found), tuple(span for group in spans for span in group))

    def tokenize(self, text: str, context: str = "") -> Ids:
        """Token ids of one input, at most `max_tokens`, the end of the context kept."""
        tail = self._tail(context)
        ids = self._known(self._encode(text).ids)[: self._room(tail)]
        whole = [CLS, *ids, SEP]
        return ([*whole, *tail, SEP] if tail else whole), len(whole)

    def run(self, item: Ids) -> Logits:
        """Raw logits (C,) of one input, computed on the calling thread."""
        return self.compute(item)[0]

    def compute(self, item: Ids) -> tuple[Logits, Vectors]:
        """Raw logits (C,) and the inner states of the sentences (S, L, H) of one input, on the calling thread."""
        ids, first = item
        row = np.array([ids], dtype=np.int64)
        segments = np.zeros_like(row)
        segments[0, first:] = 1
        try:
            outputs: list[Any] = self._session.run(["logits", *self._states], {"ids": row, "segments": segments})
        except Exception as error:  # as in open_session
            raise ScorerFailed("The model could not be run.") from error
        logits: Logits = outputs[0][0]
        if not np.isfinite(logits).all():  # not a number compares as no harm
            raise ScorerFailed("The model gave something that is not a number.")
        vectors = pool([state[0] for state in outputs[1:]], cut_sentences(ids[1 : first - 1], self._ends))
        if first == len(ids):  # a text read beside its context has other states
            self._recent.keep(ids, vectors)
        return logits, vectors

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
        """Drain and end the workers."""
        await self._batcher.close()


def _sigmoid(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-700.0, min(700.0, odds))))


def _cut(offsets: Sequence[tuple[int, int]], width: int, overlap: int, length: int) -> list[Span]:
    """Ranges of `width` tokens that share at least `overlap`, at equal strides, of more tokens than one range holds.

    Equal strides leave no last range of a few tokens, which would be judged without what stands before it.
    """
    count = math.ceil((len(offsets) - overlap) / (width - overlap))
    starts = [round(n * (len(offsets) - width) / (count - 1)) for n in range(count)]
    spans = [Span(offsets[begin][0], offsets[begin + width - 1][1]) for begin in starts]
    return [Span(0, spans[0].end), *spans[1:-1], Span(spans[-1].start, length)]
