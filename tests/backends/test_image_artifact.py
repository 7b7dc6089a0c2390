"""What is a valid image classifier, and the sentence for each thing that is wrong with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

from service.backends.image_artifact import load_image_artifact
from service.errors import ArtifactInvalid
from tests.tiny_visual import MEAN, STD, write_visual


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_visual(tmp_path_factory.mktemp("visual") / "red-mark")


def changed(folder: Path, target: Path, **entries: Any) -> Path:
    """A copy whose manifest has other entries."""
    target.mkdir()
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (target / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    (target / "manifest.json").write_text(json.dumps(manifest | entries), encoding="utf-8")
    return target


def test_a_folder_is_read(folder: Path) -> None:
    found = load_image_artifact(folder)
    assert (found.side, found.channels_first, found.exclusive, found.text) == (32, True, False, None)
    assert found.columns == {"violence/graphic": (0,)}
    assert found.version.startswith("red-mark@") and len(found.digest) == 64


def test_another_manifest_is_another_version(folder: Path, tmp_path: Path) -> None:
    other = load_image_artifact(changed(folder, tmp_path / "v", calibration={"violence/graphic": [0.5, 0.0]}))
    assert other.digest != load_image_artifact(folder).digest


def test_several_labels_may_tell_of_one_category(folder: Path, tmp_path: Path) -> None:
    both = changed(
        folder, tmp_path / "v", labels=["mark", "plain", "scar"], categories={"mark": "violence", "scar": "violence"},
        calibration={"violence": [1, 0]},
    )  # fmt: skip
    assert load_image_artifact(both).columns == {"violence": (0, 2)}


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"format": 2}, "not that of an image classifier"),
        ({"kind": "text"}, "not that of an image classifier"),
        ({"files": {}}, "no digest of model.onnx"),
        ({"files": {"model.onnx": "0" * 64}}, "not the file that the manifest describes"),
        ({"text": {"max_tokens": 32, "overlap_tokens": 8}}, "no digest of tokenizer.json"),
        ({"input": {"side": 4, "layout": "NCHW", "mean": MEAN, "std": STD}}, "between 8 and 1024"),
        ({"input": {"side": 32, "layout": "CHWN", "mean": MEAN, "std": STD}}, "neither NCHW nor NHWC"),
        ({"input": {"side": 32, "layout": "NCHW", "mean": [0.5], "std": STD}}, "format 1"),
        ({"input": {"side": 32, "layout": "NCHW", "mean": MEAN, "std": [0.25, 0.0, 0.25]}}, "do not normalise"),
        ({"labels": ["mark", "mark"]}, "same name"),
        ({"categories": {}}, "no label has a category"),
        ({"categories": {"scar": "violence"}}, "is no label"),
        ({"categories": {"mark": "gore"}}, "not in the taxonomy"),
        ({"outputs": "both"}, "neither independent nor exclusive"),
        ({"calibration": {}}, "format 1"),
        ({"calibration": {"violence/graphic": [-1.0, 0.0]}}, "does not rise"),
        (
            {
                "outputs": "exclusive",
                "categories": {"mark": "violence", "plain": "violence"},
                "calibration": {"violence": [1, 0]},
            },
            "no label is left",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(folder: Path, tmp_path: Path, entries: dict[str, Any], says: str) -> None:
    with pytest.raises(ArtifactInvalid, match=says):
        load_image_artifact(changed(folder, tmp_path / "bad", **entries))


def test_a_folder_without_a_manifest_or_with_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactInvalid, match="no readable manifest"):
        load_image_artifact(tmp_path)
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactInvalid, match="not JSON"):
        load_image_artifact(tmp_path)
