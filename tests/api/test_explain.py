"""Verdicts in words."""

from __future__ import annotations

from service.api.explain import explain
from service.taxonomy import CATEGORIES, Action
from service.types import Finding, Judgement, Verdict


def verdict(scores: dict[str, float], action: Action, *findings: Finding, degraded: tuple[str, ...] = ()) -> Verdict:
    judgements = tuple(
        Judgement(name, scores.get(name, 0.0), 0.5, action if scores.get(name, 0.0) >= 0.5 else Action.ALLOW)
        for name in CATEGORIES
    )
    return Verdict(action, judgements, findings, "default", "default-1", "fake", "fr", degraded)


def test_the_nearest_category_is_named_where_nothing_was_found() -> None:
    said = explain(verdict({"toxicity": 0.31}, Action.ALLOW))
    assert (
        said == "Allowed: no category reached its threshold; the nearest is toxicity 0.31 against a threshold of 0.50."
    )


def test_the_strongest_category_comes_first_and_the_rest_is_counted() -> None:
    scores = {"hate": 0.97, "harassment": 0.9, "toxicity": 0.8, "violence": 0.7, "sexual": 0.6}
    said = explain(
        verdict(scores, Action.BLOCK, Finding("hate", 0.97, "semantic", "m"), Finding("hate", 0.6, "keyword", "r"))
    )
    assert said.startswith("Blocked: the text looks like")
    assert "(hate 0.97 against a threshold of 0.50, seen by the keyword and semantic stages)" in said
    assert said.endswith("Also over the line: harassment 0.90, toxicity 0.80, violence 0.70 and 1 more.")


def test_an_adjudicator_is_mentioned() -> None:
    found = Finding("hate", 0.9, "semantic", "m"), Finding("hate", 0.6, "context", "c", overrides=True)
    assert "The context stage lowered this score from 0.90." in explain(verdict({"hate": 0.6}, Action.FLAG, *found))


def test_limits_are_told() -> None:
    said = explain(verdict({}, Action.REVIEW, degraded=("semantic", "language:fr")))
    assert "a language (fr) that the model was not measured on" in said
    assert "Without a result from: semantic (failed or out of time)." in said
    assert "The policy raises the action to review in such a case." in said
