"""One thread, a bounded line before it, and a budget for each call."""

from __future__ import annotations

import asyncio
import threading

import pytest

from service.backends.owned_thread import OwnedThread
from service.errors import StoreUnavailable


async def test_calls_run_in_order_in_one_thread_of_its_own() -> None:
    thread = OwnedThread("weir-test", most_waiting=100, budget_s=60)
    seen: list[int] = []
    names = await asyncio.gather(
        *(thread.call(lambda n=n: (seen.append(n), threading.current_thread().name)[1]) for n in range(50))
    )
    assert seen == list(range(50)) and len(set(names)) == 1 and names[0].startswith("weir-test")
    await thread.close(lambda: seen.append(99))
    await thread.close(lambda: seen.append(100))
    assert seen[-1] == 99
    with pytest.raises(StoreUnavailable):
        await thread.call(lambda: None)
    assert not any(alive.name.startswith("weir-test") for alive in threading.enumerate())


async def test_what_it_raises_reaches_its_caller_alone() -> None:
    thread = OwnedThread("weir-test", most_waiting=100, budget_s=60)
    results = await asyncio.gather(
        thread.call(lambda: 1), thread.call(lambda: 1 // 0), thread.call(lambda: 2), return_exceptions=True
    )
    assert results[0] == 1 and isinstance(results[1], ZeroDivisionError) and results[2] == 2
    await thread.close(lambda: None)


async def test_waiting_is_bounded_and_so_is_time() -> None:
    held = threading.Event()
    thread = OwnedThread("weir-test", most_waiting=2, budget_s=0.05)
    try:
        slow = [asyncio.create_task(thread.call(held.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="Too much"):
            await thread.call(lambda: None)
        for given_up in slow:
            with pytest.raises(StoreUnavailable, match="in time"):
                await given_up
        with pytest.raises(StoreUnavailable, match="Too much"):  # what still runs takes up its place
            await thread.call(lambda: None)
    finally:
        held.set()
    async with asyncio.timeout(60):
        while True:
            try:
                assert await thread.call(lambda: 7) == 7
                break
            except StoreUnavailable:
                await asyncio.sleep(0.01)
    await thread.close(lambda: None)
