"""The texts that a screen is taught and measured on, and what its teacher says of each, kept between runs.

Owns which rows are drawn, and the cache of the teacher's logits. Refuses to know the student and its bounds.
No row of a `test` split and of a source marked `measure` is in `train` or `dev`; `tuning` holds the halves of unseen
sources that are there to choose numbers on.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.batches import encode, load_tokenizer
from models.data import Corpus, Row, contrast_rows, is_english

ALARMING = re.compile(
    r"\b(kill|die|dead|death|murder|shoot|shot|gun|knife|stab|bomb|blood|attack|beat|hit|punch|rape|fight|war|hang|"
    r"suicid\w*|cut|harm|hurt|drug|weed|cocaine|meth|steal|fraud|hack|poison|sex\w*|porn\w*|nude|naked|fuck\w*|dick|"
    r"cock|pussy|boob\w*|tit\w*|cum|ass|horny|slut|whore|suck\w*|burn|burning|destroy|weapon)s?\b",
    re.IGNORECASE,
)
SAVE_EVERY = 2_000  # texts between two savings of the cache: a run that is cut off loses no more


@dataclass(frozen=True, slots=True)
class Lesson:
    """A row without its context, the part that it plays, and its token ids, [CLS] and [SEP] left out."""

    row: Row
    part: str
    ids: NDArray[np.int32]

    @property
    def group(self) -> str:
        """How traffic is mixed: `harmful`, `alarming` (innocent, with words that sound grave) or `ordinary`."""
        if self.row.harmful is not False:
            return "harmful" if self.row.harmful else "open"
        return "alarming" if ALARMING.search(self.row.text) else "ordinary"


def draw(corpus: Corpus, recipe: dict[str, Any]) -> list[Lesson]:
    """The lessons of every part, the same ones for the same recipe and data."""
    options, seed = recipe["screen"], int(recipe["seed"])
    plain = {*recipe["evaluation"]["ordinary_test"], *options["ordinary"]}
    chosen: list[tuple[str, Row]] = []
    for slug in corpus.trainable():
        wide = slug in plain
        caps = {part: int(options["ordinary_rows" if wide else "rows"][part]) for part in ("train", "dev", "test")}
        pools: dict[str, list[Row]] = {part: [] for part in caps}
        for split, row in corpus.rows(slug):
            if is_english(row.text) or wide:
                pools[split].append(row)
        for part, pool in pools.items():
            chosen.extend((part, row) for row in _some(pool, caps[part], f"{seed}:{slug}:{part}"))
    for slug in corpus.unseen():
        for part, tuning in (("tuning", True), ("unseen", False)):
            pool = corpus.unseen_rows(slug, tuning=tuning)
            chosen.extend((part, row) for row in _some(pool, int(options["unseen_rows"]), f"{seed}:{slug}:{part}"))
    for part, times, number in (("train", int(options["contrast_per_side"]), seed), ("dev", 1, seed + 1)):
        chosen.extend((part, row) for row in contrast_rows(recipe, held_out=False, per_side=times, seed=number))
    chosen.extend(("frames", row) for row in contrast_rows(recipe, held_out=True, per_side=3, seed=seed))
    rows = [replace(row, context="") for _, row in chosen]
    examples = encode(rows, load_tokenizer(), int(recipe["max_tokens"]), None)
    lessons = [
        Lesson(row, part, np.array(example.ids[1:-1], dtype=np.int32))
        for (part, _), row, example in zip(chosen, rows, examples, strict=True)
    ]
    return _once(lessons)


def _some(rows: Sequence[Row], most: int, seed: str) -> list[Row]:
    return random.Random(seed).sample(list(rows), min(most, len(rows)))


def _once(lessons: Sequence[Lesson]) -> list[Lesson]:
    """Each text once, in the part that it is measured in where it is in several."""
    order = {"test": 0, "unseen": 1, "frames": 2, "tuning": 3, "dev": 4, "train": 5}
    seen: set[bytes] = set()
    kept: list[Lesson] = []
    for lesson in sorted(lessons, key=lambda lesson: order[lesson.part]):
        key = _key(lesson.ids)
        if key not in seen and len(lesson.ids):
            seen.add(key)
            kept.append(lesson)
    return kept


def _key(ids: NDArray[np.int32]) -> bytes:
    return hashlib.sha256(ids.tobytes()).digest()[:12]


class Teacher:
    """The shipped graph, asked once for each text: its answers lie in a file that is named after its digest."""

    def __init__(self, graph: Path, cache: Path, threads: int) -> None:
        self._graph = graph
        self._threads = threads
        digest = hashlib.sha256(graph.read_bytes()).hexdigest()
        self._file = cache / f"teacher-{digest[:12]}.npz"
        self._known: dict[bytes, NDArray[np.float32]] = {}
        if self._file.exists():
            with np.load(self._file) as kept:
                self._known = dict(zip(map(bytes, kept["keys"]), kept["logits"], strict=True))

    def logits(self, lessons: Sequence[Lesson]) -> NDArray[np.float32]:
        """Raw logits (N, heads), each text computed alone as the service does."""
        missing = {_key(lesson.ids): lesson.ids for lesson in lessons}
        missing = {key: ids for key, ids in missing.items() if key not in self._known}
        keys = list(missing)
        if keys:
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 3
            session = ort.InferenceSession(str(self._graph), options, providers=["CPUExecutionProvider"])

            def run(key: bytes) -> NDArray[np.float32]:
                ids = np.array([[101, *missing[key], 102]], dtype=np.int64)
                outputs: list[Any] = session.run(["logits"], {"ids": ids, "segments": np.zeros_like(ids)})
                row: NDArray[np.float32] = outputs[0][0]
                return row

            with ThreadPoolExecutor(self._threads) as pool:
                for begin in range(0, len(keys), SAVE_EVERY):
                    some = keys[begin : begin + SAVE_EVERY]
                    self._known.update(zip(some, pool.map(run, some), strict=True))
                    self._save()
                    print(f"teacher: {min(begin + SAVE_EVERY, len(keys))} of {len(keys)} texts", flush=True)
        return np.stack([self._known[_key(lesson.ids)] for lesson in lessons])

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_suffix(".part.npz")
        keys = np.array([np.frombuffer(key, dtype=np.uint8) for key in self._known])
        np.savez(draft, keys=keys, logits=np.stack(list(self._known.values())))
        draft.rename(self._file)
