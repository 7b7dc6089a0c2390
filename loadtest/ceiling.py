"""The ceiling: the same weights and tokenizer in a process without HTTP, at the best of a few settings.

Owns that measurement. Started as a process of its own, so that it has its own GIL, memory and CPU time; prints JSON.

    python -m loadtest.ceiling FILE SECONDS   (FILE: a JSON list of texts)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

ARTIFACT = Path(__file__).resolve().parent.parent / "models" / "artifacts" / "default"
SETTINGS = ((2, 1, 1), (2, 1, 4), (1, 2, 1), (1, 2, 8))  # workers, threads of each one's session, texts a batch
MOST_TOKENS = 190


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Texts a second at the best setting, its CPU microseconds a text, and which it was."""

    rate: float
    cpu_us: float
    setting: str


class Alone:
    """The session and the tokenizer, as the service opens them."""

    def __init__(self, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = ort.InferenceSession(str(ARTIFACT / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(ARTIFACT / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def score(self, texts: Sequence[str]) -> Any:
        """Logits (B, C) of one inference over a batch, padded to its longest."""
        rows = [encoding.ids[:MOST_TOKENS] for encoding in self.tokenizer.encode_batch_fast(list(texts))]
        ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
        return self.session.run(["logits"], {"ids": ids, "segments": np.zeros_like(ids)})[0]


def rate_of(texts: Sequence[str], seconds: float, setting: tuple[int, int, int]) -> tuple[float, float]:
    """Texts a second and CPU microseconds a text. Batches are sorted by length within 64 texts, so as to pad little."""
    workers, threads, size = setting
    alone = Alone(threads)
    batches = []
    for begin in range(0, len(texts), 64):
        part = sorted(texts[begin : begin + 64], key=len)
        batches += [part[at : at + size] for at in range(0, len(part), size)]
    for batch in batches[:4]:
        alone.score(batch)
    used, begun = time.process_time(), time.perf_counter()

    def work(first: int) -> int:
        done, at = 0, first
        while time.perf_counter() - begun < seconds:
            batch = batches[at % len(batches)]
            alone.score(batch)
            done, at = done + len(batch), at + workers
        return done

    with ThreadPoolExecutor(workers) as pool:
        done = sum(pool.map(work, range(workers)))
    return done / (time.perf_counter() - begun), (time.process_time() - used) / done * 1e6


def ceiling(texts: Sequence[str], seconds: float, settings: Sequence[tuple[int, int, int]] = SETTINGS) -> Ceiling:
    """The best of the settings that this model takes, each for its part of the seconds, in a process of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump({"texts": list(texts), "settings": settings}, file)
        file.flush()
        command = [sys.executable, "-m", "loadtest.ceiling", file.name, str(seconds / len(settings))]
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
        output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    found = max((Ceiling(*row) for row in json.loads(output)), key=lambda one: one.rate, default=None)
    if found is None:
        raise RuntimeError("the model ran at none of the settings")
    return found


def main() -> None:
    """Measure each setting and print them."""
    wanted = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    rows = []
    for workers, threads, size in wanted["settings"]:
        name = f"{workers} x {threads} thread{'s' * (threads > 1)}, batches of {size}"
        try:
            rows.append([*rate_of(wanted["texts"], float(sys.argv[2]), (workers, threads, size)), name])
        except Exception as error:  # onnxruntime's errors share no base; a graph may take one row only
            print(f"{name}: {type(error).__name__}", file=sys.stderr)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
