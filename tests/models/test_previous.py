"""Weights read back from an artefact are those that made it, to what 7 bits can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import numpy as np
import torch

from models.encoder import Classifier
from models.export import build_graph, quantize
from models.previous import load_previous

HEADS, WINDOW = 18, 64


@pytest.mark.parametrize("smoothed", [False, True])
def test_a_network_is_read_back_from_its_graph(tmp_path: Path, smoothed: bool) -> None:
    torch.manual_seed(3)
    made = Classifier(HEADS, dropout=0.0).eval()
    made.encoder.positions.weight = torch.nn.Parameter(made.encoder.positions.weight[:WINDOW].clone())
    factors = {"block0.qkv": np.linspace(0.8, 1.25, 384, dtype=np.float32)} if smoothed else {}
    quantize(build_graph(made, HEADS, int8=True, factors=factors), tmp_path / "model.onnx")
    torch.manual_seed(4)
    read = Classifier(HEADS, dropout=0.0).eval()
    last = read.encoder.positions.weight[WINDOW:].clone()
    load_previous(read, tmp_path / "model.onnx")
    for name, value in made.state_dict().items():
        found = read.state_dict()[name][:WINDOW] if name == "encoder.positions.weight" else read.state_dict()[name]
        assert torch.allclose(found, value, atol=0.02 * float(value.abs().max()) + 1e-6), name
    assert torch.equal(read.encoder.positions.weight[WINDOW:], last)
