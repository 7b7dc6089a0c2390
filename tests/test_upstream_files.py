"""Upstreams by name: what a table may say, and what stops the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.backends.upstream import Upstream
from service.config import Settings
from service.errors import StartRefused
from service.upstream_files import read_upstreams
from service.wiring import load_upstreams

SECRETS = {"LLM_KEY": "secret"}
WHOLE = '[one]\nurl = "http://llm/v1/"\nkind = "openai"\nkey_env = "LLM_KEY"\nfirst_byte_s = 3\nstall_s = 0.5\n'


def read(given: str) -> list[Upstream]:
    return read_upstreams(given, lambda name: SECRETS.get(name, ""))


def test_inline_and_from_a_file(tmp_path: Path) -> None:
    wanted = [Upstream("one", "openai", "http://llm", "secret", 3.0, 0.5)]
    path = tmp_path / "upstreams.toml"
    path.write_text(WHOLE, encoding="utf-8")
    assert read(WHOLE) == read(str(path)) == wanted
    assert read('one = {url = "https://a.b", kind = "anthropic"}') == [Upstream("one", "anthropic", "https://a.b")]


@pytest.mark.parametrize(
    "wrong",
    [
        "nowhere.toml",
        "[one",
        "x = 1 = 2",
        "one = 1",
        'default = {url = "http://a", kind = "openai"}',
        'One = {url = "http://a", kind = "openai"}',
        'one = {url = "ftp://a", kind = "openai"}',
        'one = {url = "http://a", kind = "other"}',
        'one = {url = "http://a", kind = "openai", key = "k"}',
        'one = {url = "http://a", kind = "openai", key_env = "NOT_SET"}',
        'one = {url = "http://a", kind = "openai", stall_s = 0}',
        'one = {url = "http://a", kind = "openai", stall_s = true}',
    ],
)
def test_what_is_wrong_stops_the_start(wrong: str) -> None:
    with pytest.raises(StartRefused) as caught:
        read(wrong)
    assert "http://a" not in str(caught.value) and "ftp" not in str(caught.value)


def test_keys_of_the_defaults_are_settings() -> None:
    settings = Settings(upstream_openai="http://a", upstream_openai_key="k", upstreams=WHOLE.replace("key_env", "#"))
    found = load_upstreams(settings)
    assert found["openai", "default"].key == "k" and found["openai", "one"].stall_s == 0.5
    assert "'k'" not in repr(settings) and "k" not in repr(found["openai", "default"])[20:].replace("kind", "")
    with pytest.raises(ValueError, match="WEIR_UPSTREAM_OPENAI_KEY needs WEIR_UPSTREAM_OPENAI"):
        Settings(upstream_openai_key="k")
