"""Outlying units of a layer's input made small, and its weights large instead: SmoothQuant (Xiao et al., 2022).

Owns the factors. Refuses to know graphs. One scale is taken over all of a layer's int8 input, so a unit ten times as
large as the others leaves them a tenth of the steps. After layer normalisation there are such units; what follows the
other layers has none to speak of, and factors there were measured to do harm.
Shapes: K units of a layer's input, M of its output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.batches import collate, encode, load_tokenizer
from models.data import Row
from models.encoder import Classifier

PARTS = ("qkv", "up")
STRENGTH = 0.7  # of the activations' range that goes over to the weights
LEAST = 1e-5

Factors = dict[str, NDArray[np.float32]]


@torch.no_grad()
def fit_factors(network: Classifier, rows: Sequence[Row], max_tokens: int) -> Factors:
    """By layer name (`block0.qkv`), what each of the K input units is divided by; the rows show how large they get."""
    largest: dict[str, torch.Tensor] = {}

    def watch(name: str) -> Callable[[torch.nn.Module, tuple[torch.Tensor, ...]], None]:
        def note(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            seen = inputs[0].abs().flatten(0, 1).amax(0)
            largest[name] = torch.maximum(largest[name], seen) if name in largest else seen

        return note

    layers = {
        f"block{n}.{part}": getattr(block, part) for n, block in enumerate(network.encoder.blocks) for part in PARTS
    }
    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    for example in encode(rows, load_tokenizer(), max_tokens, None):
        batch = collate([example])
        network(batch.ids, batch.mask, batch.segments)
    for hook in hooks:
        hook.remove()
    return {name: _factors(largest[name].numpy(), layer.weight.detach().numpy()) for name, layer in layers.items()}


def _factors(largest: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of (K,) maxima and an (M, K) weight; their geometric mean is 1."""
    factors = np.maximum(largest, LEAST) ** STRENGTH / np.maximum(np.abs(weight).max(0), LEAST) ** (1.0 - STRENGTH)
    return np.asarray(factors / np.exp(np.log(factors).mean()), dtype=np.float32)
