"""One image classifier, of pictures alone or of pictures and text: pixels, windows of text, onnxruntime, calibration.

Owns the session and the tokenizer. Refuses to know policies, frames and stages.
Shapes: S the model's side in pixels, T tokens, C labels. The graph takes `pixels`, float32 of (1, 3, S, S) or
(1, S, S, 3) as the manifest says, and of a model that reads text too `ids`, int64 of (1, T); its first output whose
last axis has a place for each label, `logits` if there is one of that name, is what is read.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from service.backends.batcher import GROUP_TOKENS, Batcher
from service.backends.image_artifact import ImageArtifact, TextInput
from service.backends.onnx_session import new_session
from service.errors import ArtifactInvalid, ScorerFailed
from service.metrics import Metrics
from service.types import Scores

MOST_WINDOWS = 4  # of a text that are looked at beside a picture; each costs a run of the whole graph
QUEUE_RUNS = 128  # that may wait: a picture of 256 pixels a side takes 200 kB
_NICE = 5  # of the worker: texts, of which there are many more, come before pictures

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Run:
    """One picture, RGB bytes of a square, and token ids of what is written beside it."""

    pixels: bytes = field(repr=False)
    ids: tuple[int, ...] = field(default=(), repr=False)

    @property
    def key(self) -> bytes:
        """The same for equal runs, so that one in flight is joined."""
        hashed = hashlib.blake2b(self.pixels, digest_size=16)
        hashed.update(np.array(self.ids, dtype=np.int64).tobytes())
        return hashed.digest()


class Words:
    """The tokenizer of a model that reads text too. Tokens that it does not know are left out, as in training."""

    def __init__(self, name: str, given: TextInput) -> None:
        """Raises ArtifactInvalid, with the artefact's name."""
        try:
            tokenizer = Tokenizer.from_file(str(given.tokenizer))
        except Exception as error:  # tokenizers raises bare Exception
            raise ArtifactInvalid(f"{name}: tokenizer.json cannot be read") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._given = given
        self._unknown = tokenizer.token_to_id("[UNK]")
        first, last = (tokenizer.token_to_id(mark) for mark in ("[CLS]", "[SEP]"))
        if first is None or last is None:
            raise ArtifactInvalid(f"{name}: tokenizer.json has no [CLS] or no [SEP]")
        self._first, self._last = first, last

    def windows(self, text: str) -> tuple[list[tuple[int, ...]], bool]:
        """Token ids of each window, MOST_WINDOWS of them at most and one at least, and whether they hold all of it."""
        plain = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair is no text
        encoded = self._tokenizer.encode(plain, add_special_tokens=False).ids
        ids = [token for token in encoded if token != self._unknown]
        room = self._given.max_tokens - 2
        last = max(0, len(ids) - room)
        starts = [*range(0, last, room - self._given.overlap_tokens), last]
        cuts = [(self._first, *ids[begin : begin + room], self._last) for begin in starts[:MOST_WINDOWS]]
        return cuts, len(starts) <= MOST_WINDOWS


