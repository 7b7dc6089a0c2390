from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from loadtest.gateway import free_port, running_server
from loadtest.peer_environment import Peer, infinity_scores, last_line, litserve_scores
from loadtest.peer_infinity import make_folder
from loadtest.peers import running_peer
from tests.tiny_artifact import write_artifact

# A server that is ready, starts a process that outlives it, and then answers with MODE's status, or never.
SERVER = """
import subprocess, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOGITS = b", ".join([b"0.0"] * 18)

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self): self.answer(200, b"%d" % child.pid)
    def do_POST(self):
        if sys.argv[3] == "silent":
            time.sleep(600)
        wanted = sys.argv[3]
        self.answer(200, b"{}") if wanted == "empty" else self.answer(int(wanted), b'{"logits": [%s]}' % LOGITS)

child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
if sys.argv[3] == "never":
    print("no model here\\n", file=sys.stderr, flush=True)
    sys.exit(3)
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    script = tmp_path / "server.py"
    script.write_text(SERVER, encoding="utf-8")
    return Peer("fake", (), str(script), (), "/ask", lambda text: {"input": text}, litserve_scores, "")


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("silent", "got no answer within 0 s"),
        ("422", "answered with 422"),
        ("empty", "cannot be read .KeyError"),
        ("200", "not those of the model"),
        ("never", "status 3 before it was ready; its last words: no model here"),
    ],
)
def test_a_peer_that_does_not_work_ends_with_the_reason(peer: Peer, mode: str, why: str) -> None:
    with (
        pytest.raises(RuntimeError, match=why),
        running_peer(peer, Path(sys.executable), (mode,), "hello", answer_limit_s=0.4),
    ):
        pass


def test_a_server_that_is_never_ready_ends_in_bounded_time() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with (
        pytest.raises(RuntimeError, match="not ready within 0 s"),
        running_server(command, f"http://127.0.0.1:{free_port()}", "/", limit_s=0.2),
    ):
        pass


def test_what_a_server_leaves_behind_is_ended_with_it(peer: Peer) -> None:
    port = free_port()
    command = [sys.executable, peer.script, str(port), "-", "200"]
    with running_server(command, f"http://127.0.0.1:{port}", "/", limit_s=30.0) as server:
        (child,) = server.pids[1:]
    until = time.monotonic() + 20
    while _lives(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _lives(child)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_folder_for_infinity_holds_the_same_model(tmp_path: Path) -> None:
    artifact, folder = write_artifact(tmp_path / "artifact"), tmp_path / "folder"
    make_folder(artifact, folder)
    ids = np.array([[101, 200, 207, 102]], dtype=np.int64)
    segments = np.zeros_like(ids)
    wanted = _session(artifact).run(["logits"], {"ids": ids, "segments": segments})[0]
    found = _session(folder).run(["logits"], {"input_ids": ids, "token_type_ids": segments})[0]
    assert np.array_equal(wanted, found)
    labels = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))["labels"]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert [config["id2label"][str(n)] for n in range(len(labels))] == labels
    assert json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["padding"] is None


def _session(folder: Path) -> Any:
    return ort.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])


def test_scores_are_read_in_the_order_of_the_labels() -> None:
    assert litserve_scores({"logits": [0.0]}, ["a"]) == [0.5]
    rows = [{"label": "b", "score": 0.9}, {"label": "a", "score": 0.1}]
    assert infinity_scores({"data": [rows]}, ["a", "b"]) == [0.1, 0.9]


def test_last_line() -> None:
    assert last_line(b"one\ntwo \n\n") == "two"
    assert last_line(b"") == "nothing was said"
    assert len(last_line(b"x" * 999)) == 200
