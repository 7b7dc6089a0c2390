"""An upstream LLM by script: it speaks OpenAI's and Anthropic's wire form, faults included."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_CANARY = re.compile(r'"canary": "([0-9a-f]{16})"')
Reply = Callable[["FakeJudge", str], str]


def answer(canary: str, harm: float, violations: list[dict[str, Any]] | None = None, revision: str = "") -> str:
    """What a model that does as it is asked says."""
    return json.dumps(
        {"canary": canary, "harm": harm, "violations": violations or [], "critique": "As asked.", "revision": revision}
    )


@dataclass
class FakeJudge:
    """An ASGI application. `script` holds what to do with each call in turn; the last entry stays.

    An entry is a status, "slow", "empty", or a function from (canary, user message) to the model's words.
    """

    script: list[Any]
    calls: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        request = json.loads(body)
        self.calls.append(request)
        self.headers.append({k.decode(): v.decode() for k, v in scope["headers"]})
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if step == "slow":
            await asyncio.sleep(5)
        status = step if isinstance(step, int) else 200
        anthropic = scope["path"].endswith("/messages")
        system = request["system"] if anthropic else request["messages"][0]["content"]
        user = request["messages"][-1]["content"]
        found = _CANARY.search(system)
        assert found is not None
        if status != 200:
            payload: Any = {"error": {"message": "no", "type": "server_error"}}
        elif step in ("empty", "slow"):
            payload = self._wrap("", anthropic)
        else:
            payload = self._wrap(step(found.group(1), user), anthropic)
        extra = [(b"retry-after", b"0")] if status == 429 else []
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", b"application/json"), *extra],
            }
        )
        await send({"type": "http.response.body", "body": json.dumps(payload).encode()})

    def _wrap(self, words: str, anthropic: bool) -> dict[str, Any]:
        if not anthropic:
            message = {"role": "assistant", "content": words or None}
            return {
                "id": "c",
                "object": "chat.completion",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            }
        try:
            block: dict[str, Any] = {"type": "tool_use", "id": "t", "name": "answer", "input": json.loads(words)}
        except ValueError:
            block = {"type": "text", "text": words}
        return {"id": "m", "type": "message", "role": "assistant", "content": [block], "stop_reason": "tool_use"}
