"""What feedback may move, as policy files say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import PolicyInvalid
from service.feedback.targets import Target
from service.goal_files import load_goals
from service.taxonomy import CATEGORIES
from service.wiring import DATA

BASE = "[policies.default]\n[policies.kids]\n"


def goals_of(tmp_path: Path, text: str, name: str = "default") -> object:
    path = tmp_path / "thresholds.toml"
    path.write_text(BASE + text, encoding="utf-8")
    return load_goals(path, None)[name]


def test_those_that_are_shipped_move_everything_but_zero_tolerance() -> None:
    for goals in load_goals(DATA / "thresholds.toml", None).values():
        assert {"sexual/minors", "self-harm/instructions"} <= goals.fixed
        assert set(goals.targets) == set(CATEGORIES) - goals.fixed
        assert goals.targets["hate"] == Target("fpr", 0.05, 0.1)


def test_without_a_word_nothing_moves(tmp_path: Path) -> None:
    goals = goals_of(tmp_path, "")
    assert goals.targets == {} and goals.fixed == frozenset()  # type: ignore[attr-defined]


def test_a_policys_own_are_laid_over_the_shared_ones(tmp_path: Path) -> None:
    text = (
        "[defaults.adapt]\nfixed = ['hate']\nminimum = 50\n"
        "targets.'*' = {metric = 'fpr', bound = 0.05}\ntargets.privacy = {metric = 'fnr', bound = 0.2}\n"
        "[policies.kids.adapt]\nstep = 0.02\ntargets.privacy = {metric = 'precision', bound = 0.9, delta = 0.05}\n"
    )
    text = text.replace("[policies.kids.adapt]", "[policies.kids.adapt]")
    kids = goals_of(tmp_path, text, "kids")
    assert kids.targets["privacy"] == Target("precision", 0.9, 0.05)  # type: ignore[attr-defined]
    assert kids.targets["violence"] == Target("fpr", 0.05, 0.1)  # type: ignore[attr-defined]
    assert "hate" not in kids.targets  # type: ignore[attr-defined]
    assert (kids.limits.minimum, kids.limits.step) == (50, 0.02)  # type: ignore[attr-defined]
    assert goals_of(tmp_path, text).targets["privacy"].metric == "fnr"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("adapt = 3", "a table"),
        ("adapt = {targets = 3}", "a table"),
        ("adapt = {goal = 3}", "no key 'goal'"),
        ("adapt = {fixed = ['kindness']}", "list of categories"),
        ("adapt = {days = 0}", "days"),
        ("adapt = {step = -1.0}", "step"),
        ("adapt = {step = 'far'}", "default"),
        ("adapt = {targets = {kindness = {metric = 'fpr', bound = 0.1}}}", "taxonomy"),
        ("adapt = {targets = {hate = {metric = 'auc', bound = 0.1}}}", "metric of"),
        ("adapt = {targets = {hate = {metric = 'fpr'}}}", "a bound"),
        ("adapt = {targets = {hate = {metric = 'fpr', bound = 2}}}", "between 0 and 1"),
        ("adapt = {targets = {hate = {metric = 'fpr', bound = 'low'}}}", "hate"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "thresholds.toml"
    path.write_text(f"[policies.default]\n{text}\n", encoding="utf-8")
    with pytest.raises(PolicyInvalid, match=why) as caught:
        load_goals(path, None)
    assert "\n" not in caught.value.message
