"""Whose answers count: honest reviewers stay, liars go, also several who agree, and nobody outweighs the rest."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.feedback.labels import Label
from service.feedback.reviewers import cap, judge
from service.taxonomy import Action

Answer = Callable[[bool, float], bool]
LIES: dict[str, Answer] = {
    "opposite": lambda truth, score: not truth,
    "all innocent": lambda truth, score: False,
    "all harmful": lambda truth, score: True,
    "clears what is held back": lambda truth, score: truth and score < 0.5,
}


def reviewed(
    liars: int,
    lie: Answer,
    reviewers: int = 20,
    receipts: int = 1500,
    twice: float = 0.3,
    slips: float = 0.02,
    seed: int = 0,
) -> list[Label]:
    """Receipts with calibrated scores; the first reviewers lie, the others slip now and then."""
    rng = random.Random(seed)
    found = []
    for number in range(receipts):
        score = rng.random()
        truth = rng.random() < score
        for reviewer in rng.sample(range(reviewers), 1 + (rng.random() < twice)):
            answer = lie(truth, score) if reviewer < liars else truth != (rng.random() < slips)
            found.append(label(f"r{number}", score, answer, f"{reviewer:02}"))
    return found


def label(receipt: str, score: float, harmful: bool, reviewer: str) -> Label:
    return Label(receipt, "hate", score, Action.ALLOW, True, 0.01, harmful, reviewer, 0.0)


def names(count: int) -> tuple[str, ...]:
    return tuple(f"{number:02}" for number in range(count))


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("liars", [1, 5, 8])
def test_liars_are_named_and_nobody_else(lie: str, liars: int) -> None:
    trust = judge(reviewed(liars, LIES[lie]), shared=5)
    assert trust.named("out_of_line") == names(liars)
    assert not trust.split


def test_honest_reviewers_stay() -> None:
    named = sum(len(judge(reviewed(0, LIES["opposite"], seed=seed), 5).named("out_of_line")) for seed in range(10))
    assert named <= 1  # of 200


def test_which_way_a_liar_errs_is_told() -> None:
    trust = judge(reviewed(1, LIES["all harmful"]), shared=5)
    liar, honest = trust.standings["00"], trust.standings["01"]
    assert liar.harsher > 5 * max(1, liar.milder) and liar.peers > 3.0 and liar.chance < 1e-6
    assert abs(honest.peers) < 3.0 and honest.chance > 0.001
    assert liar.labels > 50 and 0 < liar.shared < liar.labels


def test_a_majority_that_agrees_cannot_be_told_from_the_truth_and_half_is_said_to_be_a_split() -> None:
    half = judge(reviewed(10, LIES["opposite"]), shared=5)
    assert half.split and half.named("unproven") == names(20)
    assert set(judge(reviewed(15, LIES["opposite"]), shared=5).named("out_of_line")) == set(names(20)) - set(names(15))


def test_a_reviewer_with_another_queue_is_not_out_of_line() -> None:
    """Peers alone convict nobody: this one sees texts that are harmful where their scores say nothing, and is right."""
    labels = reviewed(0, LIES["opposite"])
    rng = random.Random(1)
    for number in range(200):
        labels.append(label(f"q{number}", rng.random() * 0.3, True, "19"))
        if number % 4 == 0:
            labels.append(label(f"q{number}", labels[-1].score, True, f"{number % 19:02}"))
    standing = judge(labels, shared=5).standings["19"]
    assert standing.peers > 5.0
    assert standing.verdict == "admitted"


def test_without_second_looks_nobody_is_believed_and_nobody_blamed() -> None:
    trust = judge(reviewed(5, LIES["opposite"], twice=0.0), shared=5)
    assert trust.named("unproven") == names(20)
    assert judge(reviewed(5, LIES["opposite"], twice=0.0), shared=0).named("admitted") == names(20)


def test_two_who_contradict_each_other_are_split() -> None:
    labels = [label(f"r{n}", 0.5, reviewer == "ann", reviewer) for n in range(30) for reviewer in ("ann", "bob")]
    trust = judge(labels, shared=5)
    assert trust.split
    assert trust.named("unproven") == ("ann", "bob")


def test_nobody_at_all() -> None:
    trust = judge([], shared=5)
    assert (dict(trust.standings), trust.split) == ({}, False)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 99))), st.floats(0.05, 1.0), st.randoms())
def test_nobody_has_more_than_their_share(given_: list[tuple[str, int]], share: float, rng: random.Random) -> None:
    labels = [label(f"r{receipt}", 0.5, rng.random() < 0.5, reviewer) for reviewer, receipt in set(given_)]
    kept = cap(labels, share)
    counts = Counter(one.reviewer for one in kept)
    assert all(count <= share * len(kept) + 1e-6 for count in counts.values())
    assert all(one in labels for one in kept) and len(set(kept)) == len(kept)
    if share == 1.0:
        assert sorted(kept, key=repr) == sorted(labels, key=repr)
    # And no more is taken from anyone than that asks for: one more of each would be too much.
    most = max(counts.values(), default=0)
    whole = Counter(one.reviewer for one in labels)
    assert all(counts[name] == min(whole[name], most) for name in whole)
    if most < max(whole.values(), default=0):
        assert most + 1 > share * sum(min(count, most + 1) for count in whole.values())


@given(st.randoms())
def test_what_is_kept_does_not_depend_on_the_answer(rng: random.Random) -> None:
    labels = [label(f"r{n}", 0.5, rng.random() < 0.5, "ann" if n % 2 else f"{n % 6}") for n in range(120)]
    other = [label(one.receipt, one.score, not one.harmful, one.reviewer) for one in labels]
    key = [(one.receipt, one.reviewer) for one in cap(labels, 0.3)]
    assert key == [(one.receipt, one.reviewer) for one in cap(other, 0.3)]
    assert len(key) < len(labels)
