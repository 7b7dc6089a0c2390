"""The method on the ten principles that it was not chosen on, with the shipped encoder."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from service.backends.artifact import load_artifact
from service.backends.cache import ScoreCache
from service.backends.onnx_text import OnnxTextScorer
from service.constitution.direct import read_all
from service.constitution.examples import Direction, Ground, leave_one_out
from service.constitution.live import read_ground
from service.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
NOVEL = tomllib.loads((ROOT / "models" / "principles" / "novel.toml").read_text(encoding="utf-8"))["principles"]


@pytest.fixture
async def scorer() -> AsyncIterator[OnnxTextScorer]:
    artifact = load_artifact(ROOT / "models" / "artifacts" / "default")
    metrics = Metrics()
    cache = ScoreCache(b"k", artifact.digest, scoped=False, most_bytes=1 << 20, metrics=metrics)
    opened = OnnxTextScorer(artifact, workers=2, threads=1, max_items=256, metrics=metrics, cache=cache)
    yield opened
    await opened.close()


def auroc(above: list[float], below: list[float]) -> float:
    return float(np.mean([(a > b) + 0.5 * (a == b) for a in above for b in below]))


async def test_ten_principles_that_nothing_was_tuned_on(scorer: OnnxTextScorer) -> None:
    ground = await read_ground(ROOT / "service" / "data" / "contrasts.toml", scorer)
    areas: dict[str, float] = {}
    for principle in NOVEL:
        assert len(principle["test_violates"]) == len(principle["test_complies"]) == 20
        statement = ground.place(await read_all(scorer, [principle["statement"]]))[0]
        violates = ground.place(await read_all(scorer, principle["violates"]))
        complies = ground.place(await read_all(scorer, principle["complies"]))
        direction = Direction.of(ground, statement, violates, complies)

        async def score(texts: list[str], direction: Direction = direction) -> list[float]:
            return [max(direction.scores(ground.place((await scorer.read(text)).vectors))) for text in texts]

        areas[principle["id"]] = auroc(await score(principle["test_violates"]), await score(principle["test_complies"]))
    assert float(np.mean(list(areas.values()))) >= 0.85, areas
    assert min(areas.values()) >= 0.70, areas


@pytest.mark.parametrize("scope", ["", None])
async def test_a_text_is_scored_and_read_with_one_inference(scorer: OnnxTextScorer, scope: str | None) -> None:
    text = "The ferry left at nine. Nobody was on board!"
    runs = count_runs(scorer)
    scored = await scorer.score([(text, "")], "post", scope, read_next=True)
    reading = await scorer.read(text, scope)
    assert len(runs) == 1
    assert [text[s.start : s.end] for s in reading.spans] == ["The ferry left at nine.", "Nobody was on board!"]
    assert scored == await scorer.score([(text, "")], "post", scope)
    assert len(runs) == (1 if scope == "" else 2)  # where nothing may be kept the states are gone once read
    again = await scorer.read(text, scope)
    assert (again.vectors == reading.vectors).all() and len(runs) == (1 if scope == "" else 3)
    assert len(scorer._recent) == (1 if scope == "" else 0)


async def test_kept_logits_without_states_cost_one_inference_more_and_no_other(scorer: OnnxTextScorer) -> None:
    text = "The ferry left at nine."
    scored = await scorer.score([(text, "")], "post")
    runs = count_runs(scorer)
    for _ in range(3):
        assert await scorer.score([(text, "")], "post", read_next=True) == scored
        assert len((await scorer.read(text)).spans) == 1
    assert len(runs) == 1
    assert (await scorer.read("...")).vectors.shape[0] == len((await scorer.read("...")).spans)
    assert not len((await scorer.read("")).spans)


def count_runs(scorer: OnnxTextScorer) -> list[object]:
    """What is computed from here on."""
    runs: list[object] = []
    compute = scorer._batcher._compute
    scorer._batcher._compute = lambda item: runs.append(item) or compute(item)  # type: ignore[func-returns-value]
    return runs


def test_directions_of_made_up_vectors() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(size=(2, 8))
    away = base + np.eye(2, 8)
    pairs = [(away[None] + rng.normal(size=(4, 2, 8)) / 50, base[None] + rng.normal(size=(4, 2, 8)) / 50)] * 2
    ground = Ground.of([(v.astype(np.float32), c.astype(np.float32)) for v, c in pairs])
    violates, complies = (ground.place(part.astype(np.float32)) for part in pairs[0])
    statement = violates[0]
    direction = Direction.of(ground, statement, violates, complies)
    assert min(direction.scores(violates)) > max(direction.scores(complies))
    assert leave_one_out(ground, statement, violates, complies).auroc == 1.0
    assert leave_one_out(ground, statement, violates[:1], complies).asked == 0
