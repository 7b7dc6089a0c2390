"""Rates as they are written, and what a bucket gives over time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rates import Rate, RateLimits, take


def test_a_key_has_its_own_rate_or_that_of_every_key() -> None:
    limits = RateLimits.parse("600/min, batch=5/s,trusted=off")
    assert limits.of("anybody") == Rate(600, 60)
    assert limits.of("batch") == Rate(5, 1)
    assert limits.of("trusted") is None
    assert RateLimits.parse("only=10/hour").of("other") is None
    assert RateLimits.parse("") == RateLimits()


@pytest.mark.parametrize("text", ["600", "600/fortnight", "0/min", "-1/s", "a=1/s,a=2/s", "1/s,2/s", "a=", "1.5/s"])
def test_what_is_no_rate_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        RateLimits.parse(text)


@given(
    st.integers(1, 1_000),
    st.sampled_from([1, 60, 3_600]),
    st.lists(st.tuples(st.floats(0, 100), st.integers(1, 300)), min_size=1, max_size=20),
)
def test_no_more_is_given_than_came_back(items: int, window_s: int, requests: list[tuple[float, int]]) -> None:
    rate, spent, clock, given = Rate(items, window_s), 0.0, 0.0, 0
    for pause_s, cost in requests:
        clock += pause_s
        spent, standing = take(rate, spent, pause_s, cost)
        if standing.retry_after_s is None:
            given += cost
            # A bucket's worth, what came back, and the one debt that a request larger than the bucket may leave.
            assert given <= items + clock * rate.per_s + max(0, cost - items) + 1e-6
        else:
            _, again = take(rate, spent, standing.retry_after_s, cost)
            assert again.retry_after_s is None
        assert 0 <= standing.remaining <= items and standing.reset_s >= 0


def test_a_refusal_costs_nothing_and_a_large_request_is_not_refused_for_ever() -> None:
    rate = Rate(10, 60)
    spent, first = take(rate, 0.0, 0.0, 25)
    assert (spent, first.remaining, first.retry_after_s) == (25, 0, None)
    again, second = take(rate, spent, 0.0, 1)
    assert again == 25 and second.retry_after_s == pytest.approx(96)
    assert take(rate, spent, 150.0, 25)[1].retry_after_s is None
