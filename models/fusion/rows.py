"""Pictures with text and labels as tensors: of rendered cards, or of a folder of somebody's own.

Owns rows, the tokenizer and batches. Refuses to know networks. A folder has a `labels.jsonl`, a line per picture:
{"file": its path in the folder, "text": what stands beside or in it, "harms": [categories], "split": "train", "dev" or
"test"}. A picture is squeezed into a square just as the service does it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from models.fusion.cards import Split, draw, make_cards
from service.taxonomy import CATEGORIES

MEAN = STD = (0.5, 0.5, 0.5)
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PAD, UNKNOWN, FIRST, LAST = range(4)  # their ids


@dataclass(frozen=True, slots=True)
class Row:
    """A picture as RGB (S, S, 3), its text, and the categories that it belongs to. `topic`: the one it might, or ""."""

    pixels: NDArray[np.uint8]
    text: str
    harms: tuple[str, ...]
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pixels (B, 3, S, S) normalised, ids and mask (B, T), targets (B, C)."""

    pixels: Tensor
    ids: Tensor
    mask: Tensor
    targets: Tensor


def squeezed(picture: Image.Image, side: int) -> NDArray[np.uint8]:
    """The whole picture as a square."""
    return np.asarray(picture.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))


def card_rows(split: Split, count: int, side: int, seed: int = 0) -> list[Row]:
    """Rows of rendered cards."""
    cards = make_cards(split, count, seed)
    return [Row(squeezed(draw(c), side), c.saying, (c.harm,) if c.harm else (), c.topic) for c in cards]


def folder_rows(folder: Path, split: Split, side: int) -> list[Row]:
    """Rows of one split of a labelled folder; ValueError names the line that is wrong."""
    rows = []
    lines = (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            given = json.loads(line)
            harms = tuple(str(harm) for harm in given["harms"])
            if given["split"] != split:
                continue
            with Image.open(folder / given["file"]) as picture:
                rows.append(Row(squeezed(picture, side), str(given["text"]), harms))
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise ValueError(f"labels.jsonl, line {number}: {type(error).__name__}") from error
        if unknown := sorted(set(harms) - set(CATEGORIES)):
            raise ValueError(f"labels.jsonl, line {number}: {unknown[0]!r} is not in the taxonomy")
    return rows


def make_tokenizer(texts: Sequence[str], words: int) -> Tokenizer:
    """A WordPiece tokenizer over these texts, at most so many words and pieces, after BERT's normalisation."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=MARKS[UNKNOWN]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=words, special_tokens=list(MARKS), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def tokens_of(tokenizer: Tokenizer, text: str, most: int) -> list[int]:
    """[CLS], the tokens that are known, [SEP]; of a text that is too long the beginning, as in one window."""
    known = [token for token in tokenizer.encode(text, add_special_tokens=False).ids if token != UNKNOWN]
    return [FIRST, *known[: most - 2], LAST]


def collate(rows: Sequence[Row], tokenizer: Tokenizer, labels: Sequence[str], most_tokens: int) -> Batch:
    """Rows as tensors, padded to the longest of them."""
    tokens = [tokens_of(tokenizer, row.text, most_tokens) for row in rows]
    longest = max(map(len, tokens))
    ids = torch.tensor([[*one, *[PAD] * (longest - len(one))] for one in tokens])
    pixels = torch.from_numpy(np.stack([row.pixels for row in rows])).permute(0, 3, 1, 2).float() / 255.0
    mean, std = (torch.tensor(three)[:, None, None] for three in (MEAN, STD))
    targets = torch.tensor([[float(label in row.harms) for label in labels] for row in rows])
    return Batch((pixels - mean) / std, ids, (ids != PAD).float(), targets)
