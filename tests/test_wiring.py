"""The service as it is put together, over the tiny artefact."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from service.backends.artifact import load_artifact
from service.config import Settings
from service.errors import Overloaded, StartRefused, UnknownPolicy
from service.steps import load_steps
from service.taxonomy import CATEGORIES, Action
from service.types import Content, Turn
from service.wiring import open_runtime
from tests.tiny_artifact import edit_manifest, make_graph, write_artifact


def workers() -> list[str]:
    """Threads of ours that still run."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("weir-worker")]


def settings(folder: Path, **more: object) -> Settings:
    data_dir = Path(tempfile.mkdtemp(dir=folder.parent))  # a store of the test's own
    return Settings(model_dir=folder, threads=2, **{"data_dir": data_dir, **more})  # type: ignore[arg-type]


async def refusal(made: Settings) -> str:
    """The sentence that the start is refused with; nothing is left running."""
    with pytest.raises(StartRefused) as caught:
        async with open_runtime(made):
            raise AssertionError("it started")
    assert workers() == [] and "\n" not in caught.value.message
    return caught.value.message


async def test_it_judges(tiny_folder: Path) -> None:
    async with open_runtime(settings(tiny_folder)) as runtime:
        text = "I like tea. You are a glorp! Bye now."
        verdict = await runtime.moderate(Content(text))
        assert verdict.action == Action.BLOCK and verdict.degraded == () and verdict.language == "en"
        assert verdict.top is not None and verdict.top.category == "harassment"
        assert verdict.model == runtime.model == load_artifact(tiny_folder).version
        places = [f.span and text[f.span.start : f.span.end] for f in verdict.findings if f.category == "harassment"]
        assert places == ["You are a glorp!"]
        assert verdict.suggested_revision == "I like tea. [removed: harassment] Bye now."
        assert set(verdict.timings_ms) == {"keyword", "semantic", "total"}
        harmless = await runtime.moderate(Content("The cat sat on the mat."))
        assert harmless.action == Action.ALLOW and [j.category for j in harmless.judgements] == list(CATEGORIES)


async def test_keywords_and_context_have_their_say(tiny_folder: Path) -> None:
    async with open_runtime(settings(tiny_folder)) as runtime:
        verdict = await runtime.moderate(Content("go kill yourself"))
        assert {"keyword"} <= {finding.stage for finding in verdict.findings} and verdict.flagged
        pair = await runtime.moderate(Content("tea is fine", context=(Turn("a glorp"),)))
        assert pair.flagged and {f.stage for f in pair.findings} == {"context"}
        disguised = await runtime.moderate(Content("you g\u200bl0rp"))
        assert disguised.flagged


async def test_ready_is_proved_by_work_and_ends_with_it(tiny_folder: Path) -> None:
    async with open_runtime(settings(tiny_folder)) as runtime:
        assert runtime.ready and len(workers()) == 2
        runtime.draining = True
        assert not runtime.ready
        runtime.draining = False
    assert not runtime.ready and workers() == []
    verdict = await runtime.moderate(Content("tea"))  # whoever comes too late is not told that all is fine
    assert verdict.degraded == ("semantic",) and verdict.action == Action.REVIEW


