"""infinity-emb around the same weights, by its own command and its `optimum` engine. Runs in its environment.

Owns the folder that this engine can load, which is made from the artefact: the same graph with its inputs named as the
engine feeds them, the same tokenizer, and the two files of a hub's layout that say what they are. Its /classify runs
one text at a time whatever the batch is, so that the graph's lack of a mask does no harm.

    python peer_infinity.py PORT ARTIFACT [OPTION OF INFINITY ...]
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import onnx

MOST_TOKENS = 190
MODEL = "weir"
INPUTS = {"ids": "input_ids", "segments": "token_type_ids"}
# No warm-up: it feeds 512 tokens, more than the graph has positions for. No optimiser: it would change the graph's
# nodes, and onnxruntime optimises what it loads in any case. Its cache of answers is off unless it is asked for.
OPTIONS = ("--engine", "optimum", "--device", "cpu", "--no-model-warmup", "--onnx-disable-optimize")


def renamed(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same nodes and weights under the names that the engine feeds; it leaves out a mask that is not asked for."""
    for node in graph.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = INPUTS.get(name, name)
    for given in graph.graph.input:
        given.name = INPUTS.get(given.name, given.name)
    return graph


def make_folder(artifact: Path, folder: Path) -> None:
    """Write the model as the engine wants it into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(renamed(onnx.load(artifact / "model.onnx")), folder / "model.onnx")
    labels = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))["labels"]
    tokenizer = json.loads((artifact / "tokenizer.json").read_text(encoding="utf-8"))
    files = {
        "tokenizer.json": tokenizer | {"truncation": None, "padding": None},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": MOST_TOKENS,
            "model_input_names": list(INPUTS.values()),
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
        },
        "config.json": {
            "model_type": "bert",
            "architectures": ["BertForSequenceClassification"],
            "problem_type": "multi_label_classification",
            "id2label": dict(enumerate(labels)),
            "label2id": {label: n for n, label in enumerate(labels)},
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


def main() -> None:
    """Make the folder and become the server, on loopback, without telemetry and without a hub."""
    port, artifact, *options = sys.argv[1:]
    folder, home = Path(sys.prefix) / "model", Path(sys.prefix) / "home"
    make_folder(Path(artifact), folder)
    home.mkdir(exist_ok=True)
    os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=str(home), INFINITY_HOME=str(home), DO_NOT_TRACK="1")
    # It names the graph by its whole path, which optimum takes for a name below the folder; from within, they are one.
    os.chdir(folder)
    command = [str(Path(sys.prefix) / "bin" / "infinity_emb"), "v2", "--model-id", ".", "--served-model-name", MODEL]
    command += [*OPTIONS, "--host", "127.0.0.1", "--port", port, "--log-level", "warning", *options]
    os.execv(command[0], command)  # noqa: S606 - the command is spelt out above


if __name__ == "__main__":
    main()
