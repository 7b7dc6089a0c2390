"""Settings: what is taken, and what is refused in one sentence that shows no value."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from service.config import ApiKey, Settings
from service.environment import load_settings
from service.errors import StartRefused
from service.planned import not_in_use

DIGEST = hashlib.sha256(b"key").hexdigest()

ALL_FROM_DAY_ONE = {
    "PORT": "9000",
    "WEIR_HOST": "0.0.0.0",
    "WEIR_CACHE": "redis",
    "WEIR_CACHE_URL": "redis://cache:6379/0",
    "WEIR_CACHE_SCOPE": "key",
    "WEIR_STORE_URL": "redis://store:6379/0",
    "WEIR_SCREEN": "on",
    "WEIR_DATA_DIR": "/data",
    "WEIR_WORKERS": "2",
    "WEIR_REPLICAS": "2",
    "WEIR_API_KEYS": f"a:{DIGEST}",
    "WEIR_ADMIN_KEYS": f"root:{hashlib.sha256(b'other').hexdigest()}",
    "WEIR_SECRET": "hush",
    "WEIR_UPSTREAM_OPENAI": "https://api.openai.com/v1",
    "WEIR_UPSTREAM_ANTHROPIC": "https://api.anthropic.com",
    "WEIR_UPSTREAMS": "upstreams.toml",
    "WEIR_JUDGE_URL": "http://judge:8080/v1",
    "WEIR_JUDGE_MODEL": "m",
    "WEIR_JUDGE_KEY": "hush",
    "WEIR_IMAGE_HOSTS": "a.example, b.example",
    "WEIR_MODEL_DIR": "/models",
    "WEIR_POLICY_DIR": "/policies",
    "WEIR_PRESET": "strict",
    "WEIR_LOG_LEVEL": "INFO",
}


def test_the_defaults_need_nothing() -> None:
    settings = load_settings({})
    assert (settings.host, settings.port, settings.max_text_chars) == ("127.0.0.1", 8000, 200_000)
    assert not_in_use(settings) == ()


def test_every_published_name_is_taken() -> None:
    settings = load_settings(ALL_FROM_DAY_ONE)
    assert settings.port == 9000
    assert settings.image_hosts == ("a.example", "b.example")
    assert settings.model_dir == Path("/models")


def test_what_does_nothing_yet_is_named() -> None:
    named = not_in_use(load_settings(ALL_FROM_DAY_ONE))
    assert named == ("WEIR_SCREEN",)
    working = {"WEIR_HOST", "WEIR_API_KEYS", "WEIR_PRESET", "WEIR_ADMIN_KEYS", "WEIR_SECRET", "WEIR_IMAGE_HOSTS"}
    assert not working & set(named)
    assert not_in_use(load_settings({"WEIR_WORKERS": "1", "WEIR_CACHE": "off", "WEIR_SCREEN": "off"})) == ()


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"WEIR_IMAGE_HOSTS": "https://a.example"}, ("must be a host name",)),
        ({"WEIR_IMAGE_HOSTS": "a.example,*"}, ("must be a host name",)),
        ({"WEIR_IMAGE_HOSTS": "10.0.0.1"}, ("must be a host name",)),
        ({"WEIR_IMAGE_BODY_BYTES": "1000"}, ("WEIR_IMAGE_MAX_BYTES",)),
        ({"WEIR_PROT": "80"}, ("WEIR_PROT", "WEIR_PORT")),
        ({"WEIR_MODELDIR": "/x"}, ("WEIR_MODELDIR", "WEIR_MODEL_DIR")),
        ({"WEIR_zzz": "1"}, ("WEIR_zzz is not a setting of Weir.",)),
        ({"WEIR_PORT": "hidden"}, ("WEIR_PORT", "integer")),
        ({"WEIR_PORT": "70000"}, ("WEIR_PORT", "65535")),
        ({"WEIR_WORKERS": "0"}, ("WEIR_WORKERS", "1")),
        ({"WEIR_CACHE": "hidden"}, ("WEIR_CACHE", "'off', 'memory' or 'redis'")),
        ({"WEIR_CACHE": "redis"}, ("WEIR_CACHE=redis", "WEIR_CACHE_URL")),
        ({"WEIR_CACHE_URL": "redis://hidden"}, ("WEIR_CACHE_URL", "WEIR_CACHE is not redis")),
        ({"WEIR_REPLICAS": "2"}, ("WEIR_REPLICAS", "WEIR_STORE_URL")),
        ({"WEIR_REPLICAS": "2", "WEIR_STORE_URL": "sqlite:///hidden"}, ("WEIR_STORE_URL",)),
        ({"WEIR_STORE_URL": "postgres://hidden"}, ("WEIR_STORE_URL",)),
        ({"WEIR_REPLICAS": "2", "WEIR_STORE_URL": "redis://hidden"}, ("WEIR_REPLICAS", "WEIR_SECRET")),
        ({"WEIR_JUDGE_KEY": "hidden"}, ("WEIR_JUDGE_URL",)),
        ({"WEIR_UPSTREAM_OPENAI": "hidden"}, ("WEIR_UPSTREAM_OPENAI", "http")),
        ({"WEIR_API_KEYS": "hidden"}, ("WEIR_API_KEYS", "name:sha256")),
        ({"WEIR_API_KEYS": f"a b:{DIGEST}"}, ("WEIR_API_KEYS", "name")),
        ({"WEIR_API_KEYS": f"a:{DIGEST},a:{DIGEST}"}, ("WEIR_API_KEYS", "same name")),
        ({"WEIR_API_KEYS": f"a:{DIGEST}", "WEIR_ADMIN_KEYS": f"b:{DIGEST}"}, ("share a key",)),
        ({"WEIR_PRESET": "hidden"}, ("WEIR_PRESET", "'strict', 'balanced' or 'permissive'")),
        ({"WEIR_MAX_TEXT_CHARS": "2000000"}, ("WEIR_MAX_TEXT_CHARS", "WEIR_MAX_BODY_BYTES")),
    ],
)
def test_what_is_wrong_is_refused_in_one_sentence(environ: dict[str, str], words: tuple[str, ...]) -> None:
    with pytest.raises(StartRefused) as caught:
        load_settings(environ)
    message = caught.value.message
    assert all(word in message for word in words), message
    assert message.endswith(".") and "\n" not in message and "hidden" not in message and DIGEST not in message


def test_keys_may_be_bound_to_policies() -> None:
    settings = load_settings({"WEIR_API_KEYS": f"a:{DIGEST.upper()}:kids|forum, b:{'0' * 64}"})
    assert settings.api_keys == (ApiKey("a", DIGEST, ("kids", "forum")), ApiKey("b", "0" * 64))


def test_secrets_are_not_shown() -> None:
    environ = {**ALL_FROM_DAY_ONE, "WEIR_CACHE_URL": "redis://:hush@cache", "WEIR_JUDGE_URL": "http://u:hush@judge"}
    shown = repr(load_settings(environ))
    assert "hush" not in shown and DIGEST not in shown


def test_an_empty_value_is_no_value() -> None:
    assert load_settings({"WEIR_PORT": "", "WEIR_CACHE_URL": "", "PORT": ""}).port == 8000


def test_weir_port_comes_before_port() -> None:
    assert load_settings({"PORT": "1", "WEIR_PORT": "2"}).port == 2


def test_what_kubernetes_puts_beside_a_service_called_weir_is_not_ours() -> None:
    environ = {
        "WEIR_PORT": "tcp://10.0.0.1:8000",
        "WEIR_SERVICE_HOST": "10.0.0.1",
        "WEIR_SERVICE_PORT": "8000",
        "WEIR_SERVICE_PORT_HTTP": "8000",
        "WEIR_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "WEIR_PORT_8000_TCP_ADDR": "10.0.0.1",
        "WEIR_REDIS_SERVICE_HOST": "10.0.0.2",
        "WEIR_REDIS_PORT": "tcp://10.0.0.2:6379",
    }
    assert load_settings(environ) == load_settings({})


def test_settings_are_frozen_and_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_PORT", "1")
    settings = Settings()
    assert settings.port == 8000
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def test_perspectives_settings() -> None:
    origins = load_settings({"WEIR_CORS_ORIGINS": "https://a.example, https://b.example"}).cors_origins
    assert origins == ("https://a.example", "https://b.example")
    assert load_settings({"WEIR_PUBLIC_URL": "https://weir.example/"}).public_url == "https://weir.example/"
    for name, value in (("WEIR_PUBLIC_URL", "weir.example"), ("WEIR_PERSPECTIVE_LANGUAGES", "all")):
        with pytest.raises(StartRefused, match=name):
            load_settings({name: value})
