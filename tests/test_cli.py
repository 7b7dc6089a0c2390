"""The command line, as processes: what is printed where, and the exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from service import cli
from tests.running import FAKE_WEIR, Running


def weir(*arguments: str, text: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FAKE_WEIR), *arguments],
        input=text, capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})}, check=False,
    )  # fmt: skip


def test_lines_are_judged_in_order() -> None:
    done = weir("moderate", text="wait\n\nan insult\nfine\n")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["line"], row["action"]) for row in rows] == [(1, "allow"), (3, "block"), (4, "allow")]
    assert (done.returncode, done.stderr) == (1, "runtime closed\n")


@pytest.mark.parametrize(
    ("text", "code"), [("fine\n", 0), ("", 0), ("fine\nan insult\n", 1), ("overload\nan insult\n", 2)]
)
def test_exit_codes(text: str, code: int) -> None:
    assert weir("moderate", "-", text=text).returncode == code


def test_json_lines_and_their_errors(tmp_path: Path) -> None:
    rows = [{"text": "an insult", "label": 1, "policy": 3}, {"input": "fine", "policy": "kids"}, {"nothing": "here"}]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n" + '{"text": "fine"}\n')
    done = weir("moderate", str(file), "--role", "user")
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    seen = [reply["error"]["code"] if "error" in reply else reply["action"] for reply in replies]
    assert seen == ["block", "allow", "invalid_request", "invalid_request", "allow"]
    assert [reply.get("policy") for reply in replies] == ["default", "kids", None, None, "default"]
    assert done.returncode == 2


def test_a_byte_order_mark_does_not_make_plain_text_of_json_lines() -> None:
    done = weir("moderate", text="\ufeff" + json.dumps({"text": "fine", "label": "an insult"}) + "\n")
    assert (json.loads(done.stdout)["action"], done.returncode) == ("allow", 0)


def test_image_files_are_judged_each_for_itself(tmp_path: Path) -> None:
    for name, words in (("a.png", "\x89PNG calm"), ("b", "GIF8 an insult"), ("c.svg", "<svg/>")):
        (tmp_path / name).write_bytes(words.encode("latin-1"))
    files = [str(tmp_path / name) for name in ("a.png", "b", "c.svg")]
    done = weir("moderate", *files, "--policy", "kids")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["file"] for row in rows] == files and done.returncode == 2
    assert [row.get("action") or row["error"]["code"] for row in rows] == ["allow", "block", "unsupported_image"]
    assert rows[0]["policy"] == "kids" and rows[1]["findings"][0]["image"] == 0
    assert json.loads(weir("moderate", files[0], "--text", "an insult").stdout)["action"] == "block"


def test_images_do_not_mix_with_lines(tmp_path: Path) -> None:
    lines, image = tmp_path / "lines.txt", tmp_path / "a.png"
    lines.write_text("fine\n")
    image.write_bytes(b"\x89PNG")
    for given in ([lines, image], [lines, lines], [image, "-"], [lines, "--text", "x"], [tmp_path / "none.png"]):
        done = weir("moderate", *map(str, given))
        assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("weir: ")


def test_a_line_that_is_not_utf8_is_judged() -> None:
    done = subprocess.run(
        [sys.executable, str(FAKE_WEIR), "moderate"], input=b"caf\xe9 insult\n", check=False, capture_output=True
    )
    assert (done.returncode, json.loads(done.stdout)["action"]) == (1, "block")


def test_a_file_that_is_not_there_is_one_sentence() -> None:
    done = weir("moderate", "/nowhere/file")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "weir: /nowhere/file: No such file or directory.\n"


def waiting_for_more() -> subprocess.Popen[bytes]:
    """`weir moderate` that has answered one line, and whose standard input stays open."""
    process = subprocess.Popen(
        [sys.executable, str(FAKE_WEIR), "moderate"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # A suite that was started in the background ignores SIGINT, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - takes no lock
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"fine\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["action"] == "allow"
    return process


def test_a_reader_that_stops_early_is_no_disaster() -> None:
    with waiting_for_more() as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdout.close()
        process.stdin.write(b"fine\n")
        process.stdin.flush()
        assert process.wait(timeout=10) == 2
        assert process.stderr.read() == b"runtime closed\n"


def test_ctrl_c_does_not_wait_for_the_next_line() -> None:
    with waiting_for_more() as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
        assert process.stderr is not None and process.stderr.read() == b"runtime closed\n"


def test_a_bar_is_drawn_on_a_terminal_only(tmp_path: Path) -> None:
    file = tmp_path / "texts"
    file.write_text("fine\n" * 50)
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, str(FAKE_WEIR), "moderate", str(file)],
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        timeout=60,
    )
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0
    assert "100%" in shown and "50 texts" in shown


def test_a_new_key_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["key", "new", "laptop"]) == 0
    key, line = (text.split()[-1] for text in capsys.readouterr().out.splitlines())
    assert line == f"laptop:{hashlib.sha256(key.encode()).hexdigest()}"
    assert len(key) > 40
    assert cli.main(["key", "new", "two words"]) == 2


def test_keys_differ(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["key", "new"])
    cli.main(["key", "new"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] != lines[2]


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"WEIR_PROT": "1"}, r"weir: WEIR_PROT is not a setting of Weir; the closest name is WEIR_PORT\.\n"),
        ({"WEIR_CACHE": "redis"}, r"weir: WEIR_CACHE=redis needs WEIR_CACHE_URL[^\n]*\.\n"),
        ({"WEIR_HOST": ".."}, r"weir: WEIR_HOST is not an address of this machine\.\n"),
        ({"WEIR_HOST": "no such host"}, r"weir: WEIR_HOST is not an address of this machine\.\n"),
    ],
)
def test_a_refused_start_is_one_sentence(env: dict[str, str], sentence: str) -> None:
    for command in ("serve", "moderate")[: 1 if "WEIR_HOST" in env else 2]:
        done = weir(command, env=env)
        assert done.returncode == 2
        assert re.fullmatch(sentence, done.stderr)


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = weir("serve", env={"WEIR_PORT": port})
    assert (done.returncode, done.stderr) == (2, f"weir: Port {port} cannot be listened on: Address already in use.\n")


def test_sigterm_drains_and_what_is_in_flight_is_answered() -> None:
    body = b'{"input": "wait"}'
    with Running(WEIR_DRAIN_S="1") as running, httpx.Client(base_url=running.url) as client:
        with socket.create_connection(("127.0.0.1", client.base_url.port or 0)) as raw:
            assert client.get("/readyz").status_code == 200
            raw.sendall(b"POST /v1/moderate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            time.sleep(0.1)
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
            refused = client.post("/v1/moderate", json={"input": "x"})
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
            assert (client.get("/readyz").status_code, client.get("/livez").status_code) == (503, 200)
            assert raw.recv(64).startswith(b"HTTP/1.1 200")
        assert running.process.wait(timeout=20) == 0
        assert "runtime closed" in running.log() and "Traceback" not in running.log()


def test_what_is_in_flight_when_it_stops_is_answered() -> None:
    body = b'{"input": "wait"}'
    with Running() as running, socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2]))) as raw:
        raw.sendall(b"POST /v1/moderate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        time.sleep(0.1)
        assert running.stop() == 0
        assert raw.recv(64).startswith(b"HTTP/1.1 200")


def test_ctrl_c_stops_at_once() -> None:
    with Running(WEIR_DRAIN_S="60") as running:
        begun = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - begun < 5
        assert "runtime closed" in running.log()


def test_what_is_not_in_use_is_said_once_at_start() -> None:
    with Running(WEIR_SCREEN="on", WEIR_HOST="0.0.0.0") as running:
        running.stop()
        warnings = [json.loads(line) for line in running.log().splitlines() if '"warning"' in line]
    assert [line.get("setting", "open") for line in warnings] == ["WEIR_SCREEN", "open"]
