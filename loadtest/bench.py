"""`make bench`: start, memory, latency and throughput of the gateway beside the in-process ceiling, in one run.

Owns the measurement. Refuses to judge: it prints figures and, where the project states an aim, the aim beside them.

    python -m loadtest.bench [--texts N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import httpx
import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from loadtest.gateway import Gateway, running_gateway
from loadtest.texts import neutral_texts

ARTIFACT = Path(__file__).resolve().parent.parent / "models" / "artifacts" / "default"
MEMORY_REQUESTS = 2_000
CONCURRENT = 16


class Ceiling:
    """The same weights in this process: a session of one thread, as each of the service's workers uses one."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(str(ARTIFACT / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(ARTIFACT / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def encode(self, text: str) -> np.ndarray:
        """Token ids (1, T), [CLS] and [SEP] included."""
        return np.array([self.tokenizer.encode(text).ids], dtype=np.int64)

    def run(self, ids: np.ndarray) -> None:
        """One inference."""
        self.session.run(["logits"], {"ids": ids, "segments": np.zeros_like(ids)})


def latency(gateway: Gateway, ceiling: Ceiling, count: int) -> tuple[float, float, float]:
    """Median milliseconds of the session alone, of one HTTP request, and of their difference; alternating.

    The client is the standard library's, on one kept connection: what a richer client spends is not the gateway's.
    """
    alone, served = [], []
    connection = HTTPConnection(gateway.url.removeprefix("http://"))
    for n, text in enumerate(neutral_texts(count + 20, seed=1)):
        ids, body = ceiling.encode(text), json.dumps({"input": text})
        begun = time.perf_counter()
        ceiling.run(ids)
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


async def throughput(gateway: Gateway, count: int, seed: int) -> float:
    """Texts a second over HTTP, CONCURRENT at a time, one text a request."""
    texts = iter(neutral_texts(count, seed))
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60.0) as client:

        async def caller() -> None:
            for text in texts:
                (await client.post("/v1/moderate", json={"input": text})).raise_for_status()

        begun = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CONCURRENT)))
        return count / (time.perf_counter() - begun)


def ceiling_throughput(ceiling: Ceiling, count: int, threads: int) -> float:
    """Texts a second in this process, tokenised and inferred, without HTTP."""
    texts = neutral_texts(count, seed=3)
    with ThreadPoolExecutor(threads) as pool:
        begun = time.perf_counter()
        list(pool.map(lambda text: ceiling.run(ceiling.encode(text)), texts))
        return count / (time.perf_counter() - begun)


async def company(gateway: Gateway, count: int) -> float:
    """The largest difference between a text's scores alone and amid others."""
    texts = neutral_texts(count, seed=4)
    worst = 0.0
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60.0) as client:
        for begin in range(0, count, 50):
            chunk = texts[begin : begin + 50]
            batch = await client.post("/v1/moderate/batch", json={"items": [{"input": text} for text in chunk]})
            for text, together in zip(chunk, batch.json()["results"], strict=True):
                single = (await client.post("/v1/moderate", json={"input": text})).json()
                for name, entry in single["categories"].items():
                    worst = max(worst, abs(entry["score"] - together["categories"][name]["score"]))
    return worst


def main() -> None:
    """Command line of the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=300, help="texts of each latency series")
    options = parser.parse_args()
    ceiling = Ceiling()
    with running_gateway(threads="2") as gateway:
        print(f"ready after start                 {gateway.ready_s:.2f} s   (aim 3)")
        alone, served, difference = latency(gateway, ceiling, options.texts)
        print(f"one text, onnxruntime alone       {alone:.2f} ms median")
        print(
            f"one text over HTTP                {served:.2f} ms median, {difference:.2f} ms more   "
            f"(aim {1.3 * alone + 2:.2f}: 1.3 times and 2 ms)"
        )
        rate = asyncio.run(throughput(gateway, MEMORY_REQUESTS, seed=2))
        print(f"resident after {MEMORY_REQUESTS} requests      {gateway.resident_mb():.0f} MiB   (aim 450)")
        print(f"difference alone / in company     {asyncio.run(company(gateway, 1000)):.6f}   (aim 0.001, 1,000 texts)")
    most = ceiling_throughput(ceiling, 600, threads=2)
    print(
        f"throughput over HTTP              {rate:.0f} texts/s, {rate / most:.2f} of {most:.0f} in process "
        "(the client shares the cores)"
    )


if __name__ == "__main__":
    main()