class OnnxImageScorer:
    """Scores of pictures under one artefact, a run at a time on a thread of its own."""

    def __init__(
        self, artifact: ImageArtifact, metrics: Metrics, *, budget_s: float = 60.0, queue_runs: int = QUEUE_RUNS
    ) -> None:
        """Opens the graph; ArtifactInvalid where it cannot be run as the manifest says. Needs a running event loop."""
        self.artifact = artifact
        self._session = _open_session(artifact)
        self._words = None if artifact.text is None else Words(artifact.name, artifact.text)
        self._picture, self._output = _names(artifact, self._session)
        self._seconds = metrics.visual_seconds.labels(artifact.name)
        self._mean, self._std = (np.array(three, dtype=np.float32) for three in (artifact.mean, artifact.std))
        self._here = threading.local()
        self._batcher: Batcher[Run, Floats] = Batcher(
            self.run,
            workers=1,
            max_items=queue_runs,
            metrics=Metrics(apart=True),  # the series of the queue are those of texts
            tokens=_one_at_a_time,
            budget_s=budget_s,
        )

    @property
    def version(self) -> str:
        """The artefact's name and digest."""
        return self.artifact.version

    @property
    def side(self) -> int:
        """Pixels of a side of the square that is looked at."""
        return self.artifact.side

    @property
    def reads_text(self) -> bool:
        """Whether what is written beside a picture changes its scores."""
        return self._words is not None

    @property
    def alive(self) -> bool:
        """Whether the worker can take work."""
        return self._batcher.alive

    async def score(self, pictures: Sequence[bytes], text: str = "") -> tuple[list[Scores], bool]:
        """Scores of each picture (RGB bytes of a square of any side), and whether all of the text was looked at.

        Of many windows of text each category's highest score stands. Raises Overloaded, DeadlineExceeded and
        ScorerFailed.
        """
        windows, whole = ([()], True) if self._words is None else self._words.windows(text)
        runs = [Run(pixels, ids) for pixels in pictures for ids in windows]
        logits = await self._batcher.submit(runs, [run.key for run in runs])
        scored = [self.calibrate(row) for row in logits]
        return [
            {name: max(scores[name] for scores in group) for name in self.artifact.columns}
            for group in _groups(scored, len(windows))
        ], whole

    def run(self, run: Run) -> Floats:
        """Raw logits (C,), computed on the calling thread."""
        self._step_back()
        begun = time.perf_counter()
        feeds: dict[str, Any] = {self._picture: self.pixels(run.pixels)}
        if self.reads_text:
            feeds["ids"] = np.array([run.ids], dtype=np.int64)
        try:
            logits: Floats = np.asarray(self._session.run([self._output], feeds)[0], dtype=np.float32).reshape(-1)
        except Exception as error:  # onnxruntime raises classes of its own that share no public base
            raise ScorerFailed("The image classifier could not be run.") from error
        if not np.isfinite(logits).all():  # not a number compares as no harm
            raise ScorerFailed("The image classifier gave something that is not a number.")
        self._seconds.observe(time.perf_counter() - begun)
        return logits

    def pixels(self, square: bytes) -> Floats:
        """What the graph is fed, of RGB bytes of a square: squeezed to the model's side, normalised."""
        side = math.isqrt(len(square) // 3)
        if side == 0 or len(square) != 3 * side * side:
            raise ScorerFailed("A picture is not a square of RGB bytes.")
        image = np.frombuffer(square, dtype=np.uint8).reshape(side, side, 3).astype(np.float32)
        if side != self.artifact.side:
            image = resized(image, self.artifact.side)
        normal = (image / np.float32(255.0) - self._mean) / self._std
        return np.ascontiguousarray(normal.transpose(2, 0, 1) if self.artifact.channels_first else normal)[None]

    def calibrate(self, logits: Floats) -> Scores:
        """Probabilities by category from raw logits (C,)."""
        raw = logits.astype(np.float64)
        found: dict[str, float] = {}
        for name, columns in self.artifact.columns.items():
            inside = raw[list(columns)]
            if self.artifact.exclusive:
                odds = np.logaddexp.reduce(inside) - np.logaddexp.reduce(np.delete(raw, list(columns)))
            else:
                odds = inside.max()
            head = self.artifact.calibration[name]
            found[name] = 1.0 / (1.0 + math.exp(-max(-700.0, min(700.0, head.slope * float(odds) + head.intercept))))
        return found

    def _step_back(self) -> None:
        """Lower this thread's priority, once. Elsewhere than on Linux it would be the whole process's."""
        if sys.platform == "linux" and not hasattr(self._here, "stepped_back"):
            if threading.current_thread() is not threading.main_thread():
                os.setpriority(os.PRIO_PROCESS, 0, _NICE)
            self._here.stepped_back = True

    async def close(self) -> None:
        """Drain and end the worker, and let the model go."""
        await self._batcher.close()
        del self._session


def resized(image: Floats, side: int) -> Floats:
    """A square (S, S, 3) in another size, by a triangle as wide as a pixel of the smaller one (Pillow's BILINEAR)."""
    before = image.shape[0]
    reach = max(1.0, before / side)
    centres = (np.arange(side) + 0.5) * before / side - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(before)[None, :] - centres[:, None]) / reach)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    turned: Floats = np.einsum("ij,jkc,lk->ilc", weights, image, weights, optimize=True)
    return turned


def _one_at_a_time(run: Run) -> int:
    """A run fills a worker's group: the first of several answers would wait for the last."""
    return GROUP_TOKENS


def _groups(scored: Sequence[Scores], size: int) -> Iterator[tuple[Scores, ...]]:
    """The scores of each picture."""
    return zip(*[iter(scored)] * size, strict=True)


def _open_session(artifact: ImageArtifact) -> ort.InferenceSession:
    try:
        return new_session(artifact.weights.read_bytes(), threads=1)
    except Exception as error:  # as in `run`
        raise ArtifactInvalid(f"{artifact.name}: onnxruntime cannot load model.onnx") from error


def _names(artifact: ImageArtifact, session: ort.InferenceSession) -> tuple[str, str]:
    """The graph's names of the picture and of the logits; ArtifactInvalid where it is not as the manifest says."""
    inputs = {given.name: given for given in session.get_inputs()}
    words = inputs.pop("ids", None)
    if (words is not None) != (artifact.text is not None):
        raise ArtifactInvalid(f"{artifact.name}: manifest and model.onnx differ on whether text is read")
    if len(inputs) != 1:
        raise ArtifactInvalid(f"{artifact.name}: model.onnx does not take one picture")
    outputs = sorted(session.get_outputs(), key=lambda output: output.name != "logits")
    telling = [output.name for output in outputs if output.shape[-1:] == [len(artifact.labels)]]
    if not telling:
        raise ArtifactInvalid(f"{artifact.name}: model.onnx does not give a logit for each of its labels")
    return next(iter(inputs)), telling[0]
