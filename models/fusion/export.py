"""From a trained network to a folder of the visual slot: graph, tokenizer, calibration and manifest.

Owns the graph. Refuses to know data and training. It takes `pixels` of (1, 3, S, S), and `ids` of (1, T) where text is
read, without padding, and gives `logits` (1, C); it is `Fusion.forward` once more, and a test compares the two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from tokenizers import Tokenizer
from torch import Tensor

from models.export import OPSET, Graph
from models.fusion.network import NORM_EPS, Attention, Block, Crossing, Fusion
from models.fusion.rows import MEAN, STD

OVERLAP_SHARE = 4  # neighbouring windows of a long text share one token in so many


class FusionGraph(Graph):
    """Collects the nodes of one network."""

    def __init__(self, network: Fusion) -> None:
        super().__init__({})
        shape = network.shape
        self.network = network
        self.cut_heads = self._whole("cut_heads", [0, 0, shape.heads, shape.width // shape.heads])
        self.cut_told = self._whole("cut_told", [0, 0, 2, shape.heads, shape.width // shape.heads])
        self.joined = self._whole("joined", [0, 0, shape.width])
        self.scale = self.weight("scale", np.array((shape.width // shape.heads) ** -0.5, dtype=np.float32))
        self.key, self.value = (self.weight(f"pick{n}", np.array(n, dtype=np.int64)) for n in range(2))
        self.tokens = self._whole("token_axis", [1])

    def _whole(self, name: str, numbers: list[int]) -> str:
        return self.weight(name, np.array(numbers, dtype=np.int64))

    def table(self, name: str, value: Tensor) -> str:
        """A constant of the network's own."""
        return self.weight(name, value.detach().numpy())

    def attention(self, asking: str, telling: str, name: str, layer: Attention) -> str:
        """`Attention.forward` without padding."""
        asked = self.add("Reshape", [self.linear(asking, f"{name}.ask", layer.ask), self.cut_heads], f"{name}.asked")
        q = self.add("Transpose", [asked], f"{name}.q", perm=[0, 2, 1, 3])
        told = self.add("Reshape", [self.linear(telling, f"{name}.tell", layer.tell), self.cut_told], f"{name}.told")
        turned = self.add("Transpose", [told], f"{name}.turned", perm=[2, 0, 3, 1, 4])
        k, v = (self.add("Gather", [turned, pick], f"{name}.{pick}") for pick in (self.key, self.value))
        dots = self.add("MatMul", [q, self.add("Transpose", [k], f"{name}.kt", perm=[0, 1, 3, 2])], f"{name}.dots")
        shares = self.add("Softmax", [self.add("Mul", [dots, self.scale], f"{name}.scaled")], f"{name}.shares", axis=-1)
        mixed = self.add(
            "Transpose", [self.add("MatMul", [shares, v], f"{name}.mixed")], f"{name}.back", perm=[0, 2, 1, 3]
        )
        return self.linear(self.add("Reshape", [mixed, self.joined], f"{name}.joined"), f"{name}.out", layer.out)

    def normal(self, x: str, name: str, scale: Tensor, shift: Tensor) -> str:
        """Layer normalisation, with this network's epsilon."""
        inputs = [x, self.table(f"{name}.scale", scale), self.table(f"{name}.shift", shift)]
        return self.add("LayerNormalization", inputs, name, axis=-1, epsilon=NORM_EPS)

    def block(self, x: str, other: str | None, name: str, block: Block) -> str:
        """`Block.forward`."""
        first, second = block.norm_attention, block.norm_forward
        asking = self.normal(x, f"{name}.norm1", first.weight, first.bias)
        mixed = self.attention(asking, asking if other is None else other, f"{name}.attention", block.attention)
        x = self.add("Add", [x, mixed], f"{name}.attended")
        up = self.linear(self.normal(x, f"{name}.norm2", second.weight, second.bias), f"{name}.up", block.up)
        down = self.linear(self.add("Gelu", [up], f"{name}.gelu"), f"{name}.down", block.down)
        return self.add("Add", [x, down], f"{name}.result")

    def patches(self) -> str | None:
        """`PatchEncoder.forward`; None where no picture is looked at."""
        encoder, shape = self.network.patches, self.network.shape
        if encoder is None:
            return None
        cut = encoder.cut
        assert cut.bias is not None
        weights = [self.table("cut.weight", cut.weight), self.table("cut.bias", cut.bias)]
        fields = self.add("Conv", ["pixels", *weights], "cut", strides=[shape.patch, shape.patch])
        rows = self.add("Reshape", [fields, self._whole("flat", [0, 0, -1])], "flattened")
        x = self.add("Transpose", [rows], "patch_rows", perm=[0, 2, 1])
        x = self.add("Add", [x, self.table("patch_places", encoder.places)], "placed_patches")
        for n, block in enumerate(encoder.blocks):
            assert isinstance(block, Block)
            x = self.block(x, None, f"picture{n}", block)
        return x

    def words(self) -> str | None:
        """`WordEncoder.forward`; None where no text is read."""
        encoder = self.network.text
        if encoder is None:
            return None
        looked_up = self.add("Gather", [self.table("words", encoder.words.weight), "ids"], "word")
        zero, one, two = (self._whole(f"at{n}", [n]) for n in range(3))
        length = self.add("Slice", [self.add("Shape", ["ids"], "ids_shape"), one, two], "length")
        places = self.add("Slice", [self.table("word_places", encoder.places), zero, length, zero], "word_place")
        x = self.add("Add", [looked_up, places], "placed_words")
        for n, block in enumerate(encoder.blocks):
            assert isinstance(block, Block)
            x = self.block(x, None, f"text{n}", block)
        return x

    def crossing(self, words: str, patches: str, name: str, crossing: Crossing) -> tuple[str, str]:
        """`Crossing.forward`."""
        norms = crossing.norm_words, crossing.norm_patches
        told_words = self.normal(words, f"{name}.told_words", norms[0].weight, norms[0].bias)
        told_patches = self.normal(patches, f"{name}.told_patches", norms[1].weight, norms[1].bias)
        return (
            self.block(words, told_patches, f"{name}.words", crossing.words),
            self.block(patches, told_words, f"{name}.patches", crossing.patches),
        )

    def pooled(self, words: str | None, patches: str | None) -> str:
        """What the heads see."""
        parts = []
        if words is not None:
            parts.append(self.add("Gather", [words, self.weight("first_at", np.array(0))], "first", axis=1))
        for name, stream in (("word", words), ("patch", patches)):
            if stream is not None:
                parts.append(self.add("ReduceMean", [stream, self.tokens], f"{name}_mean", keepdims=0))
                parts.append(self.add("ReduceMax", [stream, self.tokens], f"{name}_top", keepdims=0))
        return self.add("Concat", parts, "pooled", axis=1)


