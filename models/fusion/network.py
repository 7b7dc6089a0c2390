"""The network: patches of a picture, words of a text, attention between the two, and a head per category.

Owns shapes and weights. Refuses to know data, losses and ONNX. Written out, as `models/encoder.py` is, so that what is
exported is exactly what stands here.

Architecture: patches as tokens (Dosovitskiy et al. 2020), blocks with the norm first (Xiong et al. 2020), two streams
that attend to each other (Lu et al. 2019, ViLBERT). A network of one half alone is the same without the other half and
without what crosses.
Shapes: B rows, S pixels of a side, N patches, T tokens, D = `width`, A = `heads`, C categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Halves = Literal["both", "picture", "text"]
NORM_EPS = 1e-5


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a network. `side` is a multiple of `patch`; `crossings` are turns of both streams attending."""

    side: int = 48
    patch: int = 8
    width: int = 48
    heads: int = 4
    picture_blocks: int = 1
    text_blocks: int = 1
    crossings: int = 1
    max_tokens: int = 24
    words: int = 1000
    categories: int = 1

    @property
    def patches(self) -> int:
        """N."""
        return (self.side // self.patch) ** 2


class Attention(nn.Module):
    """Scaled dot products of one stream with another, or with itself. (B, Q, D), (B, K, D) -> (B, Q, D)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.ask = nn.Linear(shape.width, shape.width)
        self.tell = nn.Linear(shape.width, 2 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)

    def forward(self, asking: Tensor, telling: Tensor, bias: Tensor | None) -> Tensor:
        """`bias` (B, 1, 1, K) is very negative where there is nothing but padding to attend to."""
        batch, length, width = asking.shape
        q = self.ask(asking).view(batch, length, self.heads, -1).transpose(1, 2)
        k, v = self.tell(telling).view(batch, telling.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        dots = q @ k.transpose(-1, -2) * (width // self.heads) ** -0.5
        shares = torch.softmax(dots if bias is None else dots + bias, dim=-1)
        mixed: Tensor = self.out((shares @ v).transpose(1, 2).reshape(batch, length, width))
        return mixed


class Block(nn.Module):
    """Attention and a feed-forward layer, each beside what it is added to; of one stream, or from it to another."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(shape.width, eps=NORM_EPS)
        self.attention = Attention(shape)
        self.norm_forward = nn.LayerNorm(shape.width, eps=NORM_EPS)
        self.up = nn.Linear(shape.width, 2 * shape.width)
        self.down = nn.Linear(2 * shape.width, shape.width)

    def forward(self, x: Tensor, other: Tensor | None, bias: Tensor | None) -> Tensor:
        """`other` is what x attends to, itself where there is none; `bias` as in Attention."""
        normal = self.norm_attention(x)
        x = x + self.attention(normal, normal if other is None else other, bias)
        y: Tensor = x + self.down(F.gelu(self.up(self.norm_forward(x))))
        return y


class PatchEncoder(nn.Module):
    """A picture (B, 3, S, S) as states of its patches (B, N, D)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, shape.width, shape.patch, stride=shape.patch)
        self.places = nn.Parameter(torch.randn(shape.patches, shape.width) * 0.02)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.picture_blocks))

    def forward(self, pixels: Tensor) -> Tensor:
        """Patches row by row."""
        x: Tensor = self.cut(pixels).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            x = block(x, None, None)
        return x


class WordEncoder(nn.Module):
    """Token ids (B, T) as states (B, T, D)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.words = nn.Embedding(shape.words, shape.width)
        self.places = nn.Parameter(torch.randn(shape.max_tokens, shape.width) * 0.02)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.text_blocks))
        nn.init.normal_(self.words.weight, std=0.5)

    def forward(self, ids: Tensor, bias: Tensor | None) -> Tensor:
        """`bias` as in Attention."""
        x: Tensor = self.words(ids) + self.places[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, None, bias)
        return x


class Crossing(nn.Module):
    """One turn: the words attend to the patches and the patches to the words, both as they were before the turn."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm_words = nn.LayerNorm(shape.width, eps=NORM_EPS)
        self.norm_patches = nn.LayerNorm(shape.width, eps=NORM_EPS)
        self.words = Block(shape)
        self.patches = Block(shape)

    def forward(self, words: Tensor, patches: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """`bias` is that of the words."""
        told_words, told_patches = self.norm_words(words), self.norm_patches(patches)
        return self.words(words, told_patches, None), self.patches(patches, told_words, bias)


class Fusion(nn.Module):
    """Logits (B, C) of a picture and a text, or of one half alone.

    The heads see each stream's mean and maximum and, of words, the first token's state.
    """

    def __init__(self, shape: Shape, halves: Halves = "both") -> None:
        super().__init__()
        self.shape = shape
        self.halves = halves
        self.patches = PatchEncoder(shape) if halves != "text" else None
        self.text = WordEncoder(shape) if halves != "picture" else None
        turns = shape.crossings if halves == "both" else 0
        self.crossings = nn.ModuleList(Crossing(shape) for _ in range(turns))
        pooled = {"both": 5, "picture": 2, "text": 3}[halves]
        self.norm = nn.LayerNorm(pooled * shape.width, eps=NORM_EPS)
        self.mix = nn.Linear(pooled * shape.width, shape.width)
        self.head = nn.Linear(shape.width, shape.categories)

    def forward(self, pixels: Tensor, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask` (B, T) is 1 for tokens, 0 for padding; without it there is none. A half not looked at is ignored."""
        bias = None if mask is None else (1.0 - mask[:, None, None, :].to(pixels.dtype)) * -1e4
        patches = None if self.patches is None else self.patches(pixels)
        words = None if self.text is None else self.text(ids, bias)
        for crossing in self.crossings:
            words, patches = crossing(words, patches, bias)
        pooled: list[Tensor] = []
        if words is not None:
            weights = torch.ones_like(words[..., :1]) if mask is None else mask[..., None].to(words.dtype)
            top = words.masked_fill(weights == 0, -1e4).amax(1)
            pooled += [words[:, 0], (words * weights).sum(1) / weights.sum(1), top]
        if patches is not None:
            pooled += [patches.mean(1), patches.amax(1)]
        logits: Tensor = self.head(F.gelu(self.mix(self.norm(torch.cat(pooled, dim=1)))))
        return logits
