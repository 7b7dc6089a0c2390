"""An image classifier as it runs: pixels in, calibrated categories out, and what it refuses."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx

from service.backends.image_artifact import load_image_artifact
from service.backends.onnx_image import OnnxImageScorer, resized
from service.errors import ArtifactInvalid, Overloaded, ScorerFailed
from service.metrics import Metrics
from tests.tiny_visual import SIDE, draw_many, write_visual

CATEGORY = "violence/graphic"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_visual(tmp_path_factory.mktemp("visual") / "red-mark")


@pytest.fixture
async def scorer(folder: Path) -> AsyncIterator[OnnxImageScorer]:
    opened = OnnxImageScorer(load_image_artifact(folder), Metrics())
    yield opened
    await opened.close()


async def scores_of(scorer: OnnxImageScorer, pictures: Any) -> np.ndarray:
    scored, whole = await scorer.score([picture.tobytes() for picture in pictures])
    assert whole
    return np.array([scores[CATEGORY] for scores in scored])


async def test_pictures_it_was_not_trained_on_are_told_apart(scorer: OnnxImageScorer) -> None:
    pictures, marked = draw_many(seed=99, count=100)
    scores = await scores_of(scorer, pictures)
    assert ((scores > 0.5) == marked).mean() >= 0.95


async def test_a_picture_of_another_size_is_squeezed(scorer: OnnxImageScorer) -> None:
    pictures, marked = draw_many(seed=98, count=40)
    larger = pictures.repeat(3, axis=1).repeat(3, axis=2)
    scores = await scores_of(scorer, larger)
    assert ((scores > 0.5) == marked).mean() >= 0.9


def test_resizing_keeps_what_is_even_and_the_mean() -> None:
    even = np.full((96, 96, 3), 77.0, dtype=np.float32)
    for side in (32, 96, 200):
        np.testing.assert_allclose(resized(even, side), 77.0, rtol=1e-5)
    noise = np.random.default_rng(0).uniform(0, 255, size=(96, 96, 3)).astype(np.float32)
    np.testing.assert_allclose(resized(noise, 32).mean(), noise.mean(), rtol=0.01)
    assert resized(noise, 32).shape == (32, 32, 3)


def test_resizing_is_what_pillow_does() -> None:
    image = pytest.importorskip("PIL.Image")
    noise = np.random.default_rng(1).integers(0, 256, size=(90, 90, 3), dtype=np.uint8)
    theirs = np.asarray(image.fromarray(noise).resize((32, 32), image.Resampling.BILINEAR), dtype=np.float32)
    assert np.abs(resized(noise.astype(np.float32), 32) - theirs).max() < 1.5  # they round twice


@pytest.mark.parametrize("square", [b"", b"12", b"\0" * (3 * 31)])
async def test_what_is_no_square_fails(scorer: OnnxImageScorer, square: bytes) -> None:
    with pytest.raises(ScorerFailed):
        await scorer.score([square])


async def test_exclusive_labels_share_what_there_is(folder: Path, tmp_path: Path) -> None:
    exclusive = write_visual(tmp_path / "softmax", {"outputs": "exclusive"})
    plain = OnnxImageScorer(load_image_artifact(folder), Metrics())
    other = OnnxImageScorer(load_image_artifact(exclusive), Metrics())
    try:
        logits = np.array([2.0, -1.0], dtype=np.float32)
        assert plain.calibrate(logits)[CATEGORY] == pytest.approx(1 / (1 + np.exp(-2.0)))
        assert other.calibrate(logits)[CATEGORY] == pytest.approx(np.exp(2.0) / (np.exp(2.0) + np.exp(-1.0)))
    finally:
        await plain.close()
        await other.close()


async def test_more_than_may_wait_is_refused(folder: Path) -> None:
    scorer = OnnxImageScorer(load_image_artifact(folder), Metrics(), queue_runs=4)
    try:
        pictures, _ = draw_many(seed=3, count=40)
        asked = [scorer.score([picture.tobytes()]) for picture in pictures]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert any(isinstance(outcome, Overloaded) for outcome in outcomes)
        assert any(isinstance(outcome, tuple) for outcome in outcomes)
    finally:
        await scorer.close()
    with pytest.raises(ScorerFailed):
        await scorer.score([bytes(3 * SIDE * SIDE)])


def rewrite(folder: Path, target: Path, change: Any, **entries: Any) -> Path:
    """A copy with a changed graph, and a manifest that describes it."""
    target.mkdir()
    model = onnx.load(folder / "model.onnx")
    change(model)
    onnx.save(model, target / "model.onnx")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8")) | entries
    manifest["files"] = {"model.onnx": hashlib.sha256((target / "model.onnx").read_bytes()).hexdigest()}
    (target / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return target


async def test_a_graph_that_is_not_as_its_manifest_says_is_refused(folder: Path, tmp_path: Path) -> None:
    def nothing(model: onnx.ModelProto) -> None:
        return

    def second_picture(model: onnx.ModelProto) -> None:
        model.graph.input.append(
            onnx.helper.make_tensor_value_info("other", onnx.TensorProto.FLOAT, [1, 3, SIDE, SIDE])
        )

    def words(model: onnx.ModelProto) -> None:
        model.graph.input.append(onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, [1, "T"]))

    for number, (change, entries, says) in enumerate(
        [
            (nothing, {"labels": ["mark", "plain", "other"]}, "logit for each"),
            (second_picture, {}, "one picture"),
            (words, {}, "whether text is read"),
        ]
    ):
        broken = rewrite(folder, tmp_path / str(number), change, **entries)
        with pytest.raises(ArtifactInvalid, match=says):
            OnnxImageScorer(load_image_artifact(broken), Metrics())


async def test_not_a_number_is_a_failure_and_not_no_harm(folder: Path, tmp_path: Path) -> None:
    def infinite(model: onnx.ModelProto) -> None:
        bias = next(value for value in model.graph.initializer if value.name == "bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(np.array([np.nan, 0.0], dtype=np.float32), "bias"))

    scorer = OnnxImageScorer(load_image_artifact(rewrite(folder, tmp_path / "nan", infinite)), Metrics())
    try:
        with pytest.raises(ScorerFailed, match="not a number"):
            await scorer.score([bytes(3 * SIDE * SIDE)])
        assert scorer.alive
    finally:
        await scorer.close()