def build_graph(network: Fusion) -> onnx.ModelProto:
    """The network as an ONNX model. One of text alone cannot be served: ValueError."""
    g, shape = FusionGraph(network), network.shape
    words, patches = g.words(), g.patches()
    if patches is None:
        raise ValueError("a network without a picture is none for the visual slot")
    for n, crossing in enumerate(network.crossings):
        assert words is not None and isinstance(crossing, Crossing)
        words, patches = g.crossing(words, patches, f"crossing{n}", crossing)
    mixed = g.linear(
        g.normal(g.pooled(words, patches), "pooled_norm", network.norm.weight, network.norm.bias), "mix", network.mix
    )
    g.add("Identity", [g.linear(g.add("Gelu", [mixed], "mixed"), "head", network.head)], "logits")
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, shape.side, shape.side])]
    if words is not None:
        inputs.append(helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "T"]))
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, shape.categories])]
    graph = helper.make_graph(g.nodes, "weir-fusion", inputs, outputs, g.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def write_folder(
    folder: Path,
    network: Fusion,
    tokenizer: Tokenizer,
    labels: Sequence[str],
    calibration: Mapping[str, Sequence[float]],
) -> Path:
    """What `WEIR_IMAGE_MODEL_DIR` names; a label is its category."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(build_graph(network), folder / "model.onnx")
    names = ["model.onnx"]
    shape = network.shape
    manifest: dict[str, object] = {
        "format": 1,
        "kind": "image",
        "name": folder.name,
        "input": {"side": shape.side, "layout": "NCHW", "mean": list(MEAN), "std": list(STD)},
        "labels": list(labels),
        "outputs": "independent",
        "categories": {label: label for label in labels},
        "calibration": {label: list(calibration[label]) for label in labels},
    }
    if network.text is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
        names.append("tokenizer.json")
        overlap = shape.max_tokens // OVERLAP_SHARE
        manifest["text"] = {"max_tokens": shape.max_tokens, "overlap_tokens": overlap}
    manifest["files"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return folder
