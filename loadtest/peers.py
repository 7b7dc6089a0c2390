"""Peers: other servers around the same weights and tokenizer, each in an environment of its own, in turns with Weir.

Owns the measurement, and the check that a peer's scores are the model's. What does not install, does not start, does
not answer or answers something else is left out with the reason, in bounded time. No peer does what Weir does besides:
views, lexicon, policy, receipts.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from loadtest.ceiling import ARTIFACT, Alone
from loadtest.closed_loops import CONNECTIONS, FULL, PATH, Length, bodies_of
from loadtest.gateway import Gateway, free_port, running_gateway, running_server
from loadtest.peer_environment import PEERS, Peer, environment, install, last_line
from loadtest.table import Table
from loadtest.texts import neutral_texts
from loadtest.wrk import Closed, closed_loop

ANSWER_LIMIT_S = 60.0
LEAST_TURN_S = 4.0  # the first answers of 32 callers come late where a peer batches
NEAR = 0.01  # of probabilities, between two builds of onnxruntime


def peers(table: Table, length: Length) -> None:
    """Each peer at its quickest setting and Weir in turns, with the same texts; a quick run takes its first setting."""
    texts = neutral_texts(length.texts, seed=8)
    # A wait of a second is refused elsewhere; no peer refuses, so that on a busy machine both are slow instead.
    with running_gateway(cache="off", screen="off", max_wait_s="60", request_budget_s="60") as gateway:
        closed_loop(gateway, PATH, bodies_of(texts[:300]), LEAST_TURN_S / 2, CONNECTIONS)
        for peer in PEERS:
            try:
                python = install(peer)
                tried = peer.settings if length is FULL else peer.settings[:1]
                setting = _quickest(peer, python, tried, texts, length) if len(tried) > 1 else tried[0]
                with running_peer(peer, python, setting, texts[0]) as other:
                    pairs = _in_turns(gateway, other, peer, texts, length)
            except RuntimeError as error:
                table.skip(peer.name, f"{error}")
            else:
                _tell(table, peer, setting, pairs)


def _in_turns(
    gateway: Gateway, other: Gateway, peer: Peer, texts: Sequence[str], length: Length
) -> list[tuple[Closed, Closed]]:
    ours, theirs = bodies_of(texts), [peer.body(text) for text in texts]
    seconds = max(LEAST_TURN_S, length.turn_s)
    closed_loop(other, peer.path, theirs[:300], seconds, CONNECTIONS)
    return [
        (
            closed_loop(gateway, PATH, ours, seconds, CONNECTIONS),
            closed_loop(other, peer.path, theirs, seconds, CONNECTIONS),
        )
        for _ in range(length.turns)
    ]


def _tell(table: Table, peer: Peer, setting: Sequence[str], pairs: Sequence[tuple[Closed, Closed]]) -> None:
    scenario = f"{peer.name} on the same weights, {CONNECTIONS} connections"
    ours, theirs = [our for our, _ in pairs], [their for _, their in pairs]

    def tell(name: str, figure: Callable[[Closed], float], unit: str, note: str = "") -> None:
        for server, turns, said in ((peer.name, theirs, note), ("Weir", ours, "")):
            table.add(scenario, f"{name}{server}", statistics.median(map(figure, turns)), unit, note=said)

    tell("", lambda turn: turn.rate, "texts/s", f"{peer.note}; {' '.join(setting)}")
    table.add(
        scenario, f"Weir / {peer.name}", statistics.median(our.rate / their.rate for our, their in pairs), least=1.8
    )
    table.add(
        scenario,
        f"CPU of {peer.name} / CPU of Weir",
        statistics.median(their.server_us / our.server_us for our, their in pairs),
        note="the same ratio, by CPU time",
    )
    tell("CPU of ", lambda turn: turn.server_us, "us/text")
    tell("latency, median, of ", lambda turn: turn.p50_ms, "ms")
    tell("latency, p99, of ", lambda turn: turn.p99_ms, "ms")


def _quickest(
    peer: Peer, python: Path, settings: Sequence[Sequence[str]], texts: Sequence[str], length: Length
) -> Sequence[str]:
    """The setting with the highest rate in a short trial. Raises RuntimeError, that of the last, where none works."""
    bodies = [peer.body(text) for text in texts]
    rates: dict[float, Sequence[str]] = {}
    failure = RuntimeError("there is no setting")
    for setting in settings:
        try:
            with running_peer(peer, python, setting, texts[0]) as server:
                closed_loop(server, peer.path, bodies[:300], LEAST_TURN_S / 2, CONNECTIONS)
                rates[closed_loop(server, peer.path, bodies, length.turn_s / 2, CONNECTIONS).rate] = setting
        except RuntimeError as error:
            failure = error
    if not rates:
        raise failure
    return rates[max(rates)]


@contextmanager
def running_peer(
    peer: Peer,
    python: Path,
    setting: Sequence[str],
    text: str,
    *,
    answer_limit_s: float = ANSWER_LIMIT_S,
) -> Iterator[Gateway]:
    """Start a peer and see that it answers what the model says.

    Raises RuntimeError, with the last that the peer wrote, where it does not.
    """
    port = free_port()
    command = [str(python), str(Path(__file__).parent / peer.script), str(port), str(ARTIFACT), *setting]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "errors").open("w+b") as errors, ExitStack() as stack:
        try:
            url, variables = f"http://127.0.0.1:{port}", environment(folder)
            server = stack.enter_context(running_server(command, url, peer.probe, variables, errors=errors))
            see_answer(server, peer, text, answer_limit_s)
        except RuntimeError as error:
            errors.seek(0)
            raise RuntimeError(f"{error}; its last words: {last_line(errors.read())}") from error
        yield server


def see_answer(server: Gateway, peer: Peer, text: str, limit_s: float) -> None:
    """Ask once. Raises RuntimeError if there is no answer in time, or if its scores are not the model's."""
    try:
        answer = httpx.post(server.url + peer.path, json=peer.body(text), timeout=limit_s)
    except httpx.TransportError as error:
        raise RuntimeError(f"a first request got no answer within {limit_s:.0f} s ({type(error).__name__})") from error
    if answer.status_code != 200:
        raise RuntimeError(f"a first request was answered with {answer.status_code}")
    labels, wanted = _expected(text)
    try:
        found = np.array(peer.scores(answer.json(), labels))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RuntimeError(f"its answer cannot be read ({type(error).__name__})") from error
    if found.shape != wanted.shape or not np.abs(found - wanted).max() <= NEAR:
        raise RuntimeError("its scores are not those of the model")


def _expected(text: str) -> tuple[list[str], Any]:
    """The labels and, as the session alone gives them, their probabilities (C,) for a text."""
    labels: list[str] = json.loads((ARTIFACT / "manifest.json").read_text(encoding="utf-8"))["labels"]
    return labels, 1 / (1 + np.exp(-Alone().score([text])[0]))
