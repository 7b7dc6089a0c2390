"""The promises that stand in the batcher's docstring."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.backends import batcher as batcher_module
from service.backends.batcher import Batcher
from service.errors import DeadlineExceeded, Overloaded, ScorerFailed
from service.metrics import Metrics

PATIENCE_S = 10.0  # nothing here takes long; whoever waits this long hangs


class Work:
    """Answers in capitals. An item that begins with `hold` waits for the gate, `bad` fails, `die` kills its worker."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.seen: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, item: str) -> str:
        with self._changed:
            self.seen.append(item)
            self._changed.notify_all()
        if item.startswith("hold") and not self.gate.wait(PATIENCE_S):
            raise AssertionError("nobody opened the gate")
        if item.startswith("bad"):
            raise ValueError(item)
        if item.startswith("die"):
            raise KeyboardInterrupt
        return item.upper()

    async def has_begun(self, *items: str) -> None:
        """Return when workers have taken those items."""

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: set(items) <= set(self.seen), PATIENCE_S)

        assert await asyncio.to_thread(wait), f"{items} were not begun"


@asynccontextmanager
async def opened(work: Work, workers: int = 1, max_items: int = 8) -> AsyncIterator[Batcher[str, str]]:
    """A batcher around that work, closed at the end whatever happens; nobody may hang."""
    async with asyncio.timeout(PATIENCE_S):
        batcher = Batcher(work, workers=workers, max_items=max_items, metrics=Metrics())
        try:
            yield batcher
        finally:
            work.gate.set()
            await batcher.close()


async def put(batcher: Batcher[str, str], *items: str) -> asyncio.Task[list[str]]:
    """A submit that has got as far as it can without a worker."""
    task = asyncio.create_task(batcher.submit(items))
    await asyncio.sleep(0)
    return task


async def outcomes(*tasks: asyncio.Task[list[str]]) -> list[list[str] | BaseException]:
    """What became of them."""
    return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("workers", [1, 3])
async def test_results_stand_in_the_order_of_the_items(workers: int) -> None:
    async with opened(Work(), workers, max_items=400) as batcher:
        items = [f"item {n}" for n in range(100)]
        assert await batcher.submit(items) == [item.upper() for item in items]
        assert await batcher.submit([]) == []


async def test_waiting_is_bounded_and_refused_at_once() -> None:
    work = Work()
    async with opened(work, max_items=4) as batcher:
        held = await put(batcher, "hold")
        await work.has_begun("hold")
        waiting = [await put(batcher, f"item {n}") for n in range(4)]
        assert batcher.depth == 4
        refused = await put(batcher, "one too many")
        assert refused.done() and isinstance(refused.exception(), Overloaded)  # the gate is still closed
        work.gate.set()
        assert await outcomes(held, *waiting) == [["HOLD"], *([f"ITEM {n}"] for n in range(4))]
        assert await batcher.submit(["again"]) == ["AGAIN"]
    assert "one too many" not in work.seen


async def test_one_submit_never_holds_more_than_a_quarter_of_the_queue() -> None:
    depths: list[int] = []
    work = Work()

    def compute(item: str) -> str:
        depths.append(batcher.depth)
        return work(item)

    async with asyncio.timeout(PATIENCE_S):
        batcher = Batcher(compute, workers=1, max_items=16, metrics=Metrics())
        held = await put(batcher, "hold", *(f"item {n}" for n in range(99)))
        work.gate.set()
        assert len(await held) == 100
        await batcher.close()
    assert max(depths) <= 4


async def test_a_short_request_does_not_stand_behind_a_long_one() -> None:
    work = Work()
    async with opened(work, max_items=16) as batcher:
        held = await put(batcher, "hold")
        await work.has_begun("hold")
        long = await put(batcher, *(f"item {n}" for n in range(100)))
        short = await put(batcher, "short")
        work.gate.set()
        assert await short == ["SHORT"]
        assert not long.done()
        await asyncio.wait([held, long])
    assert work.seen.index("short") <= 4  # at the latest after the slice that was there before it


async def test_what_nobody_waits_for_any_more_is_not_computed() -> None:
    work = Work()
    async with opened(work) as batcher:
        held = await put(batcher, "hold")
        gone = await put(batcher, "gone", "gone too")
        stays = await put(batcher, "stays")
        gone.cancel()
        await asyncio.wait([gone])
        work.gate.set()
        assert await outcomes(held, stays) == [["HOLD"], ["STAYS"]]
        assert gone.cancelled()
    assert work.seen == ["hold", "stays"]


async def test_whoever_ran_out_of_time_is_not_computed_either() -> None:
    work = Work()
    async with opened(work) as batcher:
        held = await put(batcher, "hold")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await batcher.submit(["late"])
        work.gate.set()
        await held
        await batcher.submit(["after"])
    assert work.seen == ["hold", "after"]


async def test_those_who_went_away_leave_room() -> None:
    work = Work()
    async with opened(work, max_items=4) as batcher:
        held = await put(batcher, "hold")
        gone = [await put(batcher, "gone") for _ in range(4)]
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        comes = await put(batcher, "comes")
        work.gate.set()
        assert await outcomes(held, comes) == [["HOLD"], ["COMES"]]


async def test_the_result_of_an_item_whose_caller_left_while_it_ran_is_dropped() -> None:
    work = Work()
    async with opened(work) as batcher:
        held = await put(batcher, "hold")
        await work.has_begun("hold")
        held.cancel()
        await asyncio.wait([held])
        work.gate.set()
        assert await batcher.submit(["next"]) == ["NEXT"]
        assert batcher.alive


