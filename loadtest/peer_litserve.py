"""LitServe around the same session and tokenizer, batched as its documentation has it. Runs in LitServe's environment.

python peer_litserve.py PORT ARTIFACT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import litserve
import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

MOST_TOKENS = 190
BATCH = 8
WAIT_S = 0.005


class Classifier(litserve.LitAPI):  # type: ignore[misc, unused-ignore]
    """Tokenise, pad, one inference a batch; the logits are the answer."""

    def setup(self, device: str) -> None:
        """Load what the service loads, a session of one thread for each of two workers."""
        folder = Path(sys.argv[2])
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def decode_request(self, request: dict[str, Any], **_: Any) -> str:
        """The text of a request."""
        return str(request["input"])

    def batch(self, inputs: list[str]) -> list[str]:
        """Texts as they came."""
        return list(inputs)

    def predict(self, x: list[str], **_: Any) -> list[list[float]]:
        """Logits of a batch, padded to its longest."""
        rows = [self.tokenizer.encode(text).ids[:MOST_TOKENS] for text in x]
        ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
        logits: list[list[float]] = self.session.run(["logits"], {"ids": ids, "segments": np.zeros_like(ids)})[
            0
        ].tolist()
        return logits

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        """One answer a request."""
        return output

    def encode_response(self, output: list[float], **_: Any) -> dict[str, list[float]]:
        """As JSON."""
        return {"logits": output}


if __name__ == "__main__":
    api = Classifier(max_batch_size=BATCH, batch_timeout=WAIT_S)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2)
    server.run(port=int(sys.argv[1]), host="127.0.0.1", log_level="warning", generate_client_file=False)
