"""Images through the whole service: bombs get the right error or a verdict, and it stays up; then it leaves nothing."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.images.pictures import bombs, card, plain
from tests.images.processes import lookers, wait_until_gone
from tests.serving import Served, serving

# What comes of each: an error's status and code, else what the verdict lacks besides the visual classifier.
EXPECTED: dict[str, tuple[int, str]] = {
    "jpeg of 81 megapixels": (413, "image_too_large"),
    "png of one bit, 169 megapixels": (413, "image_too_large"),
    "png that claims 400 megapixels": (413, "image_too_large"),
    "png that claims a line of 2e9": (413, "image_too_large"),
    "compressed text of 200 MB": (200, "image:undecodable"),
    "compressed profile of 200 MB": (200, "image:undecodable"),
    "international text of 200 MB": (200, "image:undecodable"),
    "truncated jpeg": (200, "image:undecodable"),
    "truncated png": (200, "image:undecodable"),
    "jpeg with a web page after it": (200, ""),
    "gif of 600 frames": (200, "image:partial"),
    "eps called jpeg": (400, "unsupported_image"),
    "svg": (400, "unsupported_image"),
    "tiff": (400, "unsupported_image"),
    "bmp": (400, "unsupported_image"),
    "5000 x 20": (400, "unsupported_image"),
    "cmyk": (200, ""),
    "one pixel": (200, ""),
    "only the first bytes": (200, "image:undecodable"),
    "text": (400, "unsupported_image"),
    "empty": (400, "invalid_request"),
}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    # A busy machine is no failure.
    with serving(WEIR_IMAGE_BUDGET_S="60", WEIR_REQUEST_BUDGET_S="120", WEIR_MAX_WAIT_S="60") as running:
        for _ in range(10):  # until its process is warm
            if post(running, card("hello")).json().get("degraded") == ["visual:not_scanned"]:
                break
        yield running


def post(served: Served, *images: bytes, text: str | None = None) -> httpx.Response:
    body: dict[str, Any] = {"images": [{"data": base64.b64encode(image).decode()} for image in images]}
    if text is not None:
        body["input"] = text
    return httpx.post(f"{served.url}/v1/moderate", json=body, timeout=120)


def test_text_in_an_image_is_judged_with_its_place(served: Served) -> None:
    reply = post(served, plain(), card("I will kill you\nand your family")).json()
    assert reply["action"] == "block" and reply["degraded"] == ["visual:not_scanned"]
    found = next(one for one in reply["findings"] if one["category"] == "violence")
    assert found["image"] == 1 and found["box"]["width"] > 100 and "span" not in found
    assert reply["confidence"] > 0.5 and "nudity" in reply["explanation"]
    assert reply["explanation"].startswith("Blocked: the image looks like")
    assert post(served, plain(), card("I will kill you\nand your family")).json()["cached"]
    harmless = post(served, card("have a lovely day"), text="good morning").json()
    assert harmless["action"] == "allow" and harmless["degraded"] == ["visual:not_scanned"]


def test_every_bomb_gets_its_error_or_a_verdict_that_is_no_allow(served: Served) -> None:
    (before,) = lookers(served.process.pid)
    found = {}
    for name, data in bombs().items():
        reply = post(served, data)
        said = reply.json()
        if reply.status_code == 200:
            lacks = [entry for entry in said["degraded"] if entry != "visual:not_scanned"]
            found[name] = (200, *lacks) if lacks else (200, "")
            assert said["action"] == ("review" if lacks else "allow")
        else:
            found[name] = (reply.status_code, said["error"]["code"])
    assert found == EXPECTED
    assert lookers(served.process.pid) == [before]  # none of them took it down
    assert httpx.get(f"{served.url}/readyz").status_code == 200


def test_a_process_that_is_killed_costs_one_image_and_no_more(served: Served) -> None:
    (pid,) = lookers(served.process.pid)
    os.kill(pid, signal.SIGKILL)
    assert wait_until_gone(pid)
    assert post(served, plain((33, 33))).json()["degraded"] == ["visual:not_scanned"]
    assert lookers(served.process.pid) not in ([], [pid])
    metrics = httpx.get(f"{served.url}/metrics").text
    assert 'weir_images_refused_total{why="damaged"}' in metrics and "weir_image_starts_total 2.0" in metrics
    assert 'weir_degraded_total{stage="visual:not_scanned"}' in metrics


def test_stopping_leaves_no_process_and_an_operator_says_what_becomes_of_images_that_no_classifier_saw() -> None:
    with serving(WEIR_ON_UNSCANNED_IMAGE="block", WEIR_IMAGE_BUDGET_S="60", WEIR_REQUEST_BUDGET_S="120") as running:
        assert post(running, plain(), text="good morning").json()["action"] == "block"
        assert httpx.get(f"{running.url}/v1/policy").json()["on_unscanned_image"] == "block"
        (pid,) = lookers(running.process.pid)
    assert wait_until_gone(pid)
