"""Equal work is done once, whoever leaves."""

from __future__ import annotations

import asyncio

from service.flights import Flights


class Work:
    """Counts its runs, and waits for the gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.runs = self.stopped = 0

    async def __call__(self) -> int:
        self.runs += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        return self.runs


async def start(flights: Flights[int], work: Work, count: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(flights.run(b"key", work)) for _ in range(count)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_a_hundred_at_once_are_one() -> None:
    flights, work = Flights[int](), Work()
    tasks = await start(flights, work, 100)
    work.gate.set()
    assert await asyncio.gather(*tasks) == [1] * 100
    assert len(flights) == 0
    assert await flights.run(b"key", work) == 2  # nothing was kept


async def test_who_leaves_stops_nobody_else_and_the_last_one_stops_the_work() -> None:
    flights, work = Flights[int](), Work()
    first, *others = await start(flights, work, 3)
    first.cancel()
    await asyncio.wait([first])
    assert work.stopped == 0 and len(flights) == 1
    for task in others:
        task.cancel()
    await asyncio.wait(others)
    await asyncio.sleep(0)
    assert work.stopped == 1 and len(flights) == 0
    work.gate.set()
    assert await flights.run(b"key", work) == 2


async def test_an_error_reaches_all() -> None:
    flights = Flights[int]()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError

    answers = await asyncio.gather(*(flights.run(b"key", fail) for _ in range(5)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError] * 5
