"""Trained small: picture and text together tell what neither half does, and the slot runs what was trained."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("PIL")

import onnxruntime as ort
import torch
from PIL import Image, ImageDraw, ImageFont

from models.fusion.cards import CLAIM, INSULT, LABELS, LIKED, NAMED, Card, draw, make_cards
from models.fusion.export import build_graph, write_folder
from models.fusion.network import Fusion, Halves, Shape
from models.fusion.rows import Row, card_rows, collate, folder_rows, make_tokenizer, squeezed
from models.fusion.train import Recipe, Trained, fit, right, train
from service.backends.image_artifact import load_image_artifact
from service.backends.onnx_image import OnnxImageScorer
from service.images.classifier import Classifier
from service.images.reading import Frame, Reading
from service.metrics import Metrics
from tests.images.pictures import saved
from tests.serving import serving

SHAPE = Shape()
TRIES = 5  # on a busy machine, what looks at images may take longer to start than a request may
RECIPE = Recipe(steps=600, report_every=0)
SMALL = Shape(side=16, patch=8, width=16, heads=2, max_tokens=12, words=60, categories=2)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # what is measured is the processor's time


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return card_rows("train", 2400, SHAPE.side)


@pytest.fixture(scope="module")
def unseen() -> list[Row]:
    return card_rows("test", 400, SHAPE.side)


@pytest.fixture(scope="module")
def fused(rows: list[Row]) -> Trained:
    return train(rows, LABELS, SHAPE, RECIPE)


@pytest.fixture(scope="module")
def folder(fused: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    calibration = fit(fused, card_rows("dev", 300, SHAPE.side))
    target = tmp_path_factory.mktemp("fusion") / "cards"
    return write_folder(target, fused.network, fused.tokenizer, fused.labels, calibration)


def test_neither_half_of_a_card_tells_anything() -> None:
    """By construction: within a topic every saying's tone and every figure is harmful as often as not."""
    cards = make_cards("test", 4000)
    assert {card.saying for card in cards}.isdisjoint(card.saying for card in make_cards("train", 4000))
    for topic in LABELS:
        of_topic = [card for card in cards if card.topic == topic]
        assert abs(np.mean([card.harm == topic for card in of_topic]) - 0.5) < 0.03
    insults = [card for card in cards if card.topic == INSULT]
    for liked in (True, False):
        assert abs(np.mean([card.harm == INSULT for card in insults if (card.figure in LIKED) is liked]) - 0.5) < 0.05
    for figure in NAMED:
        claims = [card.harm == CLAIM for card in cards if card.topic == CLAIM and card.figure == figure]
        assert abs(np.mean(claims) - 0.5) < 0.12


@pytest.mark.parametrize("half", ["picture", "text"])
def test_both_together_beat_each_half_by_20_points(
    fused: Trained, rows: list[Row], unseen: list[Row], half: Halves
) -> None:
    together, alone = right(fused, unseen), right(train(rows, LABELS, SHAPE, RECIPE, half), unseen)
    for label in LABELS:
        assert together[label] >= alone[label] + 0.20, (label, together, alone)
    assert together[INSULT] >= 0.9


async def slot(folder: Path) -> AsyncIterator[OnnxImageScorer]:
    scorer = OnnxImageScorer(load_image_artifact(folder), Metrics())
    yield scorer
    await scorer.close()


