"""`make eval-images`: what is read in images, what is caught in them, what that costs.

Owns the sample, and the figures with their aims. Refuses to tune anything. Texts are test rows of
the public sources; they are rendered with the fonts that this machine has. Time is that of the processor.

    python -m loadtest.images [--data FOLDER] [--every N] [--harmful N] [--benign N] [--json FILE]
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tarfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from loadtest.gateway import running_gateway
from loadtest.image_cards import captioned, halves
from loadtest.image_judge import Judge
from loadtest.image_pace import beside
from loadtest.table import Table
from models.data import Corpus, data_folder, load_recipe
from service.images.ocr import TextReader

SEED = 17
LEAST_RECALL = 0.94
MOST_CPU_MS = 250
MOST_READER_MB = 650


def files(path: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a tar's files."""
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.endswith(suffix) and (file := tar.extractfile(member)) is not None:
                yield member.name, file.read()


def recall(table: Table, folder: Path, every: int) -> None:
    """Word recall per kind, and the processor time of reading alone."""
    path = folder / "images-ocr-eval.tar"
    labels = next(data for name, data in files(path, "labels.jsonl"))
    rows = {row["file"]: row for row in map(json.loads, labels.splitlines())}
    hits: dict[str, list[tuple[int, int]]] = defaultdict(list)
    reader, took = TextReader(), []
    for n, (name, data) in enumerate(files(path, ".jpg")):
        if n % every:
            continue
        row = next(row for file, row in rows.items() if name.endswith(file))
        rgb = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        begun = time.process_time()
        read = reader.read(rgb)
        took.append((time.process_time() - begun) * 1e3)
        wanted = Counter(row["text"].lower().split())
        got = Counter(" ".join(line.text for line in read).lower().split())
        hits[row["kind"]].append(((wanted & got).total(), wanted.total()))
    for kind, counts in sorted(hits.items()):
        share = sum(hit for hit, _ in counts) / sum(count for _, count in counts)
        table.add("words read", kind, share, least=LEAST_RECALL, note=f"{len(counts)} images")
    table.add("words read", "processor time of reading, median", median(took), "ms")


def benign_photos(folder: Path, count: int) -> list[bytes]:
    """Photos of the test split, the same ones every time."""
    found = [data for name, data in files(folder / "images-benign-cc0.tar", ".jpg") if "/test/" in name]
    return random.Random(SEED).sample(found, min(count, len(found)))


def harmful_texts(count: int) -> list[str]:
    """Short harmful posts of the test splits of all sources that are trained on."""
    recipe = load_recipe()
    corpus = Corpus(recipe, data_folder(recipe))
    pool = [
        row.text
        for slug in corpus.trainable()
        for split, row in corpus.rows(slug)
        if split == "test" and row.harmful and row.kind == "post" and not row.needs_context
        if row.text.isascii() and 15 <= len(row.text) <= 120 and "\n" not in row.text
    ]
    return random.Random(SEED).sample(pool, min(count, len(pool)))


def catches(table: Table, judge: Judge, photos: Sequence[bytes], texts: Sequence[str]) -> None:
    """Of texts caught as text: those caught on a photo, and caught when half of them stands in the post."""
    rng = random.Random(SEED)
    caught = [text for text in texts if judge.caught(text)]
    pairs = [(text, rng.choice(photos)) for text in caught]
    shown = sum(judge.caught(image=captioned(photo, text)) for text, photo in pairs)
    note = f"{len(caught)} of {len(texts)} harmful rows"
    table.add("caught as text", "and caught on a photo", shown / max(1, len(caught)), least=0.9, note=note)
    cut = [(*halves(text), photo) for text, photo in pairs if len(text.split()) > 1]
    cut = [(one, other, photo) for one, other, photo in cut if not judge.caught(one) and not judge.caught(other)]
    split = sum(judge.caught(one, captioned(photo, other)) for one, other, photo in cut)
    note = f"{len(cut)} of which neither half is caught alone"
    table.add("caught as text", "and half in the post, half on a photo", split / max(1, len(cut)), least=0.7, note=note)


def false_alarms(table: Table, judge: Judge, photos: Sequence[bytes]) -> None:
    """Photos as they are."""
    note = f"{len(photos)} photos"
    table.add("benign photos", "flagged", sum(judge.caught(image=photo) for photo in photos) / len(photos), most=0.01)
    table.add("benign photos", "not allowed", sum(judge.held(photo) for photo in photos) / len(photos), note=note)


def cost(table: Table, photos: Sequence[bytes]) -> None:
    """Processor time of one captioned image in a running service, nothing cached, and the memory of its processes."""
    with running_gateway(cache="off") as gateway:
        judge = Judge(gateway.url)
        judge.caught(image=captioned(photos[0], "good morning everybody"))
        bare = gateway.resident_mb()
        took = []
        for n, photo in enumerate(photos[1:41]):
            used = gateway.cpu_s()
            judge.caught(image=captioned(photo, f"picture {n} of the garden party we had last week"))
            took.append((gateway.cpu_s() - used) * 1e3)
        table.add("captioned image", "processor time, median", median(took), "ms", most=MOST_CPU_MS)
        reader = max(_resident_mb(pid) for pid in gateway.pids if pid != gateway.pid)
        table.add("captioned image", "memory of the process that reads", reader, "MiB", most=MOST_READER_MB)
        table.add("captioned image", "growth of the service over them", gateway.resident_mb() - bare, "MiB")


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=data_folder(load_recipe()))
    parser.add_argument("--every", type=int, default=1, help="read one image in so many of the evaluation set")
    parser.add_argument("--harmful", type=int, default=300, help="texts that are set on photos")
    parser.add_argument("--benign", type=int, default=368, help="photos as they are")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    table = Table()
    photos = benign_photos(options.data, max(options.benign, 41))
    table.attempt("words read", lambda: recall(table, options.data, options.every))
    with running_gateway() as gateway:
        judge = Judge(gateway.url)
        table.attempt("caught as text", lambda: catches(table, judge, photos, harmful_texts(options.harmful)))
        table.attempt("benign photos", lambda: false_alarms(table, judge, photos[: options.benign]))
        table.attempt("texts beside images", lambda: beside(table, gateway.url, photos))
    table.attempt("captioned image", lambda: cost(table, photos))
    table.write(options.json)


if __name__ == "__main__":
    main()
