"""The visual slot from end to end: `weir serve` with a classifier that was trained here, asked over HTTP."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("rapidocr")

from PIL import Image

from service.config import Settings
from service.errors import ArtifactInvalid
from service.wiring import open_runtime
from tests.images.pictures import saved
from tests.serving import Served, serving
from tests.tiny_visual import draw, write_visual

CATEGORY = "violence/graphic"
TRIES = 5  # on a busy machine, what looks at images may take longer to start than a request may


@pytest.fixture(scope="module")
def served(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = write_visual(tmp_path_factory.mktemp("visual") / "red-mark")
    patient = {"WEIR_IMAGE_BUDGET_S": "60", "WEIR_REQUEST_BUDGET_S": "60"}
    with serving(WEIR_MODEL_DIR=str(tiny_folder), WEIR_IMAGE_MODEL_DIR=str(folder), **patient) as one:
        yield one


def picture(*, marked: bool) -> str:
    pixels = draw(np.random.default_rng(5), marked, side=96)
    return base64.b64encode(saved(Image.fromarray(pixels), "PNG")).decode()


def moderate(served: Served, *data: str, text: str = "") -> dict[str, Any]:
    body = {"input": text, "images": [{"data": one} for one in data]}
    found: dict[str, Any] = {}
    for _ in range(TRIES):
        reply = httpx.post(f"{served.url}/v1/moderate", json=body, timeout=120)
        assert reply.status_code == 200, reply.text
        found = reply.json()
        if not {"image", "visual"} & set(found["degraded"]):
            break
    return found


def test_what_the_classifier_sees_decides(served: Served) -> None:
    reply = moderate(served, picture(marked=False), picture(marked=True), text="tea is fine")
    assert reply["categories"][CATEGORY]["flagged"] and reply["action"] != "allow"
    seen = max((f for f in reply["findings"] if f["stage"] == "visual"), key=lambda f: f["score"])
    assert (seen["category"], seen["image"]) == (CATEGORY, 1) and "box" not in seen
    assert seen["reason"].startswith("model:red-mark@")
    assert reply["degraded"] == []


def test_an_innocent_picture_is_allowed_and_was_looked_at(served: Served) -> None:
    reply = moderate(served, picture(marked=False), text="tea is fine")
    assert reply["action"] == "allow" and "visual:not_scanned" not in reply["degraded"]
    metrics = httpx.get(f"{served.url}/metrics").text
    assert 'weir_visual_seconds_count{model="red-mark"}' in metrics


def test_openai_says_that_it_was_the_image(served: Served) -> None:
    url = f"data:image/png;base64,{picture(marked=True)}"
    body = {"input": [{"type": "text", "text": "tea"}, {"type": "image_url", "image_url": {"url": url}}]}
    (result,) = httpx.post(f"{served.url}/v1/moderations", json=body, timeout=120).json()["results"]
    assert result["flagged"] and result["categories"][CATEGORY]
    assert "image" in result["category_applied_input_types"][CATEGORY]


async def test_a_classifier_that_is_wrong_stops_the_start_with_a_sentence(tiny_folder: Path, tmp_path: Path) -> None:
    folder = write_visual(tmp_path / "broken", {"categories": {"mark": "gore"}})
    settings = Settings(model_dir=tiny_folder, image_model_dir=(folder,), data_dir=tmp_path / "data")
    with pytest.raises(ArtifactInvalid, match="'gore' of 'mark' is not in the taxonomy"):
        async with open_runtime(settings):
            raise AssertionError("it has started")
