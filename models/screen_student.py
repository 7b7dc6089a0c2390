"""The screen's network and its lessons: token ids in, a logit per served category and one of doubt out.

Owns the student's shape and how it is taught. Refuses to know where lessons come from and which bounds are chosen.
Shapes: B texts, T tokens, C served categories, D = 32 numbers a token, W = 64 windows of three tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.encoder import VOCABULARY, Classifier

D, W, HIDDEN = 32, 64, 64
PADDING = VOCABULARY
BATCH = 256
TAUGHT_TOKENS = 96  # of a lesson; longer ones teach little more
RATE = 4e-3
Ids = NDArray[np.int32]


class Student(nn.Module):
    """Windows of three tokens, their maximum and mean, and the mean of the tokens. (B, T) -> (B, C + 1)."""

    def __init__(self, categories: int, table: Tensor) -> None:
        """`table` (VOCABULARY, D) is what the tokens begin with."""
        super().__init__()
        self.words = nn.Embedding(VOCABULARY + 1, D, padding_idx=PADDING)
        self.windows = nn.Linear(3 * D, W)
        self.mix = nn.Linear(2 * W + D, HIDDEN)
        self.head = nn.Linear(HIDDEN, categories + 1)
        with torch.no_grad():
            self.words.weight[:PADDING] = table
            self.words.weight[PADDING] = 0.0
            self.head.bias.fill_(-5.0)  # most texts are clean of most categories
            self.head.bias[-1] = 0.0

    def forward(self, ids: Tensor) -> Tensor:
        """Calibrated logits for a post, then doubt's."""
        known = (ids != PADDING)[..., None]
        count = known.sum(1).clamp(min=1)
        x = self.words(ids)
        padded = F.pad(F.dropout(x, 0.1, self.training), (0, 0, 1, 1))
        seen = F.gelu(self.windows(torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], 2))) * known
        pooled = [seen.masked_fill(~known, -1e4).amax(1), seen.sum(1) / count, x.sum(1) / count]
        y: Tensor = self.head(F.gelu(self.mix(F.dropout(torch.cat(pooled, 1), 0.1, self.training))))
        return y


def word_table(teacher: Classifier) -> Tensor:
    """(VOCABULARY, D): what the teacher makes of each token alone, its two views of it cut to their main axes."""
    mixed, states = [], []
    with torch.no_grad():
        for tokens in torch.arange(VOCABULARY).split(512):
            ids = torch.stack([torch.full_like(tokens, 101), tokens, torch.full_like(tokens, 102)], 1)
            state = teacher.encoder(ids, torch.ones(ids.shape), torch.zeros_like(ids)).float()
            pooled = torch.cat([state[:, 0], state.mean(1), state.amax(1)], 1)
            mixed.append(F.gelu(teacher.mix(pooled)))
            states.append(state[:, 1])
    return torch.cat([_main_axes(torch.cat(part), D // 2) for part in (mixed, states)], 1)


def _main_axes(x: Tensor, axes: int) -> Tensor:
    x = x - x.mean(0)
    _, vectors = torch.linalg.eigh(x.T @ x)
    y = x @ vectors.flip(1)[:, :axes]
    return (y / y.std() * 0.15).clamp(-0.6, 0.6)


def teach(
    student: Student,
    ids: Sequence[Ids],
    targets: NDArray[np.float32],
    doubt: NDArray[np.float32],
    passes: int,
    seed: int,
) -> None:
    """Fit logits (N, C), NaN where the teacher was not asked, and doubt (N,), 0..1."""
    rng = np.random.default_rng(seed)
    lengths = np.array([min(len(x), TAUGHT_TOKENS) for x in ids])
    wanted, doubts = torch.from_numpy(targets), torch.from_numpy(doubt)
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=1e-3)
    steps = passes * (-(-len(ids) // BATCH))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 60) * max(0.02, 1 - step / steps)
    )
    student.train()
    for turn in range(passes):
        order = np.argsort(lengths + rng.uniform(0, 4, len(ids)))
        batches = [order[n : n + BATCH] for n in range(0, len(order), BATCH)]
        for n in rng.permutation(len(batches)):
            batch = batches[n]
            y = student(_padded([ids[i][:TAUGHT_TOKENS] for i in batch]))
            loss = F.binary_cross_entropy_with_logits(y[:, -1], doubts[batch])
            asked = ~wanted[batch].isnan().any(1)
            if bool(asked.any()):
                loss = loss + 0.5 * F.smooth_l1_loss(y[asked, :-1], wanted[batch][asked])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"screen: pass {turn + 1} of {passes}, loss {loss.item():.3f}", flush=True)


def answers(student: Student, ids: Sequence[Ids]) -> NDArray[np.float32]:
    """The student's logits and doubt (N, C + 1), in the order of the texts."""
    student.eval()
    found: NDArray[np.float32] | None = None
    order = np.argsort([len(x) for x in ids])
    with torch.no_grad():
        for begin in range(0, len(order), BATCH):
            batch = order[begin : begin + BATCH]
            y = student(_padded([ids[i] for i in batch])).numpy()
            if found is None:
                found = np.zeros((len(ids), y.shape[1]), dtype=np.float32)
            found[batch] = y
    if found is None:
        raise ValueError("there is no text to answer")
    return found


def _padded(texts: Sequence[Ids]) -> Tensor:
    ids = np.full((len(texts), max(map(len, texts))), PADDING, dtype=np.int64)
    for n, text in enumerate(texts):
        ids[n, : len(text)] = text
    return torch.from_numpy(ids)
