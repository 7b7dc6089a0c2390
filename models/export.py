"""From a checkpoint to what the service loads: an ONNX graph, int8 weights, and the gate that compares the two.

Owns graph and quantisation. Refuses to know how scores are calibrated.

The graph takes `ids` and `segments` of (B, T), one length per batch and no padding, and gives `logits` (B, C) and
`embedding` (B, H). Weights are int8 per channel with a reduced range of 7 bits, which cannot saturate on AVX2 machines
without VNNI; activations are quantised as they come.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from models.encoder import HEADS, HIDDEN, LAYER_NORM_EPS, LAYERS, Block, Classifier

OPSET = 20
WIDTH = HIDDEN // HEADS
NO_FACTORS: Mapping[str, NDArray[np.float32]] = MappingProxyType({})


class Graph:
    """Collects nodes and weights under readable names."""

    def __init__(self, factors: Mapping[str, NDArray[np.float32]]) -> None:
        self._factors = factors
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, value: NDArray[np.generic]) -> str:
        """Add a constant."""
        self.weights.append(numpy_helper.from_array(value.copy(order="C"), name))
        return name

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node with one output."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def linear(self, x: str, name: str, layer: torch.nn.Linear) -> str:
        """x @ W^T + b, the weight stored transposed so that its columns are output channels.

        Where the layer has factors, x is divided by them and the weight's rows multiplied: the same product.
        """
        transposed = layer.weight.detach().numpy().T
        if name in self._factors:
            factors = self._factors[name]
            transposed = transposed * factors[:, None]
            x = self.add("Mul", [x, self.weight(f"{name}.calm", 1.0 / factors)], f"{name}.calmed")
        weight = self.weight(f"{name}.weight", transposed)
        bias = self.weight(f"{name}.bias", layer.bias.detach().numpy())
        return self.add("Add", [self.add("MatMul", [x, weight], f"{name}.product"), bias], name)

    def norm(self, x: str, name: str, layer: torch.nn.LayerNorm) -> str:
        """Layer normalisation over the last axis."""
        scale = self.weight(f"{name}.scale", layer.weight.detach().numpy())
        shift = self.weight(f"{name}.shift", layer.bias.detach().numpy())
        return self.add("LayerNormalization", [x, scale, shift], name, axis=-1, epsilon=LAYER_NORM_EPS)


def build_graph(
    network: Classifier, heads: int, *, int8: bool, factors: Mapping[str, NDArray[np.float32]] = NO_FACTORS
) -> onnx.ModelProto:
    """The network as an ONNX model; with `int8` the word table is stored in 8 bits, a scale per word.

    `factors` (`models/smoothing.py`) ready its layers for `quantize`.
    """
    g, encoder = Graph(factors), network.encoder
    split = g.weight("split", np.array([0, 0, 3, HEADS, WIDTH], dtype=np.int64))
    joined = g.weight("joined", np.array([0, 0, HIDDEN], dtype=np.int64))
    words = _words(g, encoder.words.weight.detach().numpy(), int8)
    segments = g.add(
        "Gather", [g.weight("segment_table", encoder.segments.weight.detach().numpy()), "segments"], "segment"
    )
    zero, one = g.weight("zero", np.array([0], dtype=np.int64)), g.weight("one", np.array([1], dtype=np.int64))
    length = g.add(
        "Slice", [g.add("Shape", ["ids"], "shape"), one, g.weight("two", np.array([2], dtype=np.int64))], "length"
    )
    table = g.weight("positions", encoder.positions.weight.detach().numpy())
    positions = g.add("Slice", [table, zero, length, zero], "position")
    x = g.add("Add", [g.add("Add", [words, segments], "word_segment"), positions], "embedded")
    x = g.norm(x, "embedded_norm", encoder.norm)
    scale = g.weight("scale", np.array(WIDTH**-0.5, dtype=np.float32))
    for n in range(LAYERS):
        x = _block(g, x, f"block{n}", network, n, split, joined, scale)
    first = g.add("Gather", [x, g.weight("first_token", np.array(0, dtype=np.int64))], "first", axis=1)
    axis = g.weight("token_axis", np.array([1], dtype=np.int64))
    mean = g.add("ReduceMean", [x, axis], "mean", keepdims=0)
    top = g.add("ReduceMax", [x, axis], "top", keepdims=0)
    mixed = g.linear(g.add("Concat", [first, mean, top], "pooled", axis=1), "mix", network.mix)
    logits = g.linear(g.add("Gelu", [mixed], "mixed"), "head", network.head)
    g.add("Identity", [logits], "logits")
    g.add("LpNormalization", [g.linear(mean, "embed", network.embed)], "embedding", axis=1, p=2)
    dims = {"ids": ["B", "T"], "segments": ["B", "T"]}
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in dims.items()]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", heads]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", HIDDEN]),
    ]
    graph = helper.make_graph(g.nodes, "weir", inputs, outputs, g.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _words(g: Graph, table: NDArray[np.float32], int8: bool) -> str:
    """Rows of the word table. One scale for all words, as the generic quantiser takes, loses the rare ones."""
    if not int8:
        return g.add("Gather", [g.weight("words", table), "ids"], "word")
    scale = np.abs(table).max(axis=1, keepdims=True).clip(1e-8) / 127.0
    rows = g.add("Gather", [g.weight("words", np.round(table / scale).astype(np.int8)), "ids"], "word_row")
    factor = g.add("Gather", [g.weight("word_scales", scale.astype(np.float32)), "ids"], "word_scale")
    return g.add("Mul", [g.add("Cast", [rows], "word_float", to=TensorProto.FLOAT), factor], "word")


def _block(g: Graph, x: str, name: str, network: Classifier, n: int, split: str, joined: str, scale: str) -> str:
    block = network.encoder.blocks[n]
    assert isinstance(block, Block)
    qkv = g.add("Reshape", [g.linear(x, f"{name}.qkv", block.qkv), split], f"{name}.split")
    turned = g.add("Transpose", [qkv], f"{name}.turned", perm=[2, 0, 3, 1, 4])  # 3, B, A, T, width
    q, k, v = (
        g.add("Gather", [turned, g.weight(f"{name}.{part}_index", np.array(i, dtype=np.int64))], f"{name}.{part}")
        for i, part in enumerate("qkv")
    )
    k = g.add("Mul", [g.add("Transpose", [k], f"{name}.kt", perm=[0, 1, 3, 2]), scale], f"{name}.scaled")
    shares = g.add("Softmax", [g.add("MatMul", [q, k], f"{name}.dots")], f"{name}.shares", axis=-1)
    attended = g.add("Transpose", [g.add("MatMul", [shares, v], f"{name}.mixture")], f"{name}.back", perm=[0, 2, 1, 3])
    attended = g.linear(g.add("Reshape", [attended, joined], f"{name}.joined"), f"{name}.out", block.out)
    x = g.norm(g.add("Add", [x, attended], f"{name}.residual1"), f"{name}.norm1", block.norm_attention)
    up = g.add("Gelu", [g.linear(x, f"{name}.up", block.up)], f"{name}.gelu")
    down = g.linear(up, f"{name}.down", block.down)
    return g.norm(g.add("Add", [x, down], f"{name}.residual2"), f"{name}.norm2", block.norm_output)


def quantize(model: onnx.ModelProto, target: Path) -> None:
    """Write the int8 model: every linear layer; the dot products of attention stay in floats."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "fp32.onnx"
        onnx.save(model, raw)
        quantize_dynamic(
            raw,
            target,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=[n.name for n in model.graph.node if n.name.endswith(".product")],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT},
        )
