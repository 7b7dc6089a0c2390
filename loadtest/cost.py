"""`python -m loadtest.cost`: what one text costs the event loop in CPU time, part by part.

Owns the measurement: CPU of the event loop's thread alone, so that neither the model's threads nor other processes
count. Refuses to judge. The whole is a request through the application, without a server; the parts are called by
themselves on the same texts. With `--rows FILE` (JSON lines, perhaps gzipped, with a `text`) on texts of people's too.

    python -m loadtest.cost [--texts N] [--rows FILE ...]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from loadtest.texts import neutral_texts, rows_of
from service.api.body import parse
from service.api.errors import json_response
from service.api.native import ModerateRequest, to_reply
from service.app import create_app
from service.config import Settings
from service.language import LanguageDetector
from service.log import OneLine
from service.normalize import views
from service.policy import decide
from service.runtime import Runtime
from service.stages.identifiers import IdentifierPatterns
from service.stages.keyword import KeywordStage
from service.stages.lexicon import load_lexicon
from service.types import Content, Verdict
from service.wiring import open_runtime

AT_ONCE = 8
ROUNDS = 3


async def ask(app: Any, text: str, path: str = "/v1/moderate") -> bytes:
    """One request through the application, as a server would hand it over; the body of the reply."""
    body = json.dumps({"input": text}).encode()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [
            (b"host", b"127.0.0.1"),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }
    replied = asyncio.Event()
    chunks: list[bytes] = []
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await replied.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise RuntimeError(f"the application answered {message['status']}")
        if message["type"] == "http.response.body":
            chunks.append(message["body"])
            replied.set()

    await app(scope, receive, send)
    return b"".join(chunks)


async def whole(app: Any, texts: Sequence[str], path: str) -> float:
    """CPU microseconds of this thread per request, AT_ONCE at a time."""
    left = iter(texts)

    async def caller() -> None:
        for text in left:
            await ask(app, text, path)

    begun = time.thread_time()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return (time.thread_time() - begun) / len(texts) * 1e6


def part(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """CPU microseconds of one call, the best of a few rounds over all items."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.thread_time()
        for item in items:
            work(item)
        best = min(best, time.thread_time() - begun)
    return best / len(items) * 1e6


async def parts(runtime: Runtime, texts: Sequence[str]) -> dict[str, float]:
    """Every part by itself."""
    policy = runtime.policies.get("default")
    verdicts: list[Verdict] = [await runtime.pipeline.judge(Content(text)) for text in texts]
    pairs = [(Content(text), verdict) for text, verdict in zip(texts, verdicts, strict=True)]
    replies = [to_reply(verdict) for verdict in verdicts]
    bodies = [json.dumps({"input": text}).encode() for text in texts]
    lexicon = load_lexicon()
    identifiers = IdentifierPatterns()
    keyword = KeywordStage(lexicon, identifiers)
    language = LanguageDetector(runtime.languages)
    scorer, ledger, metrics = runtime.scorer, runtime.ledger, runtime.metrics
    assert ledger is not None
    line = OneLine(as_json=True)
    record = logging.makeLogRecord(
        {"msg": "request", "name": "weir.request", "route": "/v1/moderate", "status": 200, "ms": 4.12, "id": "req_" * 8}
    )
    return {
        "parse the body": part(lambda body: parse(ModerateRequest, json.loads(body.decode("utf-8-sig"))), bodies),
        "views": part(views, texts),
        "keyword stage, with views": part(keyword._inspect, texts),
        "  of which the lexicon": part(lexicon.matches, texts),
        "  of which identifiers": part(identifiers.identifiers, texts),
        "tokens (as in the ceiling)": part(lambda text: (scorer.windows(text), scorer.tokenize(text)), texts),
        "language": part(language, texts),
        "decide": part(
            lambda verdict: decide(verdict.findings, policy, degraded=False, unmeasured_language=False), verdicts
        ),
        "receipt and counts": part(lambda pair: ledger.enter(*pair), pairs),
        "reply": part(to_reply, verdicts),
        "JSON of the reply": part(json_response, replies),
        "metrics of a verdict": part(metrics.count_verdict, verdicts),
        "metrics of a request": part(lambda text: metrics.count_request("/v1/moderate", 200, 0.01), texts),
        "one log line": part(lambda text: line.format(record), texts),
    }


async def measure(count: int, rows: Sequence[Path]) -> None:
    """Print the table, a column for each kind of texts."""
    kinds = {"dialogue": neutral_texts(count, seed=5)}
    for path in rows:
        kinds[path.name.partition(".")[0]] = rows_of(path, count, seed=5)
    table: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.model_validate({"data_dir": Path(folder), "secret": "a secret of the measurement's own"})
        async with open_runtime(settings) as runtime:
            app = create_app(settings, runtime=runtime)
            for texts in kinds.values():
                figures = {"whole request, the model beside": await whole(app, texts, "/v1/moderate")}
                figures["the same in OpenAI's dialect"] = await whole(app, texts, "/v1/moderations")
                figures |= await parts(runtime, texts)
                for name, figure in figures.items():
                    table.setdefault(name, []).append(figure)
    print(f"{'CPU of the event loop, microseconds a text':<44}" + "".join(f"{name:>18}" for name in kinds))
    for name, found in table.items():
        print(f"{name:<44}" + "".join(f"{figure:>18.0f}" for figure in found))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--rows", type=Path, nargs="*", default=[], metavar="FILE")
    options = parser.parse_args()
    asyncio.run(measure(options.texts, options.rows))


if __name__ == "__main__":
    main()
