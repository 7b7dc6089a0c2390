"""From rows to tensors: augmentation, windows, pairs, and batches of texts of like length.

Owns what a text looks like to the network. Refuses to know sources and losses.
A single text is [CLS] text [SEP]; with the turn before it [CLS] text [SEP] context [SEP], segments 0 and 1.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from models.data import LABELS, Row
from models.encoder import pretrained_folder
from models.obfuscation import obfuscate
from service.backends.unknown_words import Words
from service.taxonomy import OPENAI_CATEGORIES

UNK, CLS, SEP = 100, 101, 102
LENGTH_STEP = 8
CONTEXT_TOKENS = 64  # the end of the turn before, at most
INDEX = {name: n for n, name in enumerate(LABELS)}
PARENTS = [name for name in OPENAI_CATEGORIES if "/" not in name] + ["illicit/violent"]


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids with the labels of one row; `targets` and `known` are (C,)."""

    ids: list[int]
    text_length: int  # tokens of the first segment, [CLS] and [SEP] included
    targets: np.ndarray[Any, np.dtype[np.float32]]
    known: np.ndarray[Any, np.dtype[np.float32]]
    weight: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded tensors: ids, mask, segments (B, T); targets, known, open (B, C); weights, share (B,)."""

    ids: Tensor
    mask: Tensor
    segments: Tensor
    targets: Tensor
    known: Tensor
    weights: Tensor
    open: Tensor
    share: Tensor


def load_tokenizer() -> Tokenizer:
    """The published tokenizer, without truncation or padding."""
    tokenizer = Tokenizer.from_file(str(pretrained_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def augment(rows: Sequence[Row], shares: dict[str, Any], rng: random.Random) -> list[Row]:
    """Obfuscate, concatenate and give stray contexts to a share of the rows, whatever their labels."""
    innocent = [row.text for row in rows if row.harmful is False and 20 < len(row.text) < 400]
    names = shares["obfuscations"]
    changed: list[Row] = []
    for row in rows:
        context = row.context
        if context and not row.needs_context and rng.random() > shares["with_context"]:
            context = ""
        elif not context and innocent and rng.random() < shares["stray_context"]:
            context = rng.choice(innocent)
        text, weight = row.text, row.weight
        draw = rng.random()
        if draw < shares["obfuscate"]:
            text = obfuscate(text[:600], rng.choice(names), rng)
        elif draw < shares["obfuscate"] + shares["concatenate"] and innocent and len(text) < 500:
            other = rng.choice(innocent)
            text = f"{text}\n{other}" if rng.random() < 0.5 else f"{other} {text}"
            weight *= 0.7
        changed.append(replace(row, text=text, context=context, weight=weight))
    return changed


def encode(rows: Sequence[Row], tokenizer: Tokenizer, max_tokens: int, rng: random.Random | None) -> list[Example]:
    """Examples of at most `max_tokens`; of a longer text one window: its beginning, or with `rng` at times another."""
    texts = _read([row.text for row in rows], tokenizer)
    contexts = _read([row.context for row in rows], tokenizer)
    examples = []
    for row, text, context in zip(rows, texts, contexts, strict=True):
        ids, tail = known_ids(text), known_ids(context)[-CONTEXT_TOKENS:]
        room = max_tokens - 2 - (len(tail) + 1 if tail else 0)
        if len(ids) > room:
            start = _window_start(len(ids) - room, row, rng)
            ids = ids[start : start + room]
        targets = np.zeros(len(LABELS), dtype=np.float32)
        known = np.zeros(len(LABELS), dtype=np.float32)
        for name, value in row.labels.items():
            targets[INDEX[name]], known[INDEX[name]] = value, 1.0
        whole = [CLS, *ids, SEP, *tail, SEP] if tail else [CLS, *ids, SEP]
        examples.append(Example(whole, len(ids) + 2, targets, known, row.weight))
    return examples


def known_ids(ids: list[int]) -> list[int]:
    """The ids without the unknown token. It stands for any emoji and foreign sign, and taught only who uses them."""
    return [token for token in ids if token != UNK]


def _read(texts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """Token ids of each text as the service reads it, unknown ones among them."""
    words = Words(tokenizer)
    plain = [words.readable(text) for text in texts]
    found: list[list[int]] = []
    for text, encoding in zip(plain, tokenizer.encode_batch_fast(plain, add_special_tokens=False), strict=True):
        ids = encoding.ids
        if UNK in ids:
            apart = words.apart(text, tokenizer.encode(text, add_special_tokens=False))  # the fast one has no offsets
            ids = tokenizer.encode(apart, add_special_tokens=False).ids if apart != text else ids
        found.append(ids)
    return found


def _window_start(last: int, row: Row, rng: random.Random | None) -> int:
    if rng is None:
        return 0
    draw = rng.random()
    if row.harmful is False:
        return 0 if draw < 0.4 else last if draw < 0.6 else rng.randint(0, last)
    return 0 if draw < 0.75 else last


def batches(examples: Sequence[Example], batch_tokens: int, rng: random.Random | None) -> list[list[int]]:
    """Lists of indices of like length, of one size per length, so that few shapes occur; shuffled with `rng`.

    Lengths are rounded up to LENGTH_STEP. oneDNN compiles a kernel for every new shape, which costs more than the
    padding.
    """
    order = list(range(len(examples)))
    if rng is not None:
        rng.shuffle(order)
    by_length: dict[int, list[int]] = {}
    for n in order:
        by_length.setdefault(padded_length(examples[n]), []).append(n)
    formed: list[list[int]] = []
    left: list[int] = []
    for length in sorted(by_length):
        members = left + by_length[length]
        size = max(8, batch_tokens // length // 8 * 8)
        whole = len(members) // size * size
        formed.extend(members[n : n + size] for n in range(0, whole, size))
        left = members[whole:]
    if left:
        formed.append(left)
    if rng is not None:
        rng.shuffle(formed)
    return formed


def padded_length(example: Example) -> int:
    """Its number of tokens rounded up to LENGTH_STEP."""
    return -(-len(example.ids) // LENGTH_STEP) * LENGTH_STEP


def collate(examples: Sequence[Example]) -> Batch:
    """Pad a list of examples into tensors."""
    length = max(padded_length(e) for e in examples)
    ids = torch.zeros(len(examples), length, dtype=torch.long)
    mask = torch.zeros(len(examples), length)
    segments = torch.zeros(len(examples), length, dtype=torch.long)
    for n, e in enumerate(examples):
        ids[n, : len(e.ids)] = torch.tensor(e.ids)
        mask[n, : len(e.ids)] = 1.0
        segments[n, e.text_length : len(e.ids)] = 1
    targets = torch.from_numpy(np.stack([e.targets for e in examples]))
    known = torch.from_numpy(np.stack([e.known for e in examples]))
    served = torch.tensor([INDEX[name] for name in OPENAI_CATEGORIES])
    parents = torch.tensor([INDEX[name] for name in PARENTS])
    open_ = torch.zeros_like(known)
    open_[:, parents] = 1.0 - known[:, parents]
    settled = ((targets * known)[:, served] >= 0.5).any(1) | (open_.sum(1) == 0)
    unsafe = (targets * known)[:, INDEX["unsafe"]]
    share = torch.where(settled | (unsafe < 0.5), torch.zeros_like(unsafe), unsafe)
    weights = torch.tensor([e.weight for e in examples])
    return Batch(ids, mask, segments, targets, known, weights, open_, share)
