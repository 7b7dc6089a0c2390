"""Whether a deployment can look at images, and what comes of one where it cannot."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import service.image_parts
from service.config import Settings
from service.errors import Unsupported
from service.images.errors import ImageNotFetched, ImageUrlRefused
from service.taxonomy import Action
from service.types import Content
from service.wiring import open_runtime
from tests.images.pictures import card, plain
from tests.images.processes import lookers


def settings(folder: Path, **more: object) -> Settings:
    data = Path(tempfile.mkdtemp())
    made = {"model_dir": folder, "data_dir": data, "image_budget_s": 60.0, "request_budget_s": 60.0, **more}
    return Settings(**made)  # type: ignore[arg-type]


async def test_without_the_extra_an_image_is_refused_and_texts_go_on(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.image_parts, "NEEDED", ("no_such_package",))
    async with open_runtime(settings(tiny_folder)) as runtime:
        assert not runtime.sees_images
        with pytest.raises(Unsupported, match="extra"):
            await runtime.moderate(Content("tea", images=(plain(),)))
        assert (await runtime.moderate(Content("tea"))).action == Action.ALLOW
        assert lookers() == []


async def test_an_image_is_looked_at_in_a_process_that_starts_with_it_and_outlives_a_reload(tiny_folder: Path) -> None:
    async with open_runtime(settings(tiny_folder)) as runtime:
        assert runtime.sees_images and lookers() == []
        content = Content("", images=(plain(), card("you glorp")))
        verdict = await runtime.moderate(content)
        while "image" in verdict.degraded:  # a busy machine: it took longer to start than a request may
            verdict = await runtime.moderate(content)
        (found,) = [one for one in verdict.findings if one.score > 0.9]
        assert (found.category, found.image, found.stage) == ("harassment", 1, "image") and found.box is not None
        assert verdict.action == Action.BLOCK and verdict.degraded == ("visual:not_scanned",)
        assert (await runtime.moderate(content)).cached
        other = await runtime.moderate(Content("tea", images=content.images))
        assert other.receipt != verdict.receipt and other.action == Action.BLOCK
        standing = lookers()
        await runtime.reload("test")
        assert (await runtime.moderate(content)).action == Action.BLOCK and lookers() == standing != []
    assert lookers() == []


def test_the_service_itself_loads_no_image_library() -> None:
    script = "import service.wiring, sys; print(*{'PIL', 'cv2', 'rapidocr', 'pdqhash'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


async def test_images_are_fetched_only_where_a_host_is_allowed(tiny_folder: Path) -> None:
    async with open_runtime(settings(tiny_folder)) as runtime:
        assert runtime.image_fetcher is None
    async with open_runtime(settings(tiny_folder, image_hosts=("localhost.localdomain",))) as runtime:
        assert runtime.image_fetcher is not None
        for address in ("http://localhost.localdomain/a.png", "http://other.example/a.png"):
            with pytest.raises((ImageUrlRefused, ImageNotFetched)):
                await runtime.image_fetcher.fetch(address)
        assert "weir_image_fetches_total" in runtime.metrics.render().decode()
