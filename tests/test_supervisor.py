"""Several processes that answer on one socket: their numbers, their ends and their beginnings."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.config import Settings
from service.supervisor import Supervisor
from tests.running import START_S, Running

STATEFUL_WEIR = Path(__file__).resolve().parent / "stateful_weir.py"


def until(true: Callable[[], object]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + START_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def samples(url: str) -> dict[str, float]:
    """Every sample of /metrics, by its line."""
    text = httpx.get(f"{url}/metrics").text
    families = text_string_to_metric_families(text)
    return {f"{s.name}{sorted(s.labels.items())}": s.value for family in families for s in family.samples}


def value(url: str, name: str, **labels: str) -> float:
    return samples(url).get(f"{name}{sorted(labels.items())}", 0.0)


def children(running: Running) -> list[int]:
    """Process ids of the workers."""
    pid = running.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def post(url: str, text: str = "an insult") -> int:
    return httpx.post(f"{url}/v1/moderate", json={"input": text}).status_code


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two workers over one store."""
    data = str(tmp_path_factory.mktemp("data"))
    with Running(STATEFUL_WEIR, WEIR_WORKERS="2", WEIR_DATA_DIR=data, WEIR_DRAIN_S="0.3") as running:
        until(lambda: value(running.url, "weir_workers") == 2)
        yield running


def test_the_numbers_of_two_workers_add_up_to_what_was_sent(two: Running) -> None:
    before = samples(two.url)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: post(two.url), range(60)))
        statuses += list(pool.map(lambda _: post(two.url, ""), range(20)))
    assert sorted(set(statuses)) == [200, 400]
    rise = {line: number - before.get(line, 0.0) for line, number in samples(two.url).items()}
    moderate = ("route", "/v1/moderate")
    assert rise[f"weir_requests_total{[moderate, ('status', '200')]}"] == 60
    assert rise[f"weir_requests_total{[moderate, ('status', '400')]}"] == 20
    assert rise[f"weir_request_seconds_count{[moderate]}"] == 80
    assert rise[f"weir_verdicts_total{[('action', 'block')]}"] == 60
    assert rise[f"weir_flags_total{[('category', 'harassment')]}"] == 60
    assert rise[f"weir_rejections_total{[('code', 'empty_input')]}"] == 20
    seen = {line.count('"worker": 0') + 2 * line.count('"worker": 1') for line in two.log().splitlines()}
    assert {1, 2} <= seen


def test_either_worker_shows_the_whole(two: Running) -> None:
    totals = {value(two.url, "weir_verdicts_total", action="block") for _ in range(10)}
    assert len(totals) == 1
    assert value(two.url, "weir_store_up") == 1
    assert value(two.url, "weir_queue_depth") == 0
    assert value(two.url, "weir_policy_info", policy="default", preset="balanced", version=version(two.url)) == 1


def version(url: str) -> str:
    return str(httpx.get(f"{url}/v1/policy").json()["version"])


def test_thresholds_reach_every_worker(two: Running) -> None:
    tag = httpx.get(f"{two.url}/v1/policies/default").headers["etag"]
    lines = {"harassment": {"flag": 0.95, "review": 0.96, "block": 0.97}}
    reply = httpx.put(
        f"{two.url}/v1/policies/default/thresholds", json={"categories": lines}, headers={"If-Match": tag}
    )
    assert reply.status_code == 200, reply.text
    until(lambda: {httpx.get(f"{two.url}/v1/policies/default").headers["etag"] for _ in range(10)} - {tag})
    until(lambda: len({version(two.url) for _ in range(20)}) == 1)
    info = [line for line, number in samples(two.url).items() if line.startswith("weir_policy_info") and number]
    assert len([line for line in info if "'default'" in line]) == 1


def test_a_worker_that_dies_is_replaced_and_its_counts_stay(two: Running) -> None:
    before = value(two.url, "weir_verdicts_total", action="block")
    assert before > 0
    victim = children(two)[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(children(two)) == 2 and victim not in children(two))
    until(lambda: value(two.url, "weir_workers") == 2)
    assert value(two.url, "weir_worker_restarts_total") == 1
    assert value(two.url, "weir_verdicts_total", action="block") == before
    assert re.search(r'"msg": "a worker ended; it is started again".*"exit": -9', two.log())


def test_sigterm_drains_every_worker(two: Running) -> None:
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(post, two.url, "please wait") for _ in range(6)]
        until(lambda: 'status="200"' in httpx.get(f"{two.url}/metrics").text)
        time.sleep(0.1)
        pids = children(two)
        assert two.stop(signal.SIGTERM) == 0
        assert {future.result() for future in waiting} <= {200, 503}
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_start_that_is_refused_is_told_once_and_ends(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environ = {"WEIR_WORKERS": "3", "WEIR_PORT": "0", "WEIR_DATA_DIR": str(tmp_path / "file" / "data")}
    command = [sys.executable, str(STATEFUL_WEIR), "serve"]
    ended = subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=START_S, check=False
    )
    assert (ended.returncode, ended.stderr.count("weir: ")) == (2, 1), ended.stderr


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    with Running(WEIR_WORKERS="2", WEIR_DRAIN_S="0.1") as running:
        until(lambda: value(running.url, "weir_workers") == 2)
        pids = children(running)
        assert len(pids) == 2
        running.process.kill()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        assert running.process.wait() == -signal.SIGKILL


WORKER = """
import os, sys, time
slot, _, lifeline = sys.argv[2].split(":")
if slot == "0":
    os.rename({command!r}, {command!r} + ".away")
open({folder!r} + "/" + slot, "w").close()
os.write(int(lifeline), b"1")
time.sleep(60)
"""


async def test_a_worker_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    command = tmp_path / "python"
    command.symlink_to(sys.executable)  # as while an environment is made anew under a running service
    script = WORKER.format(command=str(command), folder=str(tmp_path))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        settings = Settings(workers=2, drain_s=0)
        running = Supervisor(settings, [str(command), "-c", script], listening, tmp_path)
        served = asyncio.create_task(running.run())
        async with asyncio.timeout(START_S):
            while not (tmp_path / "python.away").exists():  # noqa: ASYNC110 - a file tells, and nothing else
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)
            assert not served.done() and not (tmp_path / "1").exists()
            (tmp_path / "python.away").rename(command)
            while not (tmp_path / "1").exists():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
            running._drain()
            assert await served == 0
