"""A new artefact and new policies are taken up by every process, without a request being dropped."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from service.errors import StoreRefused
from tests.state import Replica, replica
from tests.tiny_artifact import edit_manifest

POLICY = '[categories."harassment"]\nflag = {flag}\nreview = 0.8\nblock = 0.9\n'


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A policy folder with `strict-room` in it."""
    folder = tmp_path / "policies"
    folder.mkdir()
    write_policy(folder, 0.5)
    return folder


def write_policy(folder: Path, flag: float) -> None:
    (folder / "room.toml").write_text(f'preset = "balanced"\n{POLICY.format(flag=flag)}')


def speak(artifact: Path, languages: list[str]) -> None:
    """Make it another artefact, which says so."""
    edit_manifest(artifact, lambda manifest: manifest.update(languages=languages))


@pytest.fixture
async def pair(own_folder: Path, policies: Path, tmp_path: Path) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two workers of one host."""
    opened = {"policy_dir": policies}
    async with (
        replica(own_folder, tmp_path / "data", **opened) as one,
        replica(own_folder, tmp_path / "data", **opened) as two,
    ):
        yield one, two


async def reload(at: Replica) -> httpx.Response:
    return await at.client.post("/v1/admin/reload")


async def until_same(one: Replica, two: Replica) -> None:
    async with asyncio.timeout(30):
        while two.runtime.model != one.runtime.model:  # noqa: ASYNC110 - nothing tells when another process has swapped
            await asyncio.sleep(0.02)


async def test_a_new_artefact_and_policies_reach_every_process(
    pair: tuple[Replica, Replica], own_folder: Path, policies: Path
) -> None:
    one, two = pair
    before = one.runtime.model
    speak(own_folder, ["en", "fr"])
    write_policy(policies, 0.7)
    reply = await reload(one)
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert body["before"] == before != body["model"] == one.runtime.model
    assert body["policies"]["room"]["version"] == one.runtime.policies.get("room").version
    assert one.runtime.policies.get("room").thresholds["harassment"].flag == 0.7
    await until_same(one, two)
    for each in pair:
        assert each.runtime.languages == ("en", "fr")
        verdict = await each.moderate("You are a glorp!", policy="room")
        assert (verdict["model"], verdict["action"]) == (body["model"], "block")
        assert f'weir_model_info{{model="{body["model"]}"}} 1.0' in each.runtime.metrics.render().decode()
        assert f'weir_model_info{{model="{before}"}} 1.0' not in each.runtime.metrics.render().decode()
    assert (await reload(two)).json()["before"] == body["model"]


async def test_no_request_is_dropped(pair: tuple[Replica, Replica], own_folder: Path) -> None:
    one, two = pair
    speak(own_folder, ["en", "de"])
    stop = asyncio.Event()

    async def keep_asking(at: Replica) -> set[str]:
        models = set()
        for n in itertools.count():  # another text each time: a cached verdict would not wait for the model
            models.add((await at.moderate(f"You are a glorp, {n}! " * 20))["model"])
            await asyncio.sleep(0)  # nor does a call within the process ever wait for a socket
            if stop.is_set():
                break
        return models

    asking = [asyncio.create_task(keep_asking(at)) for at in pair for _ in range(4)]
    await asyncio.sleep(0.05)
    assert (await reload(one)).status_code == 200
    await until_same(one, two)
    await asyncio.sleep(0.05)
    stop.set()
    seen = await asyncio.gather(*asking)
    assert set().union(*seen) >= {one.runtime.model}


SPOILT: tuple[tuple[Callable[[Path, Path], object], str], ...] = (
    (lambda artifact, policies: (artifact / "model.onnx").write_bytes(b"x"), "artifact_invalid"),
    (lambda artifact, policies: (artifact / "manifest.json").unlink(), "artifact_invalid"),
    (lambda artifact, policies: shutil.rmtree(artifact), "artifact_invalid"),
    (lambda artifact, policies: (policies / "bad.toml").write_text("preset = 5"), "policy_invalid"),
    (lambda artifact, policies: (policies / "bad.toml").write_text("]["), "policy_invalid"),
    (lambda artifact, policies: write_policy(policies, 0.95), "policy_invalid"),
)


async def test_what_is_wrong_is_refused_and_what_was_in_force_stays(
    pair: tuple[Replica, Replica], own_folder: Path, policies: Path, tmp_path: Path
) -> None:
    one, two = pair
    before = one.runtime.model
    kept = {folder: shutil.copytree(folder, tmp_path / f"kept-{folder.name}") for folder in (own_folder, policies)}
    for number, (spoil, code) in enumerate(SPOILT, start=1):
        spoil(own_folder, policies)
        reply = await reload(one)
        assert (reply.status_code, reply.json()["error"]["code"]) == (422, code)
        assert f'weir_reloads_total{{outcome="refused"}} {number}.0' in one.runtime.metrics.render().decode()
        for each in pair:
            assert each.runtime.ready and each.runtime.model == before
            assert (await each.moderate("You are a glorp!"))["action"] == "block"
        for folder, copy in kept.items():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(copy, folder)
    assert "taken" not in two.runtime.metrics.render().decode()


async def test_a_store_that_is_away_for_a_moment_delays_a_reload_and_loses_none(
    pair: tuple[Replica, Replica], own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    build, refused = two.runtime._build, []

    async def away_at_first() -> object:
        if not refused:
            refused.append(True)
            raise StoreRefused("The store does not answer.")
        return await build()

    monkeypatch.setattr(two.runtime, "_build", away_at_first)
    speak(own_folder, ["en", "fr"])
    assert (await reload(one)).status_code == 200
    await until_same(one, two)
    assert refused


async def test_learnt_lines_stay_with_their_artefact(pair: tuple[Replica, Replica], own_folder: Path) -> None:
    one, _ = pair
    original = (own_folder / "manifest.json").read_bytes()
    assert (await one.put(await one.tag(), harassment={"flag": 0.91, "review": 0.92, "block": 0.93})).status_code == 200
    speak(own_folder, ["en", "fr"])
    assert (await reload(one)).json()["policies"]["default"]["number"] == 0
    (own_folder / "manifest.json").write_bytes(original)
    assert (await reload(one)).json()["policies"]["default"]["number"] == 1
    assert one.runtime.policies.get("default").thresholds["harassment"].flag == 0.91


async def test_only_an_admin_may(own_folder: Path, tmp_path: Path) -> None:
    keys = {"api_keys": "caller:" + "0" * 64}
    async with replica(own_folder, tmp_path / "data", **keys) as one:
        assert (await reload(one)).status_code == 401
    async with replica(own_folder, tmp_path / "data", admin_keys="admin:" + "1" * 64) as one:
        reply = await reload(one)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "admin_required")


async def test_reloads_at_the_same_time_all_succeed(pair: tuple[Replica, Replica], own_folder: Path) -> None:
    speak(own_folder, ["en", "es"])
    replies = await asyncio.gather(*(reload(at) for at in (*pair, *pair)))
    assert [reply.status_code for reply in replies] == [200] * 4
    assert pair[0].runtime.model == pair[1].runtime.model
