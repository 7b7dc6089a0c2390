"""The order in which what waits is taken."""

from __future__ import annotations

import asyncio

from service.backends.waiting import AGEING_S, MOST_AGEING_S, QUICK_TOKENS, Line, Waiting


def entry(tokens: int, since: float = 0.0, quick: bool = True) -> Waiting[str, str]:
    return Waiting("", None, tokens, since, since + 60, asyncio.get_running_loop().create_future(), quick=quick)


async def test_the_shorter_goes_first_and_nothing_is_overtaken_for_ever() -> None:
    line: Line[str, str] = Line(100)
    long = entry(200)
    line.put([long], 200)
    soon, late = entry(10, since=100 * AGEING_S), entry(10, since=201 * AGEING_S)
    line.put([late], 10)
    line.put([soon], 10)
    assert [line.take(1, 1, 1)[0] for _ in range(3)] == [soon, long, late]


async def test_short_texts_are_given_half_of_the_work_beside_a_long_one() -> None:
    line: Line[str, str] = Line(1_000)
    windows = [entry(100, quick=False) for _ in range(50)]
    line.put(windows, 5_000)
    for n in range(50):
        line.put([entry(100, since=n)], 100)
    taken = [line.take(1, 1, 100)[0].quick for _ in range(40)]
    assert taken[0] and taken.count(True) == 20


async def test_a_group_is_a_fair_part_within_its_tokens() -> None:
    line: Line[str, str] = Line(100)
    line.put([entry(50) for _ in range(8)], QUICK_TOKENS)
    assert len(line.take(2, 8, 1_000)) == 2  # a quarter each for two takers, twice
    assert len(line.take(1, 8, 100)) == 2
    assert len(line.take(1, 8, 10)) == 1  # one at least
    assert line.items == 3 and line.tokens == (150, 0)


async def test_those_forgotten_do_not_count_and_are_not_taken() -> None:
    line: Line[str, str] = Line(10)
    gone, stays = entry(10), entry(20)
    line.put([gone, stays], 30)
    assert line.forget([gone]) == 1 and line.items == 1
    assert line.take(1, 8, 100) == [stays]
    assert line.forget([stays]) == 0 and line.items == 0 and line.take(1, 8, 100) == []
    assert MOST_AGEING_S < 10  # a request's budget
