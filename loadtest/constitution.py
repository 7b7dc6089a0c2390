"""What the constitution is worth: `make eval-constitution`, against the running service, on labelled test rows.

Owns the sample and the figures. Refuses to tune anything: doubt, weights and lines were chosen on dev rows and on
models/principles/tuning.toml. With WEIR_JUDGE_URL set the service asks that LLM, and the two-stage figures are its.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
from sklearn.metrics import roc_auc_score

from loadtest.gateway import running_gateway
from loadtest.texts import neutral_texts
from models.data import Corpus, Row, data_folder, load_recipe
from models.statistics import bootstrap
from service.taxonomy import OPENAI_CATEGORIES

BATCH = 8
SPAN_SOURCES = (("toxic-spans", "test"), ("hatexplain", "dev"))  # the second has no test rows
SEED = 11


def mixed_rows(corpus: Corpus, count: int) -> list[Row]:
    """Test rows whose harm is known, the same share of every source that is trained on."""
    rng = random.Random(SEED)
    rows: list[Row] = []
    slugs = corpus.trainable()
    for slug in slugs:
        pool = [r for s, r in corpus.rows(slug) if s == "test" and r.harmful is not None and not r.needs_context]
        rng.shuffle(pool)
        rows.extend(pool[: -(-count // len(slugs)) * 2])
    rng.shuffle(rows)
    return rows[:count]


def span_rows(corpus: Corpus) -> list[tuple[str, list[tuple[int, int]]]]:
    """Posts with the spans that annotators marked."""
    found: list[tuple[str, list[tuple[int, int]]]] = []
    for slug, split in SPAN_SOURCES:
        with gzip.open(corpus.folder / f"{slug}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                if row["split"] == split and row.get("spans"):
                    found.append((row["text"], [tuple(span[:2]) for span in row["spans"]]))
    random.Random(SEED).shuffle(found)
    return found


class Service:
    """A client of the running service."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.AsyncClient(base_url=url, timeout=120.0)

    async def judge(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Native replies, in order."""
        replies: list[dict[str, Any]] = []
        for begin in range(0, len(items), BATCH):
            answer = await self._client.post("/v1/moderate/batch", json={"items": items[begin : begin + BATCH]})
            answer.raise_for_status()
            replies.extend(answer.json()["results"])
        return replies

    async def median_ms(self, texts: Sequence[str], depths: Sequence[str]) -> dict[str, float]:
        """Median milliseconds per depth, alternating, text by text."""
        took: dict[str, list[float]] = {depth: [] for depth in depths}
        for n, text in enumerate(texts):
            for depth in depths if n % 2 else reversed(depths):
                begun = time.perf_counter()
                body = {"input": f"{depth[1:2]} {text}", "constitution": depth}  # no cache may help the second one
                (await self._client.post("/v1/moderate", json=body)).raise_for_status()
                took[depth].append((time.perf_counter() - begun) * 1e3)
        return {depth: statistics.median(times[10:]) for depth, times in took.items()}

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()


def item(text: str, depth: str, kind: str = "post") -> dict[str, Any]:
    """One request."""
    role = {"prompt": "user", "response": "assistant"}.get(kind, "")
    return {"input": text, "role": role, "constitution": depth, "explain": False}


def harm(reply: dict[str, Any]) -> float:
    """Log-odds by which the foremost of the 13 harms stands over its flag line."""
    return max(
        _log_odds(reply["categories"][name]["score"]) - _log_odds(reply["categories"][name]["threshold"])
        for name in OPENAI_CATEGORIES
    )


def _log_odds(score: float) -> float:
    bounded = min(max(score, 1e-6), 1 - 1e-6)
    return math.log(bounded / (1 - bounded))


async def stages(service: Service, rows: Sequence[Row]) -> None:
    """Stage one against both stages, on the same rows."""
    one = await service.judge([item(row.text, "off", row.kind) for row in rows])
    two = await service.judge([item(row.text, "auto", row.kind) for row in rows])
    pairs = [(row, a, b) for row, a, b in zip(rows, one, two, strict=True) if "error" not in a and "error" not in b]
    asked = [(row, a, b) for row, a, b in pairs if b["constitution"]["escalated"]]
    print(f"escalated                     {len(asked)} of {len(pairs)}, {len(asked) / len(pairs):.1%}   (aim 15 %)")
    truth = np.array([bool(row.harmful) for row, _, _ in asked])
    first, second = (np.array([harm(triple[n]) for triple in asked]) for n in (1, 2))  # type: ignore[arg-type]

    def gain(chosen: Any) -> float:
        if truth[chosen].all() or not truth[chosen].any():
            return math.nan
        return float(roc_auc_score(truth[chosen], second[chosen]) - roc_auc_score(truth[chosen], first[chosen]))

    value, low, high = bootstrap(gain, len(truth))
    print(
        f"AUROC on the escalated        stage one {roc_auc_score(truth, first):.3f}, two stages "
        f"{roc_auc_score(truth, second):.3f}, gain {value:.3f} ({low:.3f} to {high:.3f})"
    )
    for name, replies in (("stage one", [a for _, a, _ in pairs]), ("two stages", [b for _, _, b in pairs])):
        known = np.array([bool(row.harmful) for row, _, _ in pairs])
        flagged = np.array([harm(reply) >= 0 for reply in replies])
        print(
            f"any harm, {name:<20}precision {known[flagged].mean():.3f}, recall {flagged[known].mean():.3f}, "
            f"innocent flagged {flagged[~known].mean():.3f}"
        )
    by_principle(service.url, [(row, b) for row, _, b in pairs])


def by_principle(url: str, pairs: Sequence[tuple[Row, dict[str, Any]]]) -> None:
    """Precision and recall of each principle that has categories, on rows where its categories are known."""
    document = httpx.get(f"{url}/v1/constitution").json()
    for principle in document["principles"]:
        known = [
            (max(row.labels[c] for c in principle["categories"] if c in row.labels) >= 0.5, reply)
            for row, reply in pairs
            if any(c in row.labels for c in principle["categories"])
        ]
        found = [any(v["id"] == principle["id"] for v in reply["constitution"]["violated"]) for _, reply in known]
        positive = sum(truth for truth, _ in known)
        hits = sum(truth and seen for (truth, _), seen in zip(known, found, strict=True))
        if not known:
            fired = sum(any(v["id"] == principle["id"] for v in r["constitution"]["violated"]) for _, r in pairs)
            print(f"  {principle['id']:<28}no labels; found in {fired} of {len(pairs)} rows")
            continue
        precision = hits / sum(found) if sum(found) else math.nan
        recall = hits / positive if positive else math.nan
        print(f"  {principle['id']:<28}precision {precision:.2f}, recall {recall:.2f}   ({positive} of {len(known)})")


async def revisions(service: Service, rows: Sequence[Row]) -> None:
    """What is returned in the place of harmful rows, judged again by the service."""
    replies = await service.judge([item(row.text, "auto", row.kind) for row in rows])
    blocked = [(row, r) for row, r in zip(rows, replies, strict=True) if "error" not in r and r["action"] == "block"]
    named = sum(bool(r["constitution"]["violated"]) and bool(r["constitution"]["critique"]) for _, r in blocked)
    given = [(row, r["suggested_revision"]) for row, r in blocked if r["suggested_revision"]]
    again = await service.judge([item(text, "auto", row.kind) for row, text in given])
    bad = sum(reply["flagged"] for reply in again)
    print(
        f"harmful rows                  {len(rows)}, blocked {len(blocked)}, with a critique {named}, "
        f"with a revision {len(given)}, revisions that the pipeline flags {bad}   (aim 0)"
    )


async def kept_words(service: Service, posts: Sequence[tuple[str, list[tuple[int, int]]]], most: int) -> None:
    """Of blocked posts whose harm is a marked span: how many get a revision that keeps the other words."""
    count: Counter[str] = Counter()
    for begin in range(0, len(posts), BATCH):
        if count["blocked"] >= most:
            break
        chunk = posts[begin : begin + BATCH]
        replies = await service.judge([{**item(text, "auto"), "explain": True} for text, _ in chunk])
        for (text, spans), reply in zip(chunk, replies, strict=True):
            if "error" in reply or reply["action"] != "block" or count["blocked"] >= most:
                continue
            count["blocked"] += 1
            revision = reply["suggested_revision"] or ""
            if "[removed]" not in revision:
                count["refused"] += 1
            elif share_kept(text, spans, revision) >= 0.7:
                count["kept"] += 1
    print(
        f"blocked posts with spans      {count['blocked']}: {count['kept'] / max(1, count['blocked']):.1%} get a "
        f"revision that keeps 70 % of the other words   (aim 60 %); refused {count['refused']}"
    )


def share_kept(text: str, spans: Sequence[tuple[int, int]], revision: str) -> float:
    """Share of the words outside the spans that stand in the revision."""
    marked = set().union(*(range(*span) for span in spans))
    position, others = 0, []
    for word in text.split():
        start = text.index(word, position)
        position = start + len(word)
        if not marked.intersection(range(start, position)):
            others.append(word)
    left = Counter(revision.split())
    kept = sum(min(n, left[word]) for word, n in Counter(others).items())
    return kept / len(others) if others else 1.0


async def measure(url: str, rows: int, harmful: int, posts: int) -> None:
    """Everything, in order."""
    recipe = load_recipe()
    corpus = Corpus(recipe, data_folder(recipe))
    service = Service(url)
    try:
        medians = await service.median_ms(neutral_texts(160, seed=9), ("off", "auto"))
        ratio = medians["auto"] / medians["off"]
        print(f"innocent text, median         off {medians['off']:.2f} ms, auto {medians['auto']:.2f} ms, {ratio:.2f}")
        await stages(service, mixed_rows(corpus, rows))
        await revisions(service, [row for row in mixed_rows(corpus, 6 * harmful) if row.harmful][:harmful])
        await kept_words(service, span_rows(corpus), posts)
    finally:
        await service.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--harmful", type=int, default=2000)
    parser.add_argument("--posts", type=int, default=500)
    options = parser.parse_args()
    with running_gateway(threads="2") as gateway:
        asyncio.run(measure(gateway.url, options.rows, options.harmful, options.posts))


if __name__ == "__main__":
    main()
