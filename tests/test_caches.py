"""What the whole gateway keeps: scores, for the caller who had them, and nothing of what is not to be stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.taxonomy import Action
from service.types import Content
from tests.state import Replica, replica

COMMENT = {"comment": {"text": "you glorp"}, "requestedAttributes": {"TOXICITY": {}}, "languages": ["en"]}


def held(made: Replica) -> list[float | None]:
    value = made.runtime.metrics.registry.get_sample_value
    return [value("weir_cache_entries", {"tier": tier}) for tier in ("evidence", "memory")]


async def test_a_changed_threshold_changes_the_verdict_of_a_kept_text(tiny_folder: Path, tmp_path: Path) -> None:
    async with replica(tiny_folder, tmp_path) as made:
        first, again = await made.moderate("you glorp"), await made.moderate("you glorp")
        assert (first["cached"], again["cached"]) == (False, True)
        assert again["categories"] == first["categories"] and set(again["timings_ms"]) == {"total"}
        assert first["action"] == "block"
        lines = {"flag": 0.999, "review": 0.9999, "block": 0.99999}
        assert (await made.put(await made.tag(), harassment=lines)).status_code == 200
        changed = await made.moderate("you glorp")
        assert changed["cached"] and changed["action"] == "allow"


async def test_do_not_store_leaves_no_entry(tiny_folder: Path, tmp_path: Path) -> None:
    path = "/v1alpha1/comments:analyze"
    async with replica(tiny_folder, tmp_path) as made:
        before = held(made)
        for _ in range(2):
            assert (await made.client.post(path, json={**COMMENT, "doNotStore": True})).status_code == 200
        assert held(made) == before
        assert (await made.client.post(path, json=COMMENT)).status_code == 200
        assert held(made) != before


@pytest.mark.parametrize("cache", ["off", "memory"])
async def test_the_cache_can_be_off(tiny_folder: Path, tmp_path: Path, cache: str) -> None:
    async with replica(tiny_folder, tmp_path, cache=cache) as made:
        for _ in range(2):
            verdict = await made.runtime.moderate(Content("you glorp"))
        assert verdict.action == Action.BLOCK and verdict.cached == (cache == "memory")
