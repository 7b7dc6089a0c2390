"""A judge behind an OpenAI-compatible or an Anthropic endpoint.

Owns the calls: their bounds, retries, breaker, budget and cache. Refuses to know how a question is worded. Every way in
which a call can fail is a JudgeFailed with a reason from a closed set; no text ever stands in one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import httpx

from service.backends.breaker import Breaker
from service.backends.budget import Budget
from service.constitution.judge_prompt import PROMPT_VERSION, SCHEMA, Question, ask, read
from service.constitution.opinion import Case, Opinion
from service.errors import JudgeBudgetSpent, JudgeFailed

MOST_TOKENS = 1_200  # of an answer
MOST_ANSWER_BYTES = 64_000
ATTEMPTS = 2
PAUSE_S = 0.25  # before another attempt, where the endpoint asks for no other
MOST_PAUSE_S = 2.0
KEPT = 1_024  # opinions
_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})


class LlmJudge:
    """A Judge. `url` is a base address: of Anthropic's dialect where its host says so, else of OpenAI's."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        model: str,
        key: str | None,
        *,
        per_minute: int,
        timeout_s: float,
        on_breaker: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_breaker` is told True when calls are given up for a while, False when they are made again."""
        self._client = client
        self._url = url.rstrip("/")
        self._model = model
        self._anthropic = "anthropic" in httpx.URL(url).host
        self._headers = _headers(key, anthropic=self._anthropic)
        self._timeout_s = timeout_s
        self._budget = Budget(clock, per_minute)
        self._breaker = Breaker(on_breaker, clock)
        self._secret = secrets.token_bytes(32)
        self._kept: OrderedDict[bytes, Opinion] = OrderedDict()

    async def judge(self, case: Case) -> Opinion:
        """Ask, or remember. Raises JudgeBudgetSpent, and JudgeFailed for everything else that goes wrong."""
        name = self._name(case)
        known = self._kept.get(name) if case.content.store else None
        if known is not None:
            return known
        if not self._breaker.ready:
            raise JudgeFailed("breaker_open")
        question = ask(case)
        self._breaker.begin()
        try:
            opinion = read(await self._answer(question), question.canary, case)
        except BaseException as error:
            outage = isinstance(error, JudgeFailed) and not isinstance(error, JudgeBudgetSpent)
            if outage or not self._breaker.closed:  # a trial without an end would be the last one
                self._breaker.failed()
            raise
        self._breaker.succeeded()
        if case.content.store:  # an opinion may quote the text
            self._kept[name] = opinion
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return opinion

    def _name(self, case: Case) -> bytes:
        """A keyed hash of all that an opinion depends on; the scores are only what it is held against."""
        turns = [[turn.role, turn.text] for turn in case.content.context]
        scores = {name: round(score, 2) for name, score in case.scores.items()}
        facts = [PROMPT_VERSION, self._model, case.constitution.digest, case.content.role, turns, scores]
        content = json.dumps([facts, case.content.text])
        return hmac.new(self._secret, content.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()

    async def _answer(self, question: Question) -> str:
        """The words of an answer, after at most ATTEMPTS calls; each of them counts against the budget."""
        failure = JudgeFailed("unreachable")
        for attempt in range(ATTEMPTS):
            if not self._budget.take():
                raise JudgeBudgetSpent("budget") if attempt == 0 else failure
            pause = PAUSE_S
            try:
                async with asyncio.timeout(self._timeout_s):
                    status, body, retry_after = await self._post(question)
            except TimeoutError:
                failure = JudgeFailed("timeout")
            except httpx.HTTPError:
                failure = JudgeFailed("unreachable")
            else:
                if status == 200:
                    return _words(body, anthropic=self._anthropic)
                failure = JudgeFailed("rate_limited" if status == 429 else "status")
                if status not in _RETRIED:
                    break
                pause = min(MOST_PAUSE_S, retry_after if retry_after is not None else PAUSE_S)
            if attempt + 1 < ATTEMPTS:
                await asyncio.sleep(pause)
        raise failure

    async def _post(self, question: Question) -> tuple[int, bytes, float | None]:
        path = "/messages" if self._anthropic else "/chat/completions"
        body = _request(question, self._model, anthropic=self._anthropic)
        chunks: list[bytes] = []
        size = 0
        async with self._client.stream("POST", self._url + path, json=body, headers=self._headers) as response:
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if size > MOST_ANSWER_BYTES:
                    raise JudgeFailed("malformed")
                chunks.append(chunk)
        given = response.headers.get("retry-after", "")
        return response.status_code, b"".join(chunks), float(given) if given.isdecimal() else None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def open_llm_judge(
    url: str, model: str, key: str | None, *, per_minute: int, timeout_s: float, on_breaker: Callable[[bool], None]
) -> LlmJudge:
    """A judge with a client of its own, which follows no redirect: a key goes to one host only."""
    client = httpx.AsyncClient(timeout=httpx.Timeout(timeout_s), follow_redirects=False, trust_env=False)
    return LlmJudge(client, url, model, key, per_minute=per_minute, timeout_s=timeout_s, on_breaker=on_breaker)


def _headers(key: str | None, *, anthropic: bool) -> dict[str, str]:
    headers = {"anthropic-version": "2023-06-01"} if anthropic else {}
    if key is not None:
        headers |= {"x-api-key": key} if anthropic else {"authorization": f"Bearer {key}"}
    return headers


def _request(question: Question, model: str, *, anthropic: bool) -> dict[str, Any]:
    """Structured output in each dialect: OpenAI's JSON schema, Anthropic's one tool that must be used."""
    words = question.user.encode("utf-8", "replace").decode()  # a lone surrogate cannot be sent
    user = {"role": "user", "content": words}
    if anthropic:
        return {
            "model": model,
            "max_tokens": MOST_TOKENS,
            "temperature": 0,
            "system": question.system,
            "messages": [user],
            "tools": [{"name": "answer", "description": "Give the answer.", "input_schema": SCHEMA}],
            "tool_choice": {"type": "tool", "name": "answer"},
        }
    return {
        "model": model,
        "max_tokens": MOST_TOKENS,
        "temperature": 0,
        "messages": [{"role": "system", "content": question.system}, user],
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}},
    }


def _words(body: bytes, *, anthropic: bool) -> str:
    """What the model said, as text; raises JudgeFailed where the reply is not of the dialect, or was cut off."""
    try:
        reply = json.loads(body)
        if anthropic:
            blocks = reply["content"]
            used = [json.dumps(block["input"]) for block in blocks if block["type"] == "tool_use"]
            return used[0] if used else "".join(block["text"] for block in blocks if block["type"] == "text")
        content = reply["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise JudgeFailed("malformed") from None
    if not isinstance(content, str):
        raise JudgeFailed("empty")
    return content
