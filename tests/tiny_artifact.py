"""A small but real artefact: a graph that onnxruntime runs, a tokenizer that tokenizes, a manifest that is checked.

A word has a fixed meaning: the logits of a text are, per category, the highest of its words'. Words that are not in
WORDS are spelt with single letters, which mean nothing.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from service.taxonomy import CATEGORIES

LABELS = (*CATEGORIES, "unsafe")
ROWS = 997  # of the word table; ids are taken modulo this
EMBEDDING = 8
INNOCENT = -8.0  # logit of a word without meaning; no finding comes of it
MAX_TOKENS, OVERLAP_TOKENS, CONTEXT_TOKENS, WINDOW_SHIFT = 32, 8, 6, 0.35

# Not in the service's lexicon where that is possible, so that the stages can be told apart.
WORDS: dict[str, dict[str, float]] = {
    "glorp": {"harassment": 5.0},
    "zblood": {"violence/graphic": 4.0, "violence": 1.0},
    "frimble": {"illicit/violent": 3.0},
    "maybe": {"harassment": 0.0},
    "infinite": {"violence": np.inf},
    **{key: {} for key in ("the", "cat", "sat", "on", "mat", "and", "hello", "tea", "is", "fine")},
}
# "##ing" without "ing", and a syllable that is three tokens: what is cut inside a word becomes more tokens.
PIECES = ("##ing", "ᄒ", "##ᄒ", "##ᅡ", "##ᆫ", "?")
CALIBRATION = {"post": [1.0, 0.0], "prompt": [1.0, 0.5], "response": [0.5, -0.5]}
PRESETS = {"strict": [0.3, 0.5, 0.7], "balanced": [0.5, 0.7, 0.9], "permissive": [0.7, 0.85, 0.95]}


def vocabulary() -> dict[str, int]:
    """Token -> id; [UNK], [CLS] and [SEP] where BERT has them."""
    letters = string.ascii_lowercase + string.digits
    tokens = [*letters, *(f"##{letter}" for letter in letters), *PIECES, *string.punctuation.replace("?", "")]
    ids = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102}
    return ids | {token: 200 + n for n, token in enumerate((*WORDS, *tokens))}


def make_tokenizer() -> Tokenizer:
    """WordPiece over the vocabulary, after BERT's normalisation."""
    tokenizer = Tokenizer(models.WordPiece(vocabulary(), unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def make_graph(heads: int = len(LABELS), segments: str = "segments") -> onnx.ModelProto:
    """Per head the highest entry over the tokens; tokens of the second segment count a little more."""
    table = np.full((ROWS, heads), INNOCENT, dtype=np.float32)
    for word, meaning in WORDS.items():
        for category, logit in meaning.items():
            table[vocabulary()[word], LABELS.index(category)] = logit
    vectors = np.random.default_rng(0).normal(size=(ROWS, EMBEDDING)).astype(np.float32)
    weights = {
        "rows": np.array(ROWS, dtype=np.int64),
        "table": table,
        "vectors": vectors,
        "seconds": np.array([[0.0], [0.5]], dtype=np.float32),
        "axis": np.array([1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Mod", ["ids", "rows"], ["row"]),
        helper.make_node("Gather", ["table", "row"], ["meaning"]),
        helper.make_node("Gather", ["seconds", segments], ["more"]),
        helper.make_node("Add", ["meaning", "more"], ["sum"]),
        helper.make_node("ReduceMax", ["sum", "axis"], ["logits"], keepdims=0),
        helper.make_node("Gather", ["vectors", "row"], ["vector"]),
        helper.make_node("ReduceMean", ["vector", "axis"], ["embedding"], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"]) for name in ("ids", segments)]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", heads]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", EMBEDDING]),
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def write_artifact(folder: Path, model: onnx.ModelProto | None = None) -> Path:
    """A whole artefact in `folder`, around another graph if one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model or make_graph(), folder / "model.onnx")
    make_tokenizer().save(str(folder / "tokenizer.json"))
    manifest = {
        "format": 1,
        "name": f"weir-{folder.name}",
        "files": {},
        "labels": list(LABELS),
        "max_tokens": MAX_TOKENS,
        "overlap_tokens": OVERLAP_TOKENS,
        "context_tokens": CONTEXT_TOKENS,
        "window_shift": WINDOW_SHIFT,
        "languages": ["en"],
        "calibration": {kind: dict.fromkeys(CATEGORIES, fit) for kind, fit in CALIBRATION.items()},
        "presets": {preset: dict.fromkeys(CATEGORIES, lines) for preset, lines in PRESETS.items()},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return edit_manifest(folder, lambda found: None)


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Bring the manifest's digests up to date, then `change` it in place."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name in ("model.onnx", "tokenizer.json"):
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return folder
