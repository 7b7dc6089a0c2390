"""A wrong artefact stops the start with one sentence; a right one is named by all that is in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.backends.artifact import load_artifact
from service.errors import ArtifactInvalid, StartRefused
from service.policy import PRESETS
from service.taxonomy import CATEGORIES
from tests.tiny_artifact import LABELS, edit_manifest, make_graph, write_artifact


def refusal(folder: Path) -> str:
    """The one sentence that the artefact is refused with."""
    with pytest.raises(ArtifactInvalid) as caught:
        load_artifact(folder)
    message = caught.value.message
    assert isinstance(caught.value, StartRefused)
    assert message and "\n" not in message and len(message) < 200
    return message


def test_a_whole_artefact_is_read(tiny_folder: Path) -> None:
    artifact = load_artifact(tiny_folder)
    assert artifact.labels == LABELS
    assert {name: LABELS[column] for name, column in artifact.columns.items()} == {name: name for name in CATEGORIES}
    assert set(artifact.presets) == set(PRESETS) and set(artifact.calibration) == {"post", "prompt", "response"}
    assert artifact.version == f"weir-tiny@{artifact.digest[:12]}"


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "manifest.json"])
def test_a_missing_file(own_folder: Path, name: str) -> None:
    (own_folder / name).unlink()
    assert name in refusal(own_folder)


def test_a_missing_folder(tmp_path: Path) -> None:
    assert "nowhere" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_an_altered_file(own_folder: Path, name: str) -> None:
    with (own_folder / name).open("ab") as file:
        file.write(b" ")
    assert f"{name} is not the file" in refusal(own_folder)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_file_that_the_manifest_does_not_vouch_for(own_folder: Path, name: str) -> None:
    edit_manifest(own_folder, lambda manifest: manifest["files"].pop(name))
    assert f"no digest of {name}" in refusal(own_folder)


@pytest.mark.parametrize("content", ["", "{", "\x00", '"manifest"', "[]", "null", "{}", '{"format": 2}', "\udcff"])
def test_a_manifest_that_is_none(own_folder: Path, content: str) -> None:
    (own_folder / "manifest.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert "manifest.json is not" in refusal(own_folder)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "label 'rudeness' is not in the taxonomy": lambda m: m["labels"].append("rudeness"),
    "category 'hate' of the taxonomy has no label": lambda m: m["labels"].remove("hate"),
    "KeyError('strict')": lambda m: m["presets"].pop("strict"),
    "KeyError('privacy')": lambda m: m["presets"]["balanced"].pop("privacy"),
    "KeyError('prompt')": lambda m: m["calibration"].pop("prompt"),
    "KeyError('sexual')": lambda m: m["calibration"]["response"].pop("sexual"),
    "KeyError('max_tokens')": lambda m: m.pop("max_tokens"),
    "ValueError": lambda m: m.update(window_shift="much"),
    "TypeError": lambda m: m["presets"]["strict"].update(hate=[0.1, 0.2]),
    "no digest of model.onnx": lambda m: m.update(files=[]),
    "AttributeError": lambda m: m.update(files=["model.onnx", "tokenizer.json"]),
    "names no language": lambda m: m.update(languages=[]),
    "max_tokens leaves no room": lambda m: m.update(overlap_tokens=30),
    "leaves no room beside context_tokens": lambda m: m.update(context_tokens=0),
    "calibration of hate for a post does not rise": lambda m: m["calibration"]["post"].update(hate=[-1.0, 0.0]),
    "calibration of hate for a prompt": lambda m: m["calibration"]["prompt"].update(hate=[1.0, float("nan")]),
}


@pytest.mark.parametrize("sentence", CHANGES)
def test_a_manifest_that_is_wrong(own_folder: Path, sentence: str) -> None:
    edit_manifest(own_folder, CHANGES[sentence])  # type: ignore[arg-type]
    assert sentence in refusal(own_folder)


def test_the_version_names_every_file(own_folder: Path, tmp_path: Path) -> None:
    versions = [load_artifact(own_folder).version]
    assert load_artifact(own_folder).version == versions[0]
    edit_manifest(own_folder, lambda manifest: manifest["presets"]["strict"].update(hate=[0.1, 0.2, 0.3]))
    versions.append(load_artifact(own_folder).version)
    tokenizer = json.loads((own_folder / "tokenizer.json").read_text(encoding="utf-8"))
    (own_folder / "tokenizer.json").write_text(json.dumps(tokenizer, indent=3), encoding="utf-8")
    edit_manifest(own_folder, lambda manifest: None)
    versions.append(load_artifact(own_folder).version)
    graph = make_graph()
    graph.producer_name = "another"
    versions.append(load_artifact(write_artifact(tmp_path / "other" / "tiny", graph)).version)
    assert len(set(versions)) == len(versions)


def test_the_version_does_not_hang_on_how_the_manifest_is_written(own_folder: Path) -> None:
    before = load_artifact(own_folder).version
    manifest = json.loads((own_folder / "manifest.json").read_text(encoding="utf-8"))
    reordered = dict(reversed(manifest.items()))
    (own_folder / "manifest.json").write_text(json.dumps(reordered, indent=2), encoding="utf-8")
    assert load_artifact(own_folder).version == before
