"""What a yes, a no, or truths by category say of every category, and which answers contradict themselves."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.errors import BadInput
from service.feedback.truths import settle
from service.policy import Policy, Thresholds
from service.taxonomy import CATEGORIES, Action

LINES = Thresholds(0.3, 0.6, 0.9)
POLICY = Policy("default", "default-1", "balanced", dict.fromkeys(CATEGORIES, LINES))
SCORES = st.fixed_dictionaries({name: st.floats(0.0, 1.0) for name in CATEGORIES})
TRUTHS = st.dictionaries(st.sampled_from(sorted(CATEGORIES)), st.booleans())
PARENTS = {name: category.parent for name, category in CATEGORIES.items() if category.parent}


def said(harmful: bool | None, categories: dict[str, bool], scores: dict[str, float] | None = None) -> dict[str, bool]:
    scores = scores or dict.fromkeys(CATEGORIES, 0.1)
    return settle(harmful, categories, scores, {name: LINES.action(scores[name]) for name in CATEGORIES}, POLICY)


def contradictory(harmful: bool | None, categories: dict[str, bool]) -> bool:
    implied = any(categories.get(child) and categories.get(parent) is False for child, parent in PARENTS.items())
    return implied or (harmful is False and any(categories.values()))


@given(st.sampled_from([None, True, False]), TRUTHS, SCORES)
def test_what_is_settled_holds_together_and_keeps_what_was_said(
    harmful: bool | None, categories: dict[str, bool], scores: dict[str, float]
) -> None:
    assume(harmful is not None or categories)
    if contradictory(harmful, categories):
        with pytest.raises(BadInput):
            said(harmful, categories, scores)
        return
    truths = said(harmful, categories, scores)
    assert categories.items() <= truths.items()
    for child, parent in PARENTS.items():
        if truths.get(child):
            assert truths[parent]
        if truths.get(parent) is False:
            assert truths[child] is False
    if harmful is False:
        assert truths == dict.fromkeys(CATEGORIES, False)


@given(SCORES)
def test_a_single_yes_is_about_what_the_verdict_rests_on(scores: dict[str, float]) -> None:
    truths = said(True, {}, scores)
    assert all(truths.values()) and 1 <= len(truths) <= 2  # one category, and the one that it implies
    named = next(name for name in truths if len(truths) == 1 or name in PARENTS)
    strictest = max(LINES.action(score) for score in scores.values())
    assert LINES.action(scores[named]) == strictest
    if strictest == Action.ALLOW:
        assert scores[named] == max(scores.values())


def test_a_text_that_is_no_hate_is_no_threat_of_it_either() -> None:
    assert said(None, {"hate": False}) == {"hate": False, "hate/threatening": False}
    assert said(None, {"hate/threatening": True}) == {"hate": True, "hate/threatening": True}
    assert said(None, {"hate/threatening": False}) == {"hate/threatening": False}


def test_an_answer_says_something_and_of_known_categories() -> None:
    for harmful, categories in ((None, {}), (True, {"rudeness": True}), (False, {"rudeness": False})):
        with pytest.raises(BadInput):
            said(harmful, categories)
