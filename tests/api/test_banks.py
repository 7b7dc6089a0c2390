"""/v1/images/banks: lists made, filled, listed, emptied and deleted, by whom, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.backends.sqlite_store import SqliteStore
from service.config import Settings
from service.images.bank_desk import MOST_AT_ONCE, BankDesk
from service.images.live_banks import LiveBanks
from service.images.reading import Frame, Reading
from tests.fake_runtime import FakeRuntime

BANKS = "/v1/images/banks"
GORE = {"category": "violence/graphic", "action": "block"}


def digits(n: int) -> str:
    return hashlib.sha256(b"%d" % n).hexdigest()


class Desk:
    """A client with a real store behind it."""

    def __init__(self, client: httpx.AsyncClient, live: LiveBanks) -> None:
        self.client, self.live = client, live

    async def ask(self, method: str, path: str = "", status: int = 200, **more: Any) -> Any:
        reply = await self.client.request(method, BANKS + path, **more)
        assert reply.status_code == status, reply.text
        return reply.json() if reply.content else None

    async def on(self, n: int) -> list[str]:
        frame = Frame(hashes=(bytes.fromhex(digits(n)),), quality=100)
        return [match.bank for match in await self.live.match(Reading(b"\0" * 32, 9, 9, "PNG", (frame,)))]


async def opened(**settings: Any) -> AsyncIterator[Desk]:
    store = await SqliteStore.open(None)
    runtime = FakeRuntime(Settings(**settings))
    live = LiveBanks(store.banks, runtime.metrics)
    runtime.banks = BankDesk(store, live.refresh)  # type: ignore[attr-defined]
    transport = httpx.ASGITransport(create_app(runtime.settings, runtime=runtime))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield Desk(client, live)
    await store.close()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async for one in opened():
        yield one


async def test_a_list_from_its_making_to_its_end(desk: Desk) -> None:
    assert await desk.ask("GET") == {"banks": []}
    made = await desk.ask("PUT", "/gore", json=GORE | {"description": "what was reported"})
    assert made == {"name": "gore", **GORE, "description": "what was reported", "hashes": 0, "revision": 0}
    for description in ("half a pair \ud800", "two\nlines"):
        await desk.ask("PUT", "/gore", 400, content=json.dumps(GORE | {"description": description}))
    put = {"hashes": [{"hash": f"pdq:{digits(1)}", "note": "n"}, {"hash": digits(2).upper(), "kind": "sha256"}]}
    assert await desk.ask("PUT", "/gore/hashes", json=put) == {"added": 2, "unchanged": 0}
    assert await desk.ask("PUT", "/gore/hashes", json=put) == {"added": 0, "unchanged": 2}
    assert await desk.on(1) == ["gore"] and await desk.on(2) == []
    listed = [{"hash": digits(1), "kind": "pdq", "note": "n"}, {"hash": digits(2), "kind": "sha256", "note": ""}]
    assert await desk.ask("GET", "/gore/hashes") == {"hashes": listed, "next": None}
    assert await desk.ask("DELETE", f"/gore/hashes/pdq:{digits(1)}") == {"removed": 1}
    assert await desk.on(1) == []
    whole = await desk.ask("GET", "/gore")
    assert (whole["hashes"], whole["revision"]) == (1, 3)
    assert [e["kind"] for e in whole["trail"]] == ["hashes_removed", "hashes_put", "bank_set"]
    assert {e["actor"] for e in whole["trail"]} == {"local"}
    assert await desk.ask("DELETE", "/gore", 204) is None
    for method, path in (("GET", "/gore"), ("DELETE", "/gore"), ("GET", "/gore/hashes")):
        assert (await desk.ask(method, path, 404))["error"]["code"] == "unknown_bank"


async def test_a_changed_list_keeps_its_hashes(desk: Desk) -> None:
    await desk.ask("PUT", "/gore", json=GORE)
    await desk.ask("PUT", "/gore/hashes?kind=pdq", json={"hashes": [{"hash": digits(1)}]})
    changed = await desk.ask("PUT", "/gore", json={"category": "violence", "action": "review"})
    assert (changed["category"], changed["action"], changed["hashes"]) == ("violence", "review", 1)
    frame = Frame(hashes=(bytes.fromhex(digits(1)),), quality=100)
    (match,) = await desk.live.match(Reading(b"\0" * 32, 9, 9, "PNG", (frame,)))
    assert (match.category, match.action.wire) == ("violence", "review")


async def test_a_file_may_be_sent_as_it_is(desk: Desk) -> None:
    await desk.ask("PUT", "/gore", json=GORE)
    file = f'\ufeff# reported\npdq,quality,note\n{digits(1)},100,"a, b"\n\n{digits(2)},49,flat\n{digits(3)},50,\n'
    headers = {"content-type": "text/csv; charset=utf-8"}
    done = await desk.ask("PUT", "/gore/hashes", content=file.encode(), headers=headers)
    assert done == {"added": 2, "unchanged": 0}
    listed = (await desk.ask("GET", "/gore/hashes"))["hashes"]
    assert [(one["hash"], one["note"]) for one in listed] == [(digits(1), "a, b"), (digits(3), "")]
    assert await desk.ask("DELETE", "/gore/hashes?kind=pdq", content=digits(3), headers=headers) == {"removed": 1}


async def test_a_long_list_comes_in_pages(desk: Desk) -> None:
    await desk.ask("PUT", "/gore", json=GORE)
    await desk.ask("PUT", "/gore/hashes", json={"hashes": [{"hash": f"pdq:{digits(n)}"} for n in range(7)]})
    await desk.ask("DELETE", f"/gore/hashes/pdq:{digits(4)}")
    found: list[str] = []
    after: int | None = 0
    while after is not None:
        page = await desk.ask("GET", f"/gore/hashes?after={after}&limit=3")
        found += [one["hash"] for one in page["hashes"]]
        after = page["next"]
    assert found == [digits(n) for n in range(7) if n != 4]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/Gore", GORE, 400, "invalid_request"),
        ("/gore", {**GORE, "category": "kindness"}, 400, "invalid_request"),
        ("/gore", {**GORE, "action": "allow"}, 400, "invalid_request"),
        ("/gore", {**GORE, "color": 1}, 400, "invalid_request"),
        ("/gore", {"category": "hate"}, 400, "invalid_request"),
        ("/nowhere/hashes", {"hashes": [{"hash": f"pdq:{digits(1)}"}]}, 404, "unknown_bank"),
        ("/there/hashes", {"hashes": []}, 400, "invalid_request"),
        ("/there/hashes", {"hashes": [{"hash": digits(1)}]}, 400, "invalid_request"),
        ("/there/hashes", {"hashes": [{"hash": "pdq:abc"}]}, 400, "invalid_request"),
        ("/there/hashes", {"hashes": [{"hash": f"md5:{digits(1)}"}]}, 400, "invalid_request"),
        ("/there/hashes", {"hashes": [{"hash": f"pdq:{digits(1)}", "note": "a\nb"}]}, 400, "invalid_request"),
        ("/there/hashes?kind=md5", {"hashes": [{"hash": digits(1)}]}, 400, "invalid_request"),
        ("/there/hashes", {"hashes": [{"hash": f"pdq:{digits(1)}"}] * (MOST_AT_ONCE + 1)}, 413, "too_many_items"),
    ],
)
async def test_what_is_wrong_is_refused(desk: Desk, path: str, body: Any, status: int, code: str) -> None:
    await desk.ask("PUT", "/there", json=GORE)
    assert (await desk.ask("PUT", path, status, json=body))["error"]["code"] == code
    assert (await desk.ask("GET", "/there"))["hashes"] == 0


async def test_only_an_admin_of_everything_sees_and_changes_lists() -> None:
    def key(name: str, policies: str = "") -> str:
        return f"{name}:{hashlib.sha256(name.encode()).hexdigest()}:{policies}"

    async for desk in opened(api_keys=key("caller"), admin_keys=f"{key('root')},{key('bound', 'kids')}"):
        for name, status in (("caller", 403), ("bound", 403), ("nobody", 401), ("root", 200)):
            headers = {"authorization": f"Bearer {name}"}
            await desk.ask("GET", "", status, headers=headers)
            await desk.ask("PUT", "/gore", status, json=GORE, headers=headers)
        assert (await desk.ask("GET", "/gore", headers=headers))["trail"][0]["actor"] == "root"
