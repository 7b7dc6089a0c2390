"""A client that has texts and images judged by a running service.

Owns the requests. Refuses to know what is measured.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import httpx


@dataclass(frozen=True, slots=True)
class Judge:
    """Asks one service, one post at a time."""

    url: str
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=120.0))

    def caught(self, text: str = "", image: bytes | None = None) -> bool:
        """Whether a post is flagged for a category; writing that could not be read is no catch."""
        body: dict[str, object] = {"explain": False}
        if text:
            body["input"] = text
        if image is not None:
            body["images"] = [{"data": base64.b64encode(image).decode()}]
        answer = self.client.post(f"{self.url}/v1/moderate", json=body)
        answer.raise_for_status()
        return any(category["flagged"] for category in answer.json()["categories"].values())

    def held(self, image: bytes) -> bool:
        """Whether an image is not simply allowed, for whatever reason."""
        body = {"images": [{"data": base64.b64encode(image).decode()}], "explain": False}
        answer = self.client.post(f"{self.url}/v1/moderate", json=body)
        answer.raise_for_status()
        return answer.json()["action"] != "allow"