async def test_the_slot_scores_as_the_network_does(fused: Trained, folder: Path, unseen: list[Row]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    logits = fused.logits(unseen[:40])
    async for scorer in slot(folder):
        assert (scorer.side, scorer.reads_text) == (SHAPE.side, True)
        for row, expected in zip(unseen[:40], logits, strict=True):
            (scores,), whole = await scorer.score([row.pixels.tobytes()], row.text)
            assert whole
            for column, label in enumerate(LABELS):
                slope, shift = manifest["calibration"][label]
                wanted = 1 / (1 + np.exp(-(slope * expected[column] + shift)))
                assert scores[label] == pytest.approx(wanted, abs=1e-3)


async def test_the_same_words_are_an_insult_beside_one_picture_and_praise_beside_another(folder: Path) -> None:
    async for scorer in slot(folder):
        classifier = Classifier([scorer])
        for saying, harmful in (
            ("honestly you are just like this today", "bin"),
            ("hey you are nothing like this my friend", "heart"),
        ):
            scores = {}
            for figure in ("bin", "heart"):
                pictures = [squeezed(draw(Card(saying, figure, seed, INSULT, "")), 96) for seed in range(5)]
                found = []
                for picture in pictures:
                    reading = Reading(b"", 96, 96, "PNG", (Frame(pixels=picture.tobytes()),))
                    seen = await classifier.see(reading, saying, image=0)
                    found.append(max((f.score for f in seen if f.category == INSULT), default=0.0))
                scores[figure] = float(np.median(found))
            innocent = "heart" if harmful == "bin" else "bin"
            assert scores[harmful] > 0.7 > 0.3 > scores[innocent], (saying, scores)


async def test_a_long_text_is_looked_at_in_windows_and_what_is_left_out_is_said(folder: Path) -> None:
    async for scorer in slot(folder):
        picture = squeezed(draw(Card("", "bin", 3, INSULT, "")), SHAPE.side).tobytes()
        (short,), whole = await scorer.score([picture], "honestly you are just like this today")
        assert whole
        (padded,), whole = await scorer.score([picture], "at work " * 12 + "honestly you are just like this today")
        assert whole and padded[INSULT] > 0.5 and short[INSULT] > 0.5
        _, whole = await scorer.score([picture], "at work " * 400)
        assert not whole


@pytest.mark.parametrize("halves", ["both", "picture"])
@pytest.mark.parametrize("length", [2, 12])
def test_the_graph_is_the_network(halves: Halves, length: int) -> None:
    torch.manual_seed(7)
    network = Fusion(SMALL, halves).eval()
    pixels, ids = torch.randn(1, 3, 16, 16), torch.randint(0, SMALL.words, (1, length))
    with torch.no_grad():
        expected = network(pixels, ids).numpy()
        padded = torch.cat([ids, torch.zeros(1, 3, dtype=torch.long)], dim=1)[:, : SMALL.max_tokens]
        mask = (torch.arange(padded.shape[1]) < length).float()[None]
        np.testing.assert_allclose(network(pixels, padded, mask).numpy(), expected, atol=1e-5)
    session = ort.InferenceSession(build_graph(network).SerializeToString(), providers=["CPUExecutionProvider"])
    given = {"pixels": pixels.numpy()} | ({"ids": ids.numpy()} if halves == "both" else {})
    np.testing.assert_allclose(session.run(["logits"], given)[0], expected, atol=1e-4)


def test_a_network_of_text_alone_has_no_place_in_the_slot() -> None:
    with pytest.raises(ValueError, match="without a picture"):
        build_graph(Fusion(SMALL, "text"))


def test_somebodys_own_pictures_are_read_from_a_folder(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), (200, 10, 10)).save(tmp_path / "red.png")
    lines = [
        {"file": "red.png", "text": "what a day", "harms": ["violence"], "split": "train"},
        {"file": "red.png", "text": "", "harms": [], "split": "dev"},
    ]
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    (row,) = folder_rows(tmp_path, "train", 16)
    assert (row.text, row.harms, row.pixels.shape) == ("what a day", ("violence",), (16, 16, 3))
    batch = collate([row], make_tokenizer([row.text], 60), ["violence", "hate"], 12)
    assert batch.targets.tolist() == [[1.0, 0.0]] and batch.pixels.shape == (1, 3, 16, 16)
    for wrong in ({"harms": ["gore"]}, {"file": "none.png"}, {"split": None}):
        line = {**lines[0], **wrong} if wrong != {"split": None} else {"file": "red.png"}
        (tmp_path / "labels.jsonl").write_text(json.dumps(line), encoding="utf-8")
        with pytest.raises(ValueError, match="line 1"):
            folder_rows(tmp_path, "train", 16)


def posted(url: str, saying: str, picture: Image.Image) -> float:
    """The score of an insult in what a service answers."""
    body = {"input": saying, "images": [{"data": base64.b64encode(saved(picture, "PNG")).decode()}]}
    for _ in range(TRIES):
        reply = httpx.post(f"{url}/v1/moderate", json=body, timeout=120)
        assert reply.status_code == 200, reply.text
        found = reply.json()
        if not {"image", "visual"} & set(found["degraded"]):
            break
    assert found["degraded"] == []
    return max((f["score"] for f in found["findings"] if f["stage"] == "visual"), default=0.0)


def test_over_http_the_words_may_stand_in_the_post_or_in_the_picture(folder: Path, tiny_folder: Path) -> None:
    pytest.importorskip("rapidocr")
    saying = "honestly you are just like this today"
    bare = {figure: draw(Card("", figure, 11, INSULT, "")) for figure in ("bin", "heart")}
    written = {}
    for figure, picture in bare.items():
        written[figure] = picture.resize((512, 512), Image.Resampling.BICUBIC)
        font = ImageFont.load_default(size=26)
        ImageDraw.Draw(written[figure]).text((16, 16), saying, "white", font, stroke_width=2, stroke_fill="black")
    patient = {"WEIR_IMAGE_BUDGET_S": "60", "WEIR_REQUEST_BUDGET_S": "60"}
    with serving(WEIR_MODEL_DIR=str(tiny_folder), WEIR_IMAGE_MODEL_DIR=str(folder), **patient) as served:
        assert posted(served.url, saying, bare["bin"]) > 0.7 > 0.3 > posted(served.url, saying, bare["heart"])
        assert posted(served.url, "", written["bin"]) > 0.5 > posted(served.url, "", written["heart"])
        assert posted(served.url, "", bare["bin"]) < 0.3
