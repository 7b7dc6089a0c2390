"""A service that has looked at an image before: on a busy machine the first one may come too late."""

from __future__ import annotations

import base64

import httpx

from tests.images.pictures import card
from tests.serving import Served

PATIENT = {"WEIR_IMAGE_BUDGET_S": "60", "WEIR_REQUEST_BUDGET_S": "120", "WEIR_MAX_WAIT_S": "60"}
TRIES = 10


def warm_up(served: Served) -> None:
    """Have it look at an image until its process is there."""
    image = {"data": base64.b64encode(card("hello")).decode()}
    for _ in range(TRIES):
        reply = httpx.post(f"{served.url}/v1/moderate", json={"images": [image]}, timeout=120).json()
        if reply.get("degraded") == ["visual:not_scanned"]:
            return
    raise AssertionError(f"it looks at no image: {served.log()}")
