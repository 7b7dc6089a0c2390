"""One caller: start, memory, latency of one text beside the session alone, and scores alone and in company.

Owns these figures of the bench. Refuses to load the gateway with more than a few requests at a time.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from http.client import HTTPConnection

import httpx

from loadtest.ceiling import Alone
from loadtest.gateway import Gateway, running_gateway
from loadtest.table import Table
from loadtest.texts import neutral_texts

MEMORY_REQUESTS = 2_000
CONCURRENT = 16
BATCH = 50


def one_caller(table: Table, texts: int) -> None:
    """All of it, over so many texts each."""
    scenario = "One caller, cache off, screen off"
    with running_gateway(cache="off", screen="off", threads="2") as gateway:
        table.add(scenario, "ready after start", gateway.ready_s, "s", most=3)
        alone, served, more = _latency(gateway, texts)
        table.add(scenario, "one text, onnxruntime and tokenizer alone, median", alone, "ms")
        table.add(
            scenario, "one text over HTTP, median", served, "ms", most=round(1.3 * alone + 2, 2), note="1.3 x + 2"
        )
        table.add(scenario, "the difference, median", more, "ms")
        asyncio.run(_fill(gateway, min(MEMORY_REQUESTS, 4 * texts)))
        table.add(scenario, "resident memory afterwards", gateway.resident_mb(), "MiB", most=450)
        table.add(scenario, "scores alone and in company differ by", asyncio.run(_company(gateway, texts)), most=0.001)


def _latency(gateway: Gateway, count: int) -> tuple[float, float, float]:
    """Median milliseconds of the session alone, of one HTTP request, and of their difference; alternating.

    The client is the standard library's, on one kept connection: what a richer client spends is not the gateway's.
    """
    alone, served = [], []
    session = Alone()
    connection = HTTPConnection(gateway.url.removeprefix("http://"))
    for n, text in enumerate(neutral_texts(count + 20, seed=1)):
        body = json.dumps({"input": text})
        begun = time.perf_counter()
        session.score([text])
        between = time.perf_counter()
        connection.request("POST", "/v1/moderate", body)
        answer = connection.getresponse()
        answer.read()
        ended = time.perf_counter()
        if answer.status != 200:
            raise RuntimeError(f"the gateway answered {answer.status}")
        if n >= 20:
            alone.append((between - begun) * 1e3)
            served.append((ended - between) * 1e3)
    connection.close()
    differences = [b - a for a, b in zip(alone, served, strict=True)]
    return statistics.median(alone), statistics.median(served), statistics.median(differences)


async def _fill(gateway: Gateway, count: int) -> None:
    texts = iter(neutral_texts(count, seed=2))
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60.0) as client:

        async def caller() -> None:
            for text in texts:
                (await client.post("/v1/moderate", json={"input": text})).raise_for_status()

        await asyncio.gather(*(caller() for _ in range(CONCURRENT)))


async def _company(gateway: Gateway, count: int) -> float:
    """The largest difference between a text's scores alone and those in a batch request."""
    worst = 0.0
    texts = neutral_texts(count, seed=5)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60.0) as client:
        for begin in range(0, count, BATCH):
            chunk = texts[begin : begin + BATCH]
            batch = await client.post("/v1/moderate/batch", json={"items": [{"input": text} for text in chunk]})
            for text, together in zip(chunk, batch.json()["results"], strict=True):
                single = (await client.post("/v1/moderate", json={"input": text})).json()
                for name, entry in single["categories"].items():
                    worst = max(worst, abs(entry["score"] - together["categories"][name]["score"]))
    return worst
