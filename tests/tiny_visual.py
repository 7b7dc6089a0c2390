"""An image classifier that is trained where it stands, in numpy: it finds a red mark anywhere in a picture.

A stand-in for what no clean weights exist of. The network is one layer over patches and the maximum over them, trained
on rendered pictures of noise and coloured discs, in well under a second.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE, PATCH = 32, 4
MEAN, STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]
COLOURS = ([40, 90, 200], [40, 160, 60], [230, 200, 40], [200, 60, 190])  # of discs that mean nothing
RED = [205, 25, 30]
STEPS, RATE = 400, 0.3

Pixels = NDArray[np.uint8]


def draw(rng: np.random.Generator, marked: bool, side: int = SIDE) -> Pixels:
    """A picture (S, S, 3) of noise with two or three discs, one of them red where it is `marked`."""
    base = rng.integers(30, 226, size=3)
    picture = np.clip(base + rng.normal(0, 18, size=(side, side, 3)), 0, 255)
    if base[0] > 150 and base[1] < 90 and base[2] < 90:
        picture = picture[..., ::-1].copy()  # a red ground would be a mark
    colours = [COLOURS[rng.integers(len(COLOURS))] for _ in range(2)] + ([RED] if marked else [])
    y, x = np.mgrid[:side, :side]
    for colour in colours:  # the mark last, so that nothing hides it
        radius = rng.uniform(0.13, 0.22) * side
        top, left = rng.uniform(radius, side - radius, size=2)
        disc = (y - top) ** 2 + (x - left) ** 2 < radius**2
        picture[disc] = np.clip(np.array(colour) + rng.normal(0, 8, size=(int(disc.sum()), 3)), 0, 255)
    return picture.astype(np.uint8)


def draw_many(seed: int, count: int) -> tuple[Pixels, NDArray[np.bool_]]:
    """Pictures (N, S, S, 3), and which of them are marked."""
    rng = np.random.default_rng(seed)
    marked = rng.random(count) < 0.5
    return np.stack([draw(rng, bool(mark)) for mark in marked]), marked


def _patches(pictures: Pixels) -> NDArray[np.float32]:
    """(N, places, numbers of a patch), normalised, in the order of a convolution's weights: channel, row, column."""
    count, across = len(pictures), SIDE // PATCH
    normal = ((pictures / 255.0 - MEAN) / STD).astype(np.float32)
    cut = normal.reshape(count, across, PATCH, across, PATCH, 3).transpose(0, 1, 3, 5, 2, 4)
    return cut.reshape(count, across * across, 3 * PATCH * PATCH)


def train(seed: int = 1, count: int = 600) -> tuple[NDArray[np.float32], float]:
    """Weights of a patch and a bias, by gradient descent on the cross-entropy of the highest patch."""
    pictures, marked = draw_many(seed, count)
    patches = _patches(pictures)
    weights = np.random.default_rng(seed).normal(0, 0.01, size=patches.shape[-1]).astype(np.float32)
    bias, rows = 0.0, np.arange(count)
    for _ in range(STEPS):
        logits = patches @ weights + bias
        top = logits.argmax(axis=1)
        error = 1.0 / (1.0 + np.exp(-logits[rows, top])) - marked
        weights -= RATE * (error[:, None] * patches[rows, top]).mean(axis=0).astype(np.float32)
        bias -= RATE * float(error.mean())
    return weights, bias


def write_visual(folder: Path, change: dict[str, Any] | None = None) -> Path:
    """A whole image classifier in `folder`; entries of `change` replace those of its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, bias = train()
    kernel = np.stack([weights, -weights]).reshape(2, 3, PATCH, PATCH)
    constants = {"kernel": kernel, "bias": np.array([bias, -bias], dtype=np.float32), "axes": np.array([2, 3])}
    nodes = [
        helper.make_node("Conv", ["pixels", "kernel", "bias"], ["marks"], strides=[PATCH, PATCH]),
        helper.make_node("ReduceMax", ["marks", "axes"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny-visual",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    manifest = {
        "format": 1,
        "kind": "image",
        "name": "red-mark",
        "files": {"model.onnx": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()},
        "input": {"side": SIDE, "layout": "NCHW", "mean": MEAN, "std": STD},
        "labels": ["mark", "plain"],
        "outputs": "independent",
        "categories": {"mark": "violence/graphic"},
        "calibration": {"violence/graphic": [1.0, 0.0]},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest | (change or {})), encoding="utf-8")
    return folder
