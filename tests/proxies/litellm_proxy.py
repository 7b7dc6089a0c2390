"""LiteLLM's real proxy as a process of its own, between an upstream and Weir's guardrail.

`make test-litellm` installs it into an environment of its own and says where it is, in LITELLM_BIN: it brings more than
a hundred packages, which the rest of the tests have no use for.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

START_S = 300  # it imports for half a minute on a machine that has nothing else to do
PROXY_KEY = "sk-of-the-proxy"

# Every guardrail that README's configuration could mean, by name: what differs from `weir`.
GUARDRAILS: dict[str, dict[str, object]] = {
    "weir": {},
    "block-only": {"streaming_transform_mode": "block_only"},
    "redact": {"additional_provider_specific_params": {"policy": "masked"}},
    "fail-open": {"unreachable_fallback": "fail_open"},
    "wrong-key": {"api_key": "not the key"},
}


def configuration(weir_url: str, key: str, upstream_url: str, models: Iterator[str]) -> dict[str, object]:
    """README's configuration, once for each of GUARDRAILS; a request names the one it is for."""
    own = {
        "guardrail": "generic_guardrail_api",
        "mode": ["pre_call", "post_call"],
        "api_base": weir_url,
        "api_key": key,
        "streaming_transform_mode": "incremental_diff",
    }
    return {
        "model_list": [
            {
                "model_name": model,
                "litellm_params": {"model": f"openai/{model}", "api_base": upstream_url, "api_key": "sk-upstream"},
            }
            for model in models
        ],
        "guardrails": [
            {"guardrail_name": name, "litellm_params": {**own, **other}} for name, other in GUARDRAILS.items()
        ],
        "general_settings": {"master_key": PROXY_KEY},
        "litellm_settings": {"num_retries": 0},
    }


@contextmanager
def proxying(config: dict[str, object]) -> Iterator[str]:
    """Start the proxy, wait until it lives, and end it by its process id. Gives its address."""
    program = os.environ.get("LITELLM_BIN")
    assert program, "LITELLM_BIN does not say where LiteLLM's proxy is: run these tests with `make test-litellm`"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        path = Path(folder) / "config.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")  # which is YAML too
        command = [program, "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
        environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # else it asks the internet first
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + START_S
            while not _lives(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise AssertionError(f"LiteLLM's proxy did not start: {log.read()[-2000:]}")
                time.sleep(0.2)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _lives(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/liveliness", timeout=2.0).status_code == 200
    except httpx.TransportError:
        return False
