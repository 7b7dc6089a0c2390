"""Rows as tensors, and the network's shapes. Skipped where torch is not installed."""

from __future__ import annotations

import random

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from models.batches import INDEX, LENGTH_STEP, Example, batches, collate, encode, padded_length
from models.data import LABELS, Row
from models.encoder import HEADS, HIDDEN, Block, mean_pool
from models.losses import masked_bce, some_category
from tests.tiny_artifact import make_tokenizer

TEA = "the cat sat on the mat and the tea is fine "


def example(length: int) -> Example:
    zeros = np.zeros(len(LABELS), dtype=np.float32)
    return Example(list(range(1, length + 1)), length, zeros, zeros, 1.0)


def row(text: str, context: str = "", **labels: float) -> Row:
    return Row(text, context, "post", labels, "x")


def test_an_example_is_what_the_service_makes_of_the_same_text() -> None:
    short, pair, long = encode([row("tea"), row("tea", "the cat"), row(TEA * 9)], make_tokenizer(), 32, None)
    assert (len(short.ids), short.text_length, short.ids[0], short.ids[-1]) == (3, 3, 101, 102)
    assert (len(pair.ids), pair.text_length) == (6, 3)
    assert len(long.ids) == 32


def test_labels_that_are_absent_are_not_known() -> None:
    (made,) = encode([row("tea", hate=1.0, violence=0.0)], make_tokenizer(), 32, None)
    assert {LABELS[n] for n in np.flatnonzero(made.known)} == {"hate", "violence"}
    assert made.targets[INDEX["hate"]] == 1.0 and made.targets.sum() == 1.0


def test_every_example_is_in_one_batch_with_its_like() -> None:
    examples = [example(random.Random(n).randint(1, 60)) for n in range(300)]
    formed = batches(examples, batch_tokens=512, rng=random.Random(1))
    assert sorted(n for members in formed for n in members) == list(range(300))
    for members in formed:
        lengths = [padded_length(examples[n]) for n in members]
        assert max(lengths) * len(members) <= max(512, 8 * max(lengths))


def test_padding_is_masked() -> None:
    batch = collate([example(3), example(10)])
    assert batch.ids.shape == (2, 2 * LENGTH_STEP)
    assert batch.mask.sum(1).tolist() == [3.0, 10.0] and (batch.ids[0, 3:] == 0).all()


def test_padding_does_not_change_a_layer_nor_the_mean() -> None:
    torch.manual_seed(0)
    block = Block(dropout=0.1).eval()
    x = torch.randn(1, 5, HIDDEN)
    padded = torch.cat([x, torch.randn(1, 3, HIDDEN)], dim=1)
    mask = torch.tensor([[1.0] * 5 + [0.0] * 3])
    bias = (1.0 - mask[:, None, None, :]) * torch.finfo(torch.bfloat16).min
    with torch.no_grad():
        alone, masked = block(x, None), block(padded, bias)
    assert HIDDEN % HEADS == 0
    assert torch.allclose(alone, masked[:, :5], atol=1e-5)
    assert torch.allclose(alone.mean(1), mean_pool(masked, mask), atol=1e-5)


def test_unknown_labels_do_not_teach() -> None:
    logits = torch.tensor([[5.0, -5.0]], requires_grad=True)
    targets, known, weights = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]]), torch.ones(1)
    masked_bce(logits, targets, known, weights).backward()
    assert logits.grad is not None and logits.grad[0, 0] > 0 and logits.grad[0, 1] == 0


def test_some_category_asks_for_one_of_the_open_ones() -> None:
    def loss(*logits: float) -> float:
        open_ = torch.tensor([[1.0, 1.0, 0.0]])
        return float(some_category(torch.tensor([logits]), open_, torch.ones(1), torch.ones(1)))

    assert loss(5.0, -5.0, -5.0) < 0.1 < loss(-5.0, -5.0, 5.0)
