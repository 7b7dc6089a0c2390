"""LitServe around the same session and tokenizer, as its documentation has it. Runs in LitServe's environment.

Owns the five hooks and the settings. Not batched: the graph has no mask, so a batch that is padded gives other logits
than its texts alone do, and what Weir and the ceiling run fastest is one text at a time as well.

    python peer_litserve.py PORT ARTIFACT --http PROCESSES
"""
# LitServe hands the hooks' annotations to FastAPI from a module of its own, where one that is text means nothing and
# becomes a query parameter: hence no `from __future__ import annotations` here.

import sys
from pathlib import Path
from typing import Any

import litserve
import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

MOST_TOKENS = 190
WORKERS = 2


class Classifier(litserve.LitAPI):  # type: ignore[misc, unused-ignore]
    """Tokenise, one inference a text; the logits are the answer."""

    def setup(self, device: str) -> None:
        """Load what the service loads, a session of one thread for each of two workers."""
        folder = Path(sys.argv[2])
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def decode_request(self, request: dict[str, Any]) -> str:
        """The text of a request."""
        return str(request["input"])

    def predict(self, x: str) -> list[float]:
        """Logits (C,) of a text."""
        ids = np.array([self.tokenizer.encode(x).ids[:MOST_TOKENS]], dtype=np.int64)
        logits: list[float] = self.session.run(["logits"], {"ids": ids, "segments": np.zeros_like(ids)})[0][0].tolist()
        return logits

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """As JSON."""
        return {"logits": output}


if __name__ == "__main__":
    server = litserve.LitServer(Classifier(), accelerator="cpu", workers_per_device=WORKERS, fast_queue=True)
    server.run(
        port=int(sys.argv[1]),
        host="127.0.0.1",
        log_level="warning",
        generate_client_file=False,
        num_api_servers=int(sys.argv[4]),
    )
