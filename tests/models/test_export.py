"""The exported graph is the network: same logits, same embedding, and int8 stays close."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import onnxruntime as ort
import torch

from models.encoder import Classifier, load_pretrained, mean_pool, pretrained_folder
from models.export import build_graph, quantize

HEADS = 18


def have_pretrained() -> bool:
    try:
        return (pretrained_folder() / "model.safetensors").exists()
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def network() -> Classifier:
    torch.manual_seed(5)
    made = Classifier(HEADS).eval()
    if have_pretrained():
        load_pretrained(made.encoder)
    return made


def inputs(length: int, first: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    ids = torch.from_numpy(np.random.default_rng(length).integers(1000, 30000, (1, length)))
    segments = torch.zeros_like(ids)
    segments[0, first:] = 1
    return ids, torch.ones(1, length), segments


def logits(graph: bytes | Path, length: int, first: int) -> np.ndarray:
    ids, _, segments = inputs(length, first)
    source = graph if isinstance(graph, bytes) else str(graph)
    session = ort.InferenceSession(source, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"ids": ids.numpy(), "segments": segments.numpy()})[0])


@pytest.mark.parametrize(("length", "first"), [(5, 5), (40, 40), (90, 60)])
def test_graph_gives_what_the_network_gives(network: Classifier, length: int, first: int) -> None:
    graph = build_graph(network, HEADS, int8=False).SerializeToString()
    ids, mask, segments = inputs(length, first)
    with torch.no_grad():
        logits, embedding = network(ids, mask, segments)
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found = session.run(["logits", "embedding"], {"ids": ids.numpy(), "segments": segments.numpy()})
    np.testing.assert_allclose(found[0], logits.numpy(), atol=2e-4)
    np.testing.assert_allclose(found[1], embedding.numpy(), atol=2e-4)


def test_int8_is_small_and_close(network: Classifier, tmp_path: Path) -> None:
    quantize(build_graph(network, HEADS, int8=True), tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size < 24_500_000
    exact = build_graph(network, HEADS, int8=False).SerializeToString()
    for length, first in ((30, 30), (60, 40)):
        assert np.abs(logits(tmp_path / "model.onnx", length, first) - logits(exact, length, first)).max() < 0.3


def test_factors_change_nothing_but_what_is_rounded(network: Classifier, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    factors = {f"block{n}.qkv": np.exp(random.normal(size=384)).astype(np.float32) for n in range(6)}
    plain = build_graph(network, HEADS, int8=False).SerializeToString()
    calmed = build_graph(network, HEADS, int8=False, factors=factors).SerializeToString()
    assert plain != calmed
    np.testing.assert_allclose(logits(calmed, 40, 25), logits(plain, 40, 25), atol=2e-4)


@pytest.mark.skipif(not have_pretrained(), reason="its tokenizer is needed")
def test_smoothing_makes_outliers_ordinary(network: Classifier) -> None:
    from models.data import Row
    from models.smoothing import PARTS, fit_factors

    rows = [Row(text, "", "post", {}, "s") for text in ("A short text.", "Another one, which is longer.")]
    factors = fit_factors(network, rows, 64)
    assert set(factors) == {f"block{n}.{part}" for n in range(6) for part in PARTS}
    for values in factors.values():
        assert values.min() > 0
        assert np.log(values).mean() == pytest.approx(0, abs=1e-4)


def test_padding_changes_nothing(network: Classifier) -> None:
    ids, mask, segments = inputs(24, 24)
    padded = [torch.cat([part, torch.zeros(1, 8, dtype=part.dtype)], dim=1) for part in (ids, mask, segments)]
    with torch.no_grad():
        alone, company = network(ids, mask, segments)[0], network(*padded)[0]
    np.testing.assert_allclose(alone.numpy(), company.numpy(), atol=1e-4)


@pytest.mark.skipif(not have_pretrained(), reason="the pretrained encoder is not installed")
def test_pretrained_encoder_knows_what_is_alike(network: Classifier) -> None:
    from models.batches import CLS, SEP, load_tokenizer

    texts = ["A man is playing the guitar.", "Someone plays a guitar.", "The tax office closes at noon."]
    vectors = []
    for encoded in load_tokenizer().encode_batch(texts, add_special_tokens=False):
        ids = torch.tensor([[CLS, *encoded.ids, SEP]])
        with torch.no_grad():
            pooled = mean_pool(
                network.encoder(ids, torch.ones(ids.shape), torch.zeros_like(ids)), torch.ones(ids.shape)
            )
        vectors.append(torch.nn.functional.normalize(pooled, dim=1)[0])
    assert float(vectors[0] @ vectors[1]) > 0.7
    assert float(vectors[0] @ vectors[2]) < 0.3
