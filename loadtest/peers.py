"""Peers: other servers around the same ONNX file and tokenizer, each in an environment of its own.

Owns installing them into `loadtest/.peers`, which git ignores, and the measurement. What does not install, or does not
start, is left out with the reason. No peer does what Weir does besides: views, lexicon, policy, receipts.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from loadtest.ceiling import ARTIFACT
from loadtest.closed_loops import CONNECTIONS, PATH, Length, bodies_of
from loadtest.gateway import free_port, running_gateway, running_server
from loadtest.table import Table
from loadtest.texts import neutral_texts
from loadtest.wrk import closed_loop

FOLDER = Path(__file__).with_name(".peers")
INSTALL_LIMIT_S = 600


@dataclass(frozen=True, slots=True)
class Peer:
    """A server: what pip installs, the script beside this one that starts it, and where it answers."""

    name: str
    packages: tuple[str, ...]
    script: str
    path: str
    probe: str


PEERS = (Peer("litserve", ("litserve", "onnxruntime", "tokenizers"), "peer_litserve.py", "/predict", "/health"),)


def peers(table: Table, length: Length) -> None:
    """Each peer and Weir in turns, with the same texts."""
    scenario = f"Peers on the same ONNX file, {CONNECTIONS} connections"
    bodies = bodies_of(neutral_texts(length.texts, seed=8))
    table.skip(
        "infinity-emb",
        "it loads a model by the names and files of its hub's layout (config.json, AutoTokenizer, optimum); this "
        "graph's inputs are called `ids` and `segments`, so it cannot load the same file",
    )
    for peer in PEERS:
        python = install(peer, table)
        if python is None:
            continue
        port = free_port()
        command = [str(python), str(Path(__file__).with_name(peer.script)), str(port), str(ARTIFACT)]
        try:
            with (
                running_gateway(cache="off", screen="off") as gateway,
                running_server(command, f"http://127.0.0.1:{port}", peer.probe) as other,
            ):
                for server, path in ((gateway, PATH), (other, peer.path)):
                    closed_loop(server, path, bodies[:300], 1.0, CONNECTIONS)
                pairs = [
                    (
                        closed_loop(gateway, PATH, bodies, length.turn_s, CONNECTIONS),
                        closed_loop(other, peer.path, bodies, length.turn_s, CONNECTIONS),
                    )
                    for _ in range(length.turns)
                ]
        except RuntimeError as error:
            table.skip(peer.name, f"{error}")
            continue
        table.add(scenario, peer.name, statistics.median(theirs.rate for _, theirs in pairs), "texts/s")
        table.add(scenario, "Weir", statistics.median(ours.rate for ours, _ in pairs), "texts/s")
        ratio = statistics.median(ours.rate / theirs.rate for ours, theirs in pairs)
        table.add(scenario, f"Weir / {peer.name}", ratio, least=1.8)


def install(peer: Peer, table: Table) -> Path | None:
    """The interpreter of the peer's environment, made when it is missing; None where that fails."""
    folder = FOLDER / peer.name
    python, marker = folder / "bin" / "python", folder / "installed"
    if marker.exists():
        return python
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.packages]
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_LIMIT_S)
    except (subprocess.SubprocessError, OSError) as error:
        table.skip(peer.name, f"it could not be installed ({type(error).__name__})")
        return None
    marker.touch()
    return python
