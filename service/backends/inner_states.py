"""The encoder's inner states: how they are got out of the graph, pooled per sentence, and kept for a moment.

Owns which layers are read. Refuses to know what for.

The classifier's last layers have forgotten what does not bear on harm: on principles that it was not trained for, the
mean of the second to fourth block told violation from near-miss with an AUROC of 0.92, the `embedding` output 0.77.
That they can be read changes no score and no cost of one. A run gives them beside the logits, at the cost of pooling;
to ask for them afterwards is another run, so whoever scores a text that will be read says so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from service.backends.cache import Ids, Logits
from service.constitution.reading import Vectors

STATES = ("block1.norm2", "block2.norm2", "block3.norm2")  # outputs of blocks, as models/export.py names them
LEAST_TOKENS = 4  # fewer are no sentence of their own: "No. 5", "e.g."
RECENT_BYTES = 16 << 20  # of states that are kept: of a text of 100,000 characters they are half of it

_MODEL_GRAPH, _GRAPH_OUTPUT, _VALUE_NAME = 7, 12, 1  # field numbers of onnx.proto


@dataclass(frozen=True, slots=True)
class Unread:
    """Token ids, of a text without context, whose inner states are wanted beside its logits."""

    ids: Ids


@dataclass(frozen=True, slots=True)
class Seen:
    """What one run gave: logits (C,), and where they were wanted the inner states (S, L, H) of the sentences."""

    logits: Logits
    vectors: Vectors = field(default_factory=lambda: np.zeros((0, 1, 1), dtype=np.float32))

    @property
    def nbytes(self) -> int:
        """The room that both take."""
        return self.logits.nbytes + self.vectors.nbytes


def with_outputs(model: bytes, names: Sequence[str]) -> bytes:
    """The serialised ONNX model with more of its tensors as outputs; as it was where it has none of these names.

    Two messages written one after the other are read as one whose lists are joined (protobuf's encoding, "Last One
    Wins"), so the outputs are appended without parsing the rest.
    """
    if not all(name.encode() in model for name in names):
        return model
    outputs = b"".join(_field(_GRAPH_OUTPUT, _field(_VALUE_NAME, name.encode())) for name in names)
    return model + _field(_MODEL_GRAPH, outputs)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field; all of ours are shorter than 128 bytes each, their sum than 16 kilobytes."""
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return bytes([number << 3 | 2]) + length + content


def cut_sentences(ids: Sequence[int], ends: Collection[int]) -> list[tuple[int, int]]:
    """Ranges of tokens that end with a full stop, a question or an exclamation mark and together cover the ids."""
    ranges: list[tuple[int, int]] = []
    begin = 0
    for n, token in enumerate(ids):
        last_mark = token in ends and (n + 1 == len(ids) or ids[n + 1] not in ends)
        if last_mark and n + 1 - begin >= LEAST_TOKENS:
            ranges.append((begin, n + 1))
            begin = n + 1
    if begin < len(ids):
        if ranges and len(ids) - begin < LEAST_TOKENS:
            ranges[-1] = (ranges[-1][0], len(ids))
        else:
            ranges.append((begin, len(ids)))
    return ranges


def pool(states: Sequence[Vectors], ranges: Sequence[tuple[int, int]]) -> Vectors:
    """Mean over each range of tokens: states of (T, H), [CLS] first, to (S, L, H).

    A state of (H,) was pooled by the graph: it stands for every sentence.
    """
    if not ranges:
        return np.zeros((0, len(states), states[0].shape[-1]), dtype=np.float32)
    if states[0].ndim == 1:
        return np.repeat(np.stack(states)[None], len(ranges), axis=0).astype(np.float32)
    first, last = 1 + ranges[0][0], 1 + ranges[-1][1]
    tokens = np.stack([state[first:last] for state in states], axis=1)
    sums = np.add.reduceat(tokens, [begin - ranges[0][0] for begin, _ in ranges], axis=0)
    counts = np.array([end - begin for begin, end in ranges], dtype=np.float32)
    return np.asarray(sums / counts[:, None, None], dtype=np.float32)
