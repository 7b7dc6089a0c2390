"""The process that looks at images: started late, bounded, replaced when it dies, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.errors import Overloaded
from service.images.errors import ImageFailed
from service.images.eyes import Eyes
from service.images.limits import Limits, Undecodable
from service.images.reading import Reading
from service.images.worker import Options
from service.metrics import Metrics
from tests.images.pictures import card, plain
from tests.images.processes import PATIENCE_S, lookers, wait_until_gone

ROOT = Path(__file__).resolve().parent.parent.parent


@asynccontextmanager
async def open_eyes(
    *, wall_s: float = 60.0, most_waiting: int = 8, most_bytes: int = 1 << 20, **more: Any
) -> AsyncIterator[Eyes]:
    metrics = Metrics()
    made = Eyes(
        Options(Limits(), cpu_s=60.0, wall_s=wall_s, **more),
        b"secret" * 6,
        scoped=True,
        most_bytes=most_bytes,
        most_waiting=most_waiting,
        metrics=metrics,
        start_s=120.0,
    )
    try:
        yield made
    finally:
        await made.close()
    assert lookers() == []


def words(reading: Reading) -> str:
    return " ".join(line.text for frame in reading.frames for line in frame.lines)


def count(eyes: Eyes, name: str, **labels: str) -> float:
    return eyes._metrics.registry.get_sample_value(name, labels) or 0.0


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.005)


async def failure(work: Awaitable[object]) -> type[Exception]:
    with pytest.raises(Exception) as caught:
        await work
    return caught.type


async def test_an_image_is_decoded_hashed_and_read_and_the_reading_is_kept_for_its_caller() -> None:
    async with open_eyes(side=8) as eyes:
        assert lookers() == []
        file = card("HELLO THERE")
        reading = await eyes.look(file, "ada")
        assert "HELLO" in words(reading).upper().replace(" ", "")
        assert (reading.width, reading.height, reading.format) == (512, 256, "PNG")
        (frame,) = reading.frames
        assert len(frame.hashes) == 8 and len(frame.pixels) == 8 * 8 * 3
        (pid,) = lookers()
        os.kill(pid, signal.SIGSTOP)  # whatever is answered now was kept
        assert await eyes.look(file, "ada") == reading
        os.kill(pid, signal.SIGCONT)
        assert await eyes.look(file, "bob") == reading
        assert count(eyes, "weir_cache_hits_total", tier="images") == 1
        with pytest.raises(Undecodable) as refused:
            await eyes.look(b"<svg/>")
        assert refused.value.why == "format" and lookers() == [pid]


async def test_three_at_once_are_answered_equal_ones_together_and_more_than_may_wait_are_refused() -> None:
    async with open_eyes(most_waiting=3) as eyes:
        await eyes.look(plain())
        (pid,) = lookers()
        os.kill(pid, signal.SIGSTOP)
        files = [plain((60 + n, 40)) for n in range(4)]
        first = asyncio.create_task(eyes.look(files[0]))
        await until(lambda: not eyes._line and eyes._flights.flying(eyes._digest(files[0], "")))
        others = [asyncio.create_task(eyes.look(file)) for file in (*files[1:], files[1])]
        await until(lambda: len(eyes._line) == 3)
        assert await failure(eyes.look(plain((90, 40)))) is Overloaded
        assert await failure(eyes.look(plain((91, 40)), None)) is Overloaded
        left = others.pop(2)
        left.cancel()
        await asyncio.wait([left])
        await until(lambda: len(eyes._line) == 2)  # nobody waits for it any more
        os.kill(pid, signal.SIGCONT)
        found = await asyncio.gather(first, *others)
        assert [reading.width for reading in found] == [60, 61, 62, 61]
        assert count(eyes, "weir_joins_total", level="images") == 1
        assert lookers() == [pid]


async def test_who_dies_of_an_image_is_replaced_and_an_image_that_kills_twice_is_not_tried_again() -> None:
    async with open_eyes() as eyes:
        await eyes.look(plain())
        bad, good = card("bad"), plain((50, 50))
        (pid,) = lookers()
        os.kill(pid, signal.SIGSTOP)
        tasks = [asyncio.create_task(eyes.look(file)) for file in (bad, good)]
        await until(lambda: len(eyes._line) == 1)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: count(eyes, "weir_image_starts_total") == 2)
        os.kill(lookers()[0], signal.SIGKILL)
        assert await failure(tasks[0]) is ImageFailed
        assert (await tasks[1]).width == 50
        standing = lookers()
        assert await failure(eyes.look(bad)) is ImageFailed
        assert lookers() == standing
        assert count(eyes, "weir_image_failures_total", how="died") == 2
        assert count(eyes, "weir_image_starts_total") == 3


async def test_an_image_at_hand_when_the_process_is_killed_is_looked_at_by_the_next() -> None:
    async with open_eyes() as eyes:
        await eyes.look(plain())
        (pid,) = lookers()
        os.kill(pid, signal.SIGSTOP)
        task = asyncio.create_task(eyes.look(plain((50, 50))))
        await until(lambda: eyes._arrived.is_set() and not eyes._line)
        os.kill(pid, signal.SIGKILL)
        assert (await task).width == 50 and lookers() != [pid]


async def test_who_hangs_is_ended() -> None:
    async with open_eyes(wall_s=2.0) as eyes:
        await eyes.look(plain())
        (pid,) = lookers()
        os.kill(pid, signal.SIGSTOP)
        assert await failure(eyes.look(plain((50, 50)))) is ImageFailed
        assert lookers() == [] and wait_until_gone(pid)
        assert count(eyes, "weir_image_failures_total", how="hung") == 1


async def test_closing_fails_whoever_waits() -> None:
    async with open_eyes() as eyes:
        await eyes.look(plain())
        os.kill(lookers()[0], signal.SIGSTOP)
        tasks = [asyncio.create_task(eyes.look(plain((50 + n, 50)))) for n in range(3)]
        await until(lambda: len(eyes._line) == 2)
        await eyes.close()
        assert [await failure(task) for task in tasks] == [ImageFailed] * 3
        assert await failure(eyes.look(card("new"))) is ImageFailed


async def test_a_process_that_does_not_start_is_not_started_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_eyes() as eyes:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        assert await failure(eyes.look(plain())) is ImageFailed
        monkeypatch.undo()
        assert await failure(eyes.look(plain())) is ImageFailed  # it waits a little first
        assert count(eyes, "weir_image_failures_total", how="start") == 1
        await asyncio.sleep(1.1)
        assert (await eyes.look(plain())).width == 64


def test_it_ends_with_whoever_started_it_even_in_the_middle_of_an_image() -> None:
    script = textwrap.dedent("""
        import asyncio, os, sys
        from tests.images.test_eyes import open_eyes
        from tests.images.pictures import plain
        from tests.images.processes import lookers
        async def main():
            async with open_eyes() as eyes:
                await eyes.look(plain())
                print(*lookers(), flush=True)
                await asyncio.sleep(600)
        asyncio.run(main())
    """)
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as said:
        pid = int(said.readline())
    os.kill(pid, signal.SIGSTOP)
    process.kill()
    process.wait()
    assert wait_until_gone(pid)


async def test_no_setting_and_no_secret_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_SECRET", "hidden")
    async with open_eyes() as eyes:
        await eyes.look(plain())
        (pid,) = lookers()
        given = Path(f"/proc/{pid}/environ").read_bytes()  # noqa: ASYNC240
        assert b"hidden" not in given and b"WEIR_" not in given
        limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")  # noqa: ASYNC240
        assert "Max core file size        0" in limits
        assert "Max address space         unlimited" not in limits
        assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)


async def test_memory_is_bounded_and_what_has_no_room_fails_alone() -> None:
    async with open_eyes(memory_bytes=270 << 20) as eyes:
        assert (await eyes.look(plain())).width == 64
        assert await failure(eyes.look(plain((5_800, 4_100), mode="RGBA"))) is ImageFailed
        assert (await eyes.look(plain((50, 50)))).width == 50
