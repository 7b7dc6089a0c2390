"""A stop under load: whoever was taken on is answered, and whoever comes later is told to go elsewhere."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from tests.running import FAKE_WEIR, Running

CALLERS = 8
MOST = 400  # requests of one caller, which never sees so many


def ask_until_draining(url: str, answered: list[int]) -> list[int]:
    """Statuses, one request after the other, up to the 503 that says to find another replica."""
    statuses: list[int] = []
    with httpx.Client(timeout=60) as client:
        while len(statuses) < MOST and 503 not in statuses:
            text = "please wait" if len(statuses) % 3 == 0 else "an insult"
            reply = client.post(f"{url}/v1/moderate", json={"input": text})
            statuses.append(reply.status_code)
            answered.append(reply.status_code)
            assert reply.status_code == 200 or reply.json()["error"]["code"] == "draining"
            assert reply.status_code == 200 or reply.headers["connection"] == "close"
    return statuses


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_request_that_was_taken_on_is_answered(workers: str) -> None:
    with (
        Running(WEIR_WORKERS=workers, WEIR_DRAIN_S="3") as running,
        concurrent.futures.ThreadPoolExecutor(CALLERS) as pool,
    ):
        answered: list[int] = []
        asking = [pool.submit(ask_until_draining, running.url, answered) for _ in range(CALLERS)]
        while len(answered) < 3 * CALLERS and not any(future.done() for future in asking):
            time.sleep(0.01)
        assert running.stop(signal.SIGTERM) == 0
        answers = [future.result() for future in asking]
    for statuses in answers:
        assert statuses[-1] == 503 and set(statuses[:-1]) <= {200}
    assert sum(map(len, answers)) > 3 * CALLERS


def test_a_start_that_is_told_to_end_ends_where_the_signal_means_nothing_by_itself() -> None:
    # As process 1 of a container, for which the system's default is to pass over it.
    starting = subprocess.Popen(
        [sys.executable, str(FAKE_WEIR), "serve"],
        env={**os.environ, "WEIR_PORT": "0", "WEIR_LOG_FORMAT": "json"},
        preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),  # noqa: PLW1509 - no thread runs here
        stderr=subprocess.PIPE,
        text=True,
    )
    while starting.poll() is None:
        starting.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    _, told = starting.communicate()
    assert starting.returncode == 128 + signal.SIGTERM and "listening" not in told
