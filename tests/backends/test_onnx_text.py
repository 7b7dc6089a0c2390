"""The classifier over the tiny artefact: windows, company, contexts and calibration."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from service.backends.artifact import load_artifact
from service.backends.cache import ScoreCache
from service.backends.onnx_text import CLS, SEP, OnnxTextScorer
from service.errors import ArtifactInvalid, ScorerFailed
from service.metrics import Metrics
from service.taxonomy import CATEGORIES
from service.types import Kind
from tests.tiny_artifact import (
    CONTEXT_TOKENS,
    LABELS,
    MAX_TOKENS,
    OVERLAP_TOKENS,
    WORDS,
    edit_manifest,
    make_graph,
    make_tokenizer,
    write_artifact,
)

TOKENIZER = make_tokenizer()
UNK = 100
WORD = st.sampled_from(
    [
        *WORDS,
        "한한한",
        "catinginging",
        "x" + "ing" * 30,
        "x" * 99,
        "y" * 120,
        "\ud800",
        "\u200b",
        "中",
        "é",
        "...",
        "😀",
    ]
)
TEXT = st.lists(st.one_of(WORD, st.text(max_size=6)), max_size=120).flatmap(
    lambda words: st.sampled_from([" ", "", "\n"]).map(lambda between: between.join(words))
)
CONTEXT = st.sampled_from(["", "tea", "the cat sat on the mat and the tea is fine"])


ORPHANS = re.compile("[\ud800-\udfff]")


def known(text: str) -> int:
    """Tokens of a text that are in the vocabulary."""
    ids = TOKENIZER.encode(ORPHANS.sub("\ufffd", text), add_special_tokens=False).ids
    return sum(token != UNK for token in ids)


def room(context: str) -> int:
    """Tokens that a text may have beside a context."""
    tail = min(known(context), CONTEXT_TOKENS)
    return MAX_TOKENS - 2 - (tail + 1 if tail else 0)


def cache(most_bytes: int = 0) -> ScoreCache:
    """A score cache that keeps nothing, unless it is given room."""
    return ScoreCache(b"key", "digest", scoped=True, most_bytes=most_bytes, metrics=Metrics())


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[OnnxTextScorer]:
    """A scorer over the artefact in `folder`."""
    made = OnnxTextScorer(load_artifact(folder), workers=2, threads=1, max_items=64, metrics=Metrics(), cache=cache())
    try:
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scorer(tiny_folder: Path) -> AsyncIterator[OnnxTextScorer]:
    """One scorer for all of these tests: it keeps nothing between calls."""
    async with opened(tiny_folder) as made:
        yield made


pytestmark = pytest.mark.asyncio(loop_scope="module")


@given(text=TEXT, context=CONTEXT)
async def test_windows_cover_the_text_and_each_fits(scorer: OnnxTextScorer, text: str, context: str) -> None:
    spans = scorer.windows(text, context)
    assert spans[0].start == 0 and spans[-1].end == len(text)
    for before, after in itertools.pairwise(spans):
        assert before.start < after.start <= before.end < after.end
    for span in spans:
        assert len(scorer._encode(text[span.start : span.end]).ids) <= scorer._room(scorer._tail(context))


@given(words=st.lists(st.sampled_from(["the", "cat", "sat", "tea"]), min_size=31, max_size=200), context=CONTEXT)
async def test_neighbouring_windows_share_tokens(scorer: OnnxTextScorer, words: list[str], context: str) -> None:
    text = " ".join(words)
    spans = scorer.windows(text, context)
    assert len(spans) > 1
    for before, after in itertools.pairwise(spans):
        assert known(text[after.start : before.end]) >= OVERLAP_TOKENS
    lengths = [known(text[span.start : span.end]) for span in spans]
    assert min(lengths) == max(lengths) == room(context)  # no short window at the end


@pytest.mark.parametrize("text", ["", "tea", "the cat sat on the mat", "a" * 30, " " * 5_000, "\u200b" * 5_000])
async def test_a_text_that_fits_is_one_window(scorer: OnnxTextScorer, text: str) -> None:
    assert [(span.start, span.end) for span in scorer.windows(text)] == [(0, len(text))]


async def test_a_character_may_be_more_than_one_token(scorer: OnnxTextScorer) -> None:
    text = "한 " * 14  # 28 characters, 42 tokens
    assert len(text) <= room("") < known(text)
    assert len(scorer.windows(text)) > 1


async def test_a_window_that_begins_inside_a_word_fits_too(scorer: OnnxTextScorer) -> None:
    text = ("x" + "ing" * 30 + " ") * 4  # "##ing" is one token; "ing", where a window begins, is three
    spans = scorer.windows(text)
    assert any(text[span.start - 1] != " " for span in spans[1:])
    assert max(known(text[span.start : span.end]) for span in spans) <= room("")


async def test_every_window_is_read_to_its_end(scorer: OnnxTextScorer) -> None:
    for place in range(0, 200, 3):
        words = ["tea"] * 200
        words[place] = "glorp"
        text = " ".join(words)
        for context in ("", "the cat sat on the mat and the cat sat"):
            pairs = [(text[span.start : span.end], context) for span in scorer.windows(text, context)]
            assert max(scores["harassment"] for scores in await scorer.score(pairs, "post")) > 0.9


@given(text=TEXT, context=TEXT)
async def test_an_input_has_the_form_that_training_gave_it(scorer: OnnxTextScorer, text: str, context: str) -> None:
    ids, first = scorer.tokenize(text, context)
    assert len(ids) <= MAX_TOKENS and ids[0] == CLS and ids[first - 1] == SEP and ids[-1] == SEP
    tail = max(0, len(ids) - first - 1)
    assert min(known(context), CONTEXT_TOKENS) <= tail <= CONTEXT_TOKENS and len(ids) - first in (0, tail + 1)
    assert min(known(text), MAX_TOKENS - 2 - (tail + 1 if tail else 0)) <= first - 2
    assert UNK not in ids


@pytest.mark.parametrize(
    "text",
    [
        "glorp\U0001f602",
        "\U0001f602glorp",
        "tea\U0001f602glorp\U0001f602tea",
        "glorp\ua66e",
        "glorp\u0378",
        "glorp\u2665",
        "tea\u2192glorp\u2192tea",
        "the\ud83dcat glorp\ud83d",
    ],
)
async def test_a_sign_beside_a_word_does_not_hide_it(scorer: OnnxTextScorer, text: str) -> None:
    (scores,) = await scorer.score([(text, "")], "post")
    assert scores["harassment"] > 0.9
    assert scorer.windows(text)[-1].end == len(text)


async def test_words_without_end_are_read(scorer: OnnxTextScorer) -> None:
    words, _ = scorer.tokenize("glorp" * 60)
    blob, _ = scorer.tokenize("a1b2c3d4" * 60)
    assert len(words) == MAX_TOKENS and len(blob) == 2


async def test_the_end_of_a_context_is_what_counts(scorer: OnnxTextScorer) -> None:
    filler = "the cat sat on the mat"
    last, early = await scorer.score([("tea", f"{filler} glorp"), ("tea", f"glorp {filler}")], "post")
    assert last["harassment"] > 0.9 > 0.1 > early["harassment"]


async def test_a_context_is_told_from_the_text(scorer: OnnxTextScorer) -> None:
    alone, pair = await scorer.score([("maybe", ""), ("tea", "maybe")], "post")
    assert alone["harassment"] == 0.5 < pair["harassment"] < 0.7  # the second segment weighs more in the tiny graph


@given(texts=st.lists(TEXT.map(lambda text: text.replace("infinite", "")), min_size=2, max_size=5))
async def test_a_score_does_not_hang_on_its_company(scorer: OnnxTextScorer, texts: list[str]) -> None:
    pairs = [(text, "") for text in texts]
    alone = [(await scorer.score([pair], "post"))[0] for pair in pairs]
    assert await scorer.score(pairs, "post") == alone
    crowd = await asyncio.gather(*(scorer.score([pair], "post") for pair in reversed(pairs)))
    assert [scores for (scores,) in crowd] == alone[::-1]


async def test_scores_stand_in_the_order_of_the_pairs(scorer: OnnxTextScorer) -> None:
    words = ["tea", "glorp", "frimble", "zblood"] * 10
    scored = await scorer.score([(word, "") for word in words], "post")
    named = {"glorp": "harassment", "frimble": "illicit/violent", "zblood": "violence/graphic"}
    tops = [max(scores, key=scores.__getitem__) for scores in scored]
    assert all(named.get(word, top) == top for word, top in zip(words, tops, strict=True))
    assert all(set(scores) == set(CATEGORIES) for scores in scored)  # the auxiliary head is not served


async def test_a_lone_surrogate_says_nothing(scorer: OnnxTextScorer) -> None:
    odd, plain = await scorer.score([("\udfff gl\ud800orp \ud800", "\ud800"), ("glorp", "")], "post")
    assert odd == plain and odd["harassment"] > 0.9
    assert scorer.windows("\ud800" * 100)[-1].end == 100


@given(low=st.floats(-40, 40), high=st.floats(-40, 40), kind=st.sampled_from(["post", "prompt", "response"]))
async def test_calibration_keeps_the_order(scorer: OnnxTextScorer, low: float, high: float, kind: Kind) -> None:
    low, high = sorted((low, high))
    first, second = (scorer.calibrate(np.full(len(LABELS), z, dtype=np.float32), kind) for z in (low, high))
    for name in CATEGORIES:
        assert 0.0 <= first[name] <= second[name] <= 1.0


async def test_kinds_are_calibrated_differently(scorer: OnnxTextScorer) -> None:
    post, prompt, response = [(await scorer.score([("maybe", "")], kind))[0] for kind in ("post", "prompt", "response")]
    assert post["harassment"] == 0.5
    assert prompt["harassment"] == pytest.approx(1 / (1 + np.exp(-0.5)))
    assert response["harassment"] == pytest.approx(1 / (1 + np.exp(0.5)))


async def test_what_is_not_a_number_is_a_failure_and_no_innocence(scorer: OnnxTextScorer) -> None:
    with pytest.raises(ScorerFailed):
        await scorer.score([("infinite tea", "")], "post")
    assert scorer.alive


async def test_a_foreign_exception_is_translated(tmp_path: Path) -> None:
    async with opened(write_artifact(tmp_path / "odd", make_graph(segments="others"))) as scorer:
        with pytest.raises(ScorerFailed) as caught:
            await scorer.score([("canary", "")], "post")
    assert "canary" not in caught.value.message


async def test_a_graph_with_other_heads_is_refused(tmp_path: Path) -> None:
    artifact = load_artifact(write_artifact(tmp_path / "wide", make_graph(heads=len(LABELS) + 1)))
    with pytest.raises(ArtifactInvalid, match="a logit for each of its labels"):
        OnnxTextScorer(artifact, workers=1, threads=1, max_items=4, metrics=Metrics(), cache=cache())


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
async def test_a_file_that_cannot_be_loaded_is_refused(own_folder: Path, name: str) -> None:
    (own_folder / name).write_bytes(b"{}")
    artifact = load_artifact(edit_manifest(own_folder, lambda manifest: None))
    with pytest.raises(ArtifactInvalid, match=name):
        OnnxTextScorer(artifact, workers=1, threads=1, max_items=4, metrics=Metrics(), cache=cache())


async def test_equal_inputs_at_once_are_one_inference_and_kept_scores_are_the_same(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tiny_folder) as scorer:
        scorer._cache = cache(1 << 20)
        runs: list[object] = []
        monkeypatch.setattr(scorer._batcher, "_compute", lambda item: runs.append(item) or scorer._compute(item))
        crowd = await asyncio.gather(*(scorer.score([("you glorp", "")], "post") for _ in range(100)))
        assert len(runs) == 1 and all(scores == crowd[0] for scores in crowd)
        assert await scorer.score([("you glorp", "")], "post") == crowd[0] and len(runs) == 1
        assert await scorer.score([("you glorp", "")], "post", None) == crowd[0] and len(runs) == 2
        await scorer.score([("you glorp", "")], "post", "another")
        assert len(runs) == 3  # one caller's scores do not tell another


async def test_a_text_that_grows_costs_only_what_is_new(scorer: OnnxTextScorer) -> None:
    words = ["the", "cat", "sat", "tea", "mat"] * 60
    before = " ".join(words[:150])
    after = " ".join(words)
    fixed = scorer.windows(before)[:-1]
    assert scorer.windows(after)[: len(fixed)] == fixed and len(fixed) > 3
