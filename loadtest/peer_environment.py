"""Which peers there are, how each is asked, and an environment of its own for each in `loadtest/.peers`.

Owns the pins and the installing; git ignores the folder. Refuses to measure.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from loadtest.peer_infinity import MODEL

FOLDER = Path(__file__).with_name(".peers")
INSTALL_LIMIT_S = 900


@dataclass(frozen=True, slots=True)
class Peer:
    """A server: what pip installs, step by step, the script beside this one that starts it, and how it is asked.

    `body` makes a request of a text, `scores` reads the probabilities of its answer in the order of some labels.
    `settings` are options of the script, each worth a try; `note` says what its figure holds.
    """

    name: str
    steps: tuple[tuple[str, ...], ...]
    script: str
    settings: tuple[tuple[str, ...], ...]
    path: str
    body: Callable[[str], dict[str, Any]]
    scores: Callable[[Any, Sequence[str]], list[float]]
    note: str
    probe: str = "/health"


def litserve_scores(answer: Any, labels: Sequence[str]) -> list[float]:
    """Probabilities of logits, which come in the labels' order."""
    del labels
    return [1 / (1 + math.exp(-logit)) for logit in answer["logits"]]


def infinity_scores(answer: Any, labels: Sequence[str]) -> list[float]:
    """Probabilities of labels that come in the order of their scores."""
    found = {row["label"]: row["score"] for row in answer["data"][0]}
    return [found[label] for label in labels]


_RUNTIME = f"onnxruntime=={version('onnxruntime')}"
PEERS = (
    Peer(
        "litserve",
        (("litserve==0.2.19", "fastapi==0.165.0", "pyzmq", _RUNTIME, f"tokenizers=={version('tokenizers')}"),),
        "peer_litserve.py",
        (("--http", "1"), ("--http", "2")),
        "/predict",
        lambda text: {"input": text},
        litserve_scores,
        "2 workers, fast_queue, not batched: the graph has no mask",
    ),
    Peer(
        "infinity-emb",
        # torch first and by itself, so that pip takes the build that is here for the CPU.
        (
            ("torch==2.13.0",),
            (
                "infinity-emb[optimum,server]==0.0.78",
                "optimum==2.1.0",
                "optimum-onnx==0.1.0",
                "transformers==4.57.6",
                "fastapi==0.165.0",
                "torch==2.13.0",
                _RUNTIME,
            ),
        ),
        "peer_infinity.py",
        (("--batch-size", "4"), ("--batch-size", "32"), ("--batch-size", "4", "--device-id", "0,1")),
        "/classify",
        lambda text: {"input": [text], "model": MODEL},
        infinity_scores,
        "optimum engine, same nodes, inputs renamed",
    ),
)


def install(peer: Peer) -> Path:
    """The interpreter of the peer's environment, made when it is missing or its pins are others.

    Raises RuntimeError with pip's last words where that fails.
    """
    folder = FOLDER / peer.name
    python, marker = folder / "bin" / "python", folder / "installed"
    wanted = "\n".join(" ".join(step) for step in peer.steps)
    if marker.exists() and marker.read_text(encoding="utf-8") == wanted:
        return python
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        for command in ([sys.executable, "-m", "venv", str(folder)], *([*pip, *step] for step in peer.steps)):
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_LIMIT_S)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"it could not be installed: {last_line(error.stderr)}") from error
    except (subprocess.TimeoutExpired, OSError) as error:
        raise RuntimeError(f"it could not be installed ({type(error).__name__})") from error
    marker.write_text(wanted, encoding="utf-8")
    return python


def environment(temporary: str) -> dict[str, str]:
    """The variables that a peer starts with: its own files only, and a temporary folder that goes with it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WEIR_", "PYTHON"))}
    return kept | {"TMPDIR": temporary, "TOKENIZERS_PARALLELISM": "false"}


def last_line(output: bytes) -> str:
    """The last line that says something, at most 200 characters of it."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing was said"
