"""Who is taken on and who is refused, before a body is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.admission import BODIES, JUDGED_PATHS, Admission, Lateness, deadline_of
from service.app import create_app
from service.errors import BadInput, Overloaded
from tests.fake_runtime import FakeLoad, FakeRuntime

WAIT_S = 1.0


def admission() -> Admission:
    return Admission(max_wait_s=WAIT_S, most_bytes=BODIES * 100)


def scope_of(path: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": path, "headers": [*headers], "query_string": b""}


async def answer_unread(runtime: FakeRuntime, scope: dict[str, Any]) -> list[dict[str, Any]]:
    """What is sent by an application whose request body must not be asked for."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    await create_app(runtime.settings, runtime=runtime)(scope, receive, send)
    return sent


@pytest.mark.parametrize("path", sorted(JUDGED_PATHS))
async def test_an_overload_is_refused_before_the_body_is_read(runtime: FakeRuntime, path: str) -> None:
    runtime.scorer.expected_wait_s = 3.2
    start, _ = await answer_unread(runtime, scope_of(path))
    assert start["status"] == 429
    assert dict(start["headers"])[b"retry-after"] == b"4"
    assert 'weir_rejections_total{code="overloaded"} 1.0' in runtime.metrics.render().decode()


async def test_each_dialect_says_it_in_its_own_way(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    runtime.scorer.expected_wait_s = 2.0
    native = (await client.post("/v1/moderate", json={"input": "x"})).json()
    openai = (await client.post("/v1/moderations", json={"input": "x"})).json()
    google = (await client.post("/v1alpha1/comments:analyze", json={})).json()
    assert native["error"]["code"] == openai["error"]["code"] == "overloaded"
    assert openai["error"]["type"] == "rate_limit_error"
    assert google["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert not runtime.seen


async def test_what_is_not_judged_is_never_refused(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    runtime.scorer = FakeLoad(60.0, 0)
    for path in ("/livez", "/readyz", "/metrics", "/v1/policy", "/docs"):
        assert (await client.get(path)).status_code == 200
    assert (await client.get("/v1/moderate")).status_code == 405


async def test_a_deadline_makes_refusal_earlier_and_never_later(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    async def status(wait_s: float, deadline_ms: str) -> int:
        runtime.scorer.expected_wait_s = wait_s
        headers = {"X-Weir-Deadline-Ms": deadline_ms}
        return (await client.post("/v1/moderate", json={"input": "x"}, headers=headers)).status_code

    assert await status(0.3, "200") == 429
    assert await status(0.3, "900") == 200
    assert await status(1.5, "9000") == 429


@pytest.mark.parametrize("given", ["", "0", "-5", "1.5", "soon", "٣", "1" * 10])
async def test_a_deadline_that_is_none_is_refused(client: httpx.AsyncClient, given: str) -> None:
    reply = await client.post("/v1/moderate", json={"input": "x"}, headers={b"X-Weir-Deadline-Ms": given.encode()})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")


@given(st.binary(max_size=12))
def test_a_deadline_is_a_bounded_time_or_bad_input(value: bytes) -> None:
    try:
        seconds = deadline_of([(b"x-weir-deadline-ms", value)], 10.0)
    except BadInput:
        return
    assert seconds is not None and 0 < seconds <= 10.0


async def test_work_beyond_its_deadline_is_given_up(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    reply = await client.post("/v1/moderate", json={"input": "wait"}, headers={"X-Weir-Deadline-Ms": "20"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "deadline_exceeded")
    assert reply.headers["retry-after"] == "1"
    await asyncio.sleep(0)
    assert (runtime.running, runtime.cancelled) == (0, 1)


async def test_as_many_requests_as_may_wait_are_in_flight(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    runtime.scorer.capacity = 5
    replies = await asyncio.gather(*(client.post("/v1/moderate", json={"input": "wait"}) for _ in range(20)))
    assert sorted(reply.status_code for reply in replies) == [200] * 5 + [429] * 15
    assert runtime.most_running == 5
    assert (await client.post("/v1/moderate", json={"input": "x"})).status_code == 200


@pytest.mark.parametrize("leave", [lambda: None, lambda: 1 / 0])
async def test_a_place_is_given_back_however_a_request_ends(leave: Callable[[], object]) -> None:
    door = admission()
    try:
        with door.admitted(FakeLoad(), 60, None):
            assert (door.requests, door.bytes) == (1, 60)
            leave()
    except ZeroDivisionError:
        pass
    assert (door.requests, door.bytes) == (0, 0)


async def test_bodies_in_flight_are_bounded_together_and_one_alone_always_fits() -> None:
    door = admission()
    with (
        door.admitted(FakeLoad(), BODIES * 100, None),
        pytest.raises(Overloaded),
        door.admitted(FakeLoad(), 1, None),
    ):
        pass
    with door.admitted(FakeLoad(), BODIES * 1000, None):  # a multipart batch of Google's
        pass


async def test_a_pause_of_the_event_loop_is_no_queue() -> None:
    lateness = Lateness()
    lateness.arm()
    lateness.arm()
    await asyncio.sleep(0.1)
    assert lateness.seconds == 0.0
