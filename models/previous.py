"""The weights of an artefact read back, so that a training run can go on from what is shipped.

Owns the way from the int8 graph of `models/export.py` to tensors. Refuses to know training.
What 7 bits lost is well within what a few hundred steps move; the checkpoint that made an artefact need not be kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from models.encoder import LAYERS, Classifier


def load_previous(network: Classifier, graph: Path) -> None:
    """Fill `network` with the weights of the artefact's graph; positions beyond its window stay as they are.

    Raises KeyError, naming the tensor, where the graph is not one that `models/export.py` made.
    """
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(graph)).graph.initializer}
    state = network.state_dict()
    state["encoder.words.weight"] = torch.from_numpy(
        tensors["words"].astype(np.float32) * tensors["word_scales"].astype(np.float32)
    )
    positions = torch.from_numpy(tensors["positions"].copy())
    state["encoder.positions.weight"] = torch.cat([positions, state["encoder.positions.weight"][len(positions) :]])
    state["encoder.segments.weight"] = torch.from_numpy(tensors["segment_table"].copy())
    _fill_norm(state, "encoder.norm", tensors, "embedded_norm")
    for n in range(LAYERS):
        for part in ("qkv", "out", "up", "down"):
            _fill_linear(state, f"encoder.blocks.{n}.{part}", tensors, f"block{n}.{part}")
        _fill_norm(state, f"encoder.blocks.{n}.norm_attention", tensors, f"block{n}.norm1")
        _fill_norm(state, f"encoder.blocks.{n}.norm_output", tensors, f"block{n}.norm2")
    for part in ("mix", "head", "embed"):
        _fill_linear(state, part, tensors, part)
    network.load_state_dict(state)


def _fill_linear(state: dict[str, torch.Tensor], name: str, tensors: dict[str, NDArray[np.generic]], ours: str) -> None:
    """A weight stored transposed, in int8 with a scale per output channel where it was quantised."""
    if f"{ours}.weight" in tensors:
        weight = tensors[f"{ours}.weight"].astype(np.float32)
    else:
        scale = tensors[f"{ours}.weight_scale"].astype(np.float32)
        weight = tensors[f"{ours}.weight_quantized"].astype(np.float32) * scale
    if f"{ours}.calm" in tensors:  # models/smoothing.py: what the input is divided by stands in the weight
        weight = weight * tensors[f"{ours}.calm"].astype(np.float32)[:, None]
    state[f"{name}.weight"] = torch.from_numpy(np.ascontiguousarray(weight.T))
    state[f"{name}.bias"] = torch.from_numpy(tensors[f"{ours}.bias"].astype(np.float32))


def _fill_norm(state: dict[str, torch.Tensor], name: str, tensors: dict[str, NDArray[np.generic]], ours: str) -> None:
    state[f"{name}.weight"] = torch.from_numpy(tensors[f"{ours}.scale"].copy())
    state[f"{name}.bias"] = torch.from_numpy(tensors[f"{ours}.shift"].copy())