async def test_closing_ends_the_threads_after_a_failure_too(tiny_folder: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_runtime(settings(tiny_folder)) as runtime:
            await asyncio.gather(*(runtime.moderate(Content("tea " * 300)) for _ in range(3)))
            raise ZeroDivisionError
    assert workers() == []


async def test_policies_are_those_of_the_settings(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[categories.harassment]\nmost = 'flag'\n", encoding="utf-8")
    made = settings(tiny_folder, policy_dir=tmp_path, preset="strict")
    async with open_runtime(made) as runtime:
        assert runtime.policies.get("default").preset == "strict"
        assert (await runtime.moderate(Content("you glorp", policy="mine"))).action == Action.FLAG
        with pytest.raises(UnknownPolicy):
            await runtime.moderate(Content("tea", policy="other"))


async def test_a_full_queue_is_said_at_once(tiny_folder: Path) -> None:
    async with open_runtime(settings(tiny_folder, queue_items=1)) as runtime:
        answers = await asyncio.gather(
            *(runtime.moderate(Content(f"tea is fine {n}")) for n in range(20)), return_exceptions=True
        )
        assert any(isinstance(answer, Overloaded) for answer in answers)
        assert all(isinstance(a, Overloaded) or a.degraded == () for a in answers)  # type: ignore[union-attr]
        assert runtime.ready and (await runtime.moderate(Content("tea"))).action == Action.ALLOW


async def test_two_runtimes_live_side_by_side(tiny_folder: Path) -> None:
    async with open_runtime(settings(tiny_folder)) as one:
        async with open_runtime(settings(tiny_folder)) as other:
            assert one.metrics is not other.metrics
        assert one.ready and not other.ready
        assert (await one.moderate(Content("you glorp"))).flagged


async def test_a_wrong_artefact_refuses_the_start(own_folder: Path, tmp_path: Path) -> None:
    assert "nowhere" in await refusal(settings(tmp_path / "nowhere"))
    odd = write_artifact(tmp_path / "odd", make_graph(segments="others"))
    assert "cannot be run" in await refusal(settings(odd))
    (own_folder / "model.onnx").write_bytes(b"not a graph")
    assert "model.onnx is not the file" in await refusal(settings(own_folder))
    edit_manifest(own_folder, lambda manifest: None)
    assert "cannot load model.onnx" in await refusal(settings(own_folder))


async def test_a_wrong_policy_refuses_the_start(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("preset = 'lenient'", encoding="utf-8")
    assert "policy mine" in await refusal(settings(tiny_folder, policy_dir=tmp_path))


def test_steps_of_unknown_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    for entry in ("stage = 'oracle'", "stage = 'keyword'\ngate = 'sometimes'"):
        path.write_text(f"[[steps]]\n{entry}\nbudget_s = 1\n", encoding="utf-8")
        with pytest.raises(StartRefused, match=r"pipeline\.toml"):
            load_steps(path, {"keyword": lambda options: None}, 10.0)  # type: ignore[dict-item,return-value]


def test_no_step_has_more_time_than_the_request(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text("[[steps]]\nstage = 'keyword'\nbudget_s = 60\nfail_open = true\n", encoding="utf-8")
    (made,) = load_steps(path, {"keyword": lambda options: None}, 2.5)  # type: ignore[dict-item,return-value]
    assert made.budget_s == 2.5 and made.fail_open


async def test_an_operator_says_which_stages_may_fail(tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text("[[steps]]\nstage = 'keyword'\nbudget_s = 1\n", encoding="utf-8")
    (made,) = load_steps(path, {"keyword": lambda options: None}, 2.5, ("keyword",))  # type: ignore[dict-item,return-value]
    assert made.fail_open
    said = await refusal(settings(tiny_folder, fail_open=("context", "oracle")))
    assert "WEIR_FAIL_OPEN" in said and "'oracle'" in said and "semantic" in said


async def test_learnt_lines_outlive_a_start_but_not_another_preset_or_artefact(
    tiny_folder: Path, own_folder: Path, tmp_path: Path
) -> None:
    made = settings(tiny_folder, data_dir=tmp_path / "data")
    async with open_runtime(made) as runtime:
        assert (await runtime.moderate(Content("you glorp"))).action == Action.BLOCK
        lines = dict.fromkeys(CATEGORIES, (0.9995, 0.9997, 0.9999))
        await runtime.versions.set_lines("default", lines, author="test", reason="put")
        learnt = await runtime.moderate(Content("you glorp"))
        assert learnt.action < Action.BLOCK and learnt.receipt
    edit_manifest(own_folder, lambda manifest: manifest.update(name="newer"))
    for other in ({"preset": "strict"}, {"model_dir": own_folder}):
        async with open_runtime(made.model_copy(update=other)) as runtime:
            assert runtime.versions.standing("default").number == 0
            assert (await runtime.moderate(Content("you glorp"))).action == Action.BLOCK
    async with open_runtime(made) as runtime:
        again = await runtime.moderate(Content("you glorp"))
        assert (again.action, again.policy_version) == (learnt.action, learnt.policy_version)
        assert again.receipt != learnt.receipt


async def test_without_state_nothing_is_kept(tiny_folder: Path, tmp_path: Path) -> None:
    made = settings(tiny_folder, data_dir=tmp_path / "data")
    async with open_runtime(made, stateful=False) as runtime:
        verdict = await runtime.moderate(Content("you glorp"))
        assert verdict.action == Action.BLOCK and not verdict.receipt and not verdict.audit
    assert not (tmp_path / "data").exists()


async def test_a_store_or_a_secret_that_cannot_be_kept_refuses_the_start(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "WEIR_DATA_DIR" in await refusal(settings(tiny_folder, data_dir=tmp_path / "file"))
    assert "WEIR_DATA_DIR" in await refusal(settings(tiny_folder, data_dir=tmp_path / "file", secret="given"))
    assert "no Redis" in await refusal(settings(tiny_folder, store_url="redis://127.0.0.1:1/0"))


async def test_a_shadow_model_is_compared_and_decides_nothing(
    tiny_folder: Path, own_folder: Path, tmp_path: Path
) -> None:
    def meek(manifest: dict[str, Any]) -> None:
        manifest["name"] = "meek"
        for preset in manifest["presets"].values():
            preset.update({category: [0.9997, 0.9998, 0.9999] for category in CATEGORIES})

    edit_manifest(own_folder, meek)
    made = settings(tiny_folder, data_dir=tmp_path / "data", shadow_model_dir=own_folder, shadow_share=1.0)
    async with open_runtime(made) as runtime:
        for _ in range(3):
            assert (await runtime.moderate(Content("you glorp"))).action == Action.BLOCK
        async with asyncio.timeout(60):
            report = await runtime.tuning.draft_report("default")
            while sum(report.model_verdicts.values()) != 3:
                await asyncio.sleep(0.05)
                report = await runtime.tuning.draft_report("default")
        assert report.model is not None and report.model.startswith("meek@") and not report.active
        assert all(live is Action.BLOCK > draft for live, draft in report.model_verdicts)
    assert workers() == []