@pytest.mark.parametrize("workers", [1, 2])
async def test_an_exception_reaches_only_its_item(workers: int) -> None:
    work = Work()
    async with opened(work, workers) as batcher:
        tasks = [await put(batcher, item) for item in ("a", "bad", "b", "bad again", "c")]
        a, bad, b, again, c = await outcomes(*tasks)
        assert (a, b, c) == (["A"], ["B"], ["C"])
        assert isinstance(bad, ValueError) and isinstance(again, ValueError) and str(again) == "bad again"
        assert batcher.alive
        assert await batcher.submit(["after"]) == ["AFTER"]


async def test_one_bad_item_of_many_fails_its_own_submit_only() -> None:
    async with opened(Work(), max_items=40) as batcher:
        mixed, other = await put(batcher, "a", "bad", "bad", "b"), await put(batcher, "c")
        failed, answered = await outcomes(mixed, other)
        assert isinstance(failed, ValueError) and answered == ["C"]


async def test_a_worker_that_dies_leaves_nobody_waiting() -> None:
    work = Work()
    async with opened(work) as batcher:
        assert batcher.alive
        tasks = [await put(batcher, item) for item in ("hold", "die", "a", "b")]
        await work.has_begun("hold")
        work.gate.set()
        held, *others = await outcomes(*tasks)
        assert held == ["HOLD"]
        assert [type(other) for other in others] == [ScorerFailed] * 3
        assert not batcher.alive
        with pytest.raises(ScorerFailed):
            await batcher.submit(["later"])
    assert work.seen == ["hold", "die"]


async def test_what_the_other_worker_holds_is_answered_when_one_dies() -> None:
    work = Work()
    async with opened(work, workers=2) as batcher:
        held = await put(batcher, "hold")
        await work.has_begun("hold")
        died = await put(batcher, "die")
        assert isinstance((await outcomes(died))[0], ScorerFailed)
        assert not batcher.alive and not held.done()
        work.gate.set()
        assert await held == ["HOLD"]


async def test_closing_answers_all_that_was_accepted_and_takes_nothing_new() -> None:
    work = Work()
    async with opened(work) as batcher:
        held, waits = await put(batcher, "hold"), await put(batcher, *(f"item {n}" for n in range(7)))
        await work.has_begun("hold")
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(ScorerFailed):
            await batcher.submit(["later"])
        assert not batcher.alive and not held.done() and not closing.done()
        work.gate.set()
        assert await outcomes(held, waits) == [["HOLD"], [f"ITEM {n}" for n in range(7)]]  # slices of two
        await closing
        with pytest.raises(ScorerFailed):
            await batcher.submit(["later"])
    assert "later" not in work.seen


async def test_closing_ends_the_threads() -> None:
    before = set(threading.enumerate())
    async with opened(Work(), workers=3) as batcher:
        await batcher.submit(["a"])
        assert sum(t.name.startswith("weir-worker") for t in set(threading.enumerate()) - before) == 3
    assert not any(t.name.startswith("weir-worker") for t in set(threading.enumerate()) - before)


async def test_a_worker_that_hangs_does_not_keep_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher_module, "JOIN_S", 0.01)
    work = Work()
    async with opened(work) as batcher:
        held = await put(batcher, "hold")
        await work.has_begun("hold")
        await batcher.close()
        assert isinstance((await outcomes(held))[0], ScorerFailed)
        monkeypatch.undo()


async def test_the_metrics_say_how_many_wait() -> None:
    work, metrics = Work(), Metrics()
    async with asyncio.timeout(PATIENCE_S):
        batcher = Batcher(work, workers=1, max_items=8, metrics=metrics)
        tasks = [await put(batcher, "hold")]
        await work.has_begun("hold")
        tasks += [await put(batcher, item) for item in ("a", "b")]
        assert metrics.registry.get_sample_value("weir_queue_depth") == 2
        work.gate.set()
        await outcomes(*tasks)
        assert metrics.registry.get_sample_value("weir_queue_depth") == 0
        await batcher.close()


async def test_one_poisonous_item_of_32_is_one_error_and_31_answers() -> None:
    async with opened(Work(), workers=2, max_items=64) as batcher:
        tasks = [await put(batcher, "bad" if n == 7 else f"item {n}") for n in range(32)]
        answers = await outcomes(*tasks)
        assert [n for n, answer in enumerate(answers) if isinstance(answer, ValueError)] == [7]
        assert sum(isinstance(answer, list) for answer in answers) == 31


async def test_what_is_over_its_budget_is_not_computed() -> None:
    work = Work()
    async with asyncio.timeout(PATIENCE_S):
        batcher: Batcher[str, str] = Batcher(work, workers=1, max_items=8, metrics=Metrics(), budget_s=0.05)
        held = await put(batcher, "hold")
        await work.has_begun("hold")
        late = await put(batcher, "late")
        await asyncio.sleep(0.06)
        work.gate.set()
        assert await held == ["HOLD"]
        assert isinstance((await outcomes(late))[0], DeadlineExceeded)
        await batcher.close()
    assert work.seen == ["hold"]


async def test_equal_items_in_flight_are_joined_and_outlive_whoever_came_first() -> None:
    work = Work()
    async with opened(work) as batcher:
        held = await put(batcher, "hold")
        await work.has_begun("hold")
        first, second = (asyncio.create_task(batcher.submit(["same"], [b"key"])) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        work.gate.set()
        assert await second == ["SAME"] and await held == ["HOLD"]
    assert work.seen.count("same") == 1
