"""From findings to an action: which score stands, how far it may be lowered, and what follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import PolicyInvalid, UnknownPolicy
from service.policy import Policy, PolicyBook, Thresholds, check_thresholds, decide, resolve
from service.taxonomy import CATEGORIES, Action
from service.types import Finding

LINES = Thresholds(0.3, 0.6, 0.9, max_lowering=0.35)
SCORE = st.floats(0.0, 1.0)
NAMES = st.sampled_from(sorted(CATEGORIES))


def policy(
    lines: Thresholds = LINES,
    others: Mapping[str, Thresholds] | None = None,
    on_degraded: Action = Action.REVIEW,
    on_language: Action = Action.ALLOW,
) -> Policy:
    """A policy with the same lines everywhere, but for `others`."""
    thresholds = {**dict.fromkeys(CATEGORIES, lines), **(others or {})}
    return Policy("default", "default-1", "balanced", thresholds, on_degraded, on_language)


def detected(score: float, category: str = "violence", *, final: bool = False) -> Finding:
    """What a detector says."""
    return Finding(category, score, "semantic", "model", final=final)


def proposed(score: float, category: str = "violence", *, final: bool = False) -> Finding:
    """What an adjudicator says."""
    return Finding(category, score, "context", "model", overrides=True, final=final)


@pytest.mark.parametrize(
    ("findings", "score"),
    [
        ([], 0.0),
        ([detected(0.2), detected(0.7), detected(0.5)], 0.7),  # the highest detector
        ([detected(0.2), proposed(0.8)], 0.8),  # a raise
        ([detected(0.8), proposed(0.1), proposed(0.9)], 0.9),  # any raise wins
        ([detected(0.8), proposed(0.7)], 0.7),  # a lowering within the bound
        ([detected(0.8), proposed(0.0)], 0.45),  # as far as the bound
        ([detected(0.8), proposed(0.6), proposed(0.5), proposed(0.1)], 0.45),  # all lowerings together
        ([detected(0.5), detected(0.8), proposed(0.0)], 0.45),  # measured from the maximum
        ([detected(0.2), proposed(0.0)], 0.0),  # never below nothing
        ([detected(0.8, final=True), proposed(0.0)], 0.8),  # a final rule stands
        ([detected(0.7, final=True), detected(0.8), proposed(0.0)], 0.7),
        ([detected(0.7, final=True), proposed(0.9)], 0.9),  # and may be raised
        ([detected(0.9), proposed(0.6, final=True), proposed(0.1)], 0.6),
        ([proposed(0.4)], 0.4),
    ],
)
def test_which_score_stands(findings: list[Finding], score: float) -> None:
    for order in (findings, findings[::-1]):
        assert resolve(order, policy())["violence"] == pytest.approx(score)


def test_a_child_implies_its_parent() -> None:
    scores = resolve([detected(0.8, "hate/threatening"), detected(0.2, "hate")], policy())
    assert scores["hate"] == scores["hate/threatening"] == 0.8
    assert scores["harassment"] == 0.0
    assert resolve([detected(0.8, "hate")], policy())["hate/threatening"] == 0.0


def test_a_lowered_parent_stays_above_its_child() -> None:
    findings = [detected(0.9, "hate"), detected(0.8, "hate/threatening"), proposed(0.1, "hate")]
    assert resolve(findings, policy())["hate"] == 0.8


def test_without_a_bound_nothing_is_lowered() -> None:
    assert resolve([detected(0.8), proposed(0.0)], policy(Thresholds(0.3, 0.6, 0.9)))["violence"] == 0.8


@pytest.mark.parametrize(
    ("score", "action"),
    [(0.0, "allow"), (0.29, "allow"), (0.3, "flag"), (0.6, "review"), (0.89, "review"), (0.9, "block"), (1.0, "block")],
)
def test_lines(score: float, action: str) -> None:
    made, judgements = decide([detected(score)], policy(), degraded=False, unmeasured_language=False)
    assert made.wire == action
    judgement = next(j for j in judgements if j.category == "violence")
    assert (judgement.action, judgement.threshold, judgement.score) == (made, 0.3, score)
    assert judgement.flagged == (score >= 0.3)
    assert [j.category for j in judgements] == list(CATEGORIES)


def test_most_caps_its_category_only() -> None:
    book = policy(others={"toxicity": Thresholds(0.3, 0.6, 0.9, most=Action.FLAG)})
    capped, _ = decide([detected(1.0, "toxicity")], book, degraded=False, unmeasured_language=False)
    other, _ = decide([detected(1.0, "toxicity"), detected(1.0)], book, degraded=False, unmeasured_language=False)
    assert (capped, other) == (Action.FLAG, Action.BLOCK)


@pytest.mark.parametrize("on_degraded", Action)
@pytest.mark.parametrize("score", [0.0, 0.4, 0.7, 1.0])
def test_a_missing_stage_and_an_unmeasured_language_only_raise(on_degraded: Action, score: float) -> None:
    book = policy(on_degraded=on_degraded, on_language=on_degraded)
    plain, _ = decide([detected(score)], book, degraded=False, unmeasured_language=False)
    for degraded, unmeasured in ((True, False), (False, True), (True, True)):
        made, _ = decide([detected(score)], book, degraded=degraded, unmeasured_language=unmeasured)
        assert made == max(plain, on_degraded)


@pytest.mark.parametrize("raised", Action)
def test_an_image_that_nobody_saw_is_raised_by_policy(raised: Action) -> None:
    book = replace(policy(), on_unscanned_image=raised)
    note = Finding("", 0.0, "image", "visual:not_scanned", missing="visual:not_scanned")
    action, judgements = decide([note], book, degraded=False, unmeasured_language=False)
    assert action == raised and not any(judgement.flagged for judgement in judgements)


@pytest.mark.parametrize("asked", [Action.FLAG, Action.REVIEW, Action.BLOCK])
def test_a_known_image_puts_its_category_at_the_line_of_its_list_s_action(asked: Action) -> None:
    book = policy()
    known = Finding("hate", 1.0, "image", "bank:b", final=True, calls_for=asked)
    lowered = Finding("hate", 0.0, "context", "model", overrides=True)
    action, judgements = decide([known, lowered], book, degraded=False, unmeasured_language=False)
    (hate,) = [judgement for judgement in judgements if judgement.category == "hate"]
    assert (action, hate.action, hate.score) == (asked, asked, book.thresholds["hate"].line(asked))


FINDINGS = st.lists(
    st.builds(Finding, NAMES, SCORE, st.just("s"), st.just("r"), st.none(), st.booleans(), st.booleans())
)


@given(FINDINGS, st.floats(0.0, 1.0))
def test_never_lower_than_the_bound_nor_than_a_final_finding(findings: list[Finding], bound: float) -> None:
    scores = resolve(findings, policy(Thresholds(0.3, 0.6, 0.9, max_lowering=bound)))
    for finding in findings:
        if not finding.overrides:
            assert scores[finding.category] >= finding.score - bound - 1e-9
        if finding.final:
            assert scores[finding.category] >= finding.score
    for name, category in CATEGORIES.items():
        assert 0.0 <= scores[name] <= 1.0
        assert category.parent is None or scores[category.parent] >= scores[name]


@given(FINDINGS, st.randoms())
def test_the_order_of_findings_does_not_matter(findings: list[Finding], random: object) -> None:
    shuffled = findings[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert resolve(shuffled, policy()) == resolve(findings, policy())


@given(FINDINGS, NAMES, SCORE)
def test_one_more_detector_never_makes_it_milder(findings: list[Finding], category: str, score: float) -> None:
    before, _ = decide(findings, policy(), degraded=False, unmeasured_language=False)
    after, _ = decide([*findings, detected(score, category)], policy(), degraded=False, unmeasured_language=False)
    raised = [f for f in findings if f.overrides and f.category == category and f.score < score]
    assert after >= before or raised  # a proposal that was a raise may have become a lowering


@given(SCORE, SCORE, st.tuples(SCORE, SCORE, SCORE).map(sorted), st.sampled_from(Action))
def test_the_action_rises_with_the_score(low: float, high: float, lines: list[float], most: Action) -> None:
    thresholds = Thresholds(*lines, most=most)
    low, high = sorted((low, high))
    assert thresholds.action(low) <= thresholds.action(high) <= most


@pytest.mark.parametrize(
    "lines",
    [
        Thresholds(0.0, 0.5, 0.9),
        Thresholds(0.6, 0.5, 0.9),
        Thresholds(0.3, 0.95, 0.9),
        Thresholds(0.3, 0.5, 1.1),
        Thresholds(float("nan"), 0.5, 0.9),
        Thresholds(0.3, 0.5, 0.9, max_lowering=-0.1),
        Thresholds(0.3, 0.5, 0.9, max_lowering=float("nan")),
    ],
)
def test_wrong_lines_are_refused(lines: Thresholds) -> None:
    with pytest.raises(PolicyInvalid, match="policy mine: hate needs 0 <"):
        check_thresholds("mine", {**dict.fromkeys(CATEGORIES, LINES), "hate": lines})


def test_a_category_too_few_or_too_many_is_refused() -> None:
    whole = dict.fromkeys(CATEGORIES, LINES)
    check_thresholds("mine", whole)
    with pytest.raises(PolicyInvalid, match="'hate' has no thresholds"):
        check_thresholds("mine", {name: lines for name, lines in whole.items() if name != "hate"})
    with pytest.raises(PolicyInvalid, match="'rudeness' is not in the taxonomy"):
        check_thresholds("mine", {**whole, "rudeness": LINES})


def test_a_policy_is_found_by_its_name() -> None:
    book = PolicyBook({"default": policy()})
    assert book.get("default").version == "default-1"
    with pytest.raises(UnknownPolicy) as caught:
        book.get("canary")
    assert caught.value.param == "policy" and "canary" not in caught.value.message
