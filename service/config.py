"""Settings: every `WEIR_*` name, its default, and the combinations that are refused.

Owns what may be set. Refuses to know where it is read from (`environment`), and what a setting does: values are handed
down by `wiring`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from service.rates import RateLimits

PREFIX = "WEIR_"
CONCURRENT_ITEMS = 8  # texts of one request that are judged at once; together they hold a quarter of the queue at most
_REPO_ROOT = Path(__file__).resolve().parent.parent

# The last label begins with a letter, so that no spelling of an address is a name.
_HOST = re.compile(r"(\*\.)?([a-z0-9-]{1,63}\.)+[a-z][a-z0-9-]{0,62}")

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0, le=3600)]


def _check_http(value: str) -> str:
    if not re.match(r"https?://[^\s/]", value):
        raise ValueError("must be an http:// or https:// address")
    return value


Url = Annotated[str, AfterValidator(_check_http)]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A caller's key as configured: only its SHA-256 is known. No policies means all of them."""

    name: str
    sha256: str = field(repr=False)
    policies: tuple[str, ...] = ()

    @classmethod
    def parse(cls, entry: str) -> Self:
        """Read `name:sha256[:policy|policy]`; ValueError says what is wrong, without the entry."""
        name, _, rest = entry.strip().partition(":")
        digest, _, policies = rest.partition(":")
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
            raise ValueError("a key's name must be 1 to 64 letters, digits, '_', '.' or '-'")
        if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
            raise ValueError("a key must be written name:sha256, with 64 hexadecimal digits (`weir key new` makes one)")
        names = tuple(policy for policy in policies.split("|") if policy)
        return cls(name, digest.lower(), names)


def _default_model_dir() -> Path:
    """The artefact of the checkout that this file lies in, else the one packed into the wheel."""
    checkout = _REPO_ROOT / "models" / "artifacts" / "default"
    return checkout if checkout.is_dir() else Path(__file__).resolve().parent / "artifact"


def _default_threads(given: dict[str, Any]) -> int:
    """A worker's share of the cores that may be used, four at most: a small model gains nothing from more."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers: int = given.get("workers", 1)
    return max(1, min(4, cores // workers))


class Settings(BaseModel):
    """What an operator may set. Frozen; names are the environment's, without `WEIR_`, in lower case.

    Making one reads nothing but its arguments.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Where it listens.
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    workers: Count = 1
    replicas: Count = 1
    drain_s: Seconds = 5.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "plain"] = "auto"
    otel: Literal["on", "off"] = "off"  # spans of requests and stages; OTEL_* says where they go

    # What it takes in.
    max_body_bytes: Count = 1 << 20
    max_text_chars: Count = 200_000
    max_items: Count = 256
    request_budget_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    max_wait_s: Annotated[float, Field(gt=0, le=3600)] = 1.0  # of a short text for the model; longer is refused

    # The model and the policies.
    model_dir: Path = Field(default_factory=_default_model_dir)
    image_model_dir: tuple[Path, ...] = ()  # image classifiers, of pictures alone or with their text; none is shipped
    policy_dir: Path | None = None
    preset: Literal["strict", "balanced", "permissive"] = "balanced"
    threads: Count = Field(default_factory=_default_threads)
    queue_items: Count = 1024
    fail_open: tuple[
        str, ...
    ] = ()  # stages whose failure leaves the action as it is; it is named and counted all the same
    screen: Literal["on", "off"] = "on"

    # Who may call.
    api_keys: tuple[ApiKey, ...] = ()
    admin_keys: tuple[ApiKey, ...] = ()
    rate_limit: RateLimits = RateLimits()  # in texts, for each key: `600/min,batch=6000/min,trusted=off`
    secret: SecretStr | None = None

    # Perspective's dialect.
    public_url: Url | None = None  # this server's address as clients see it; else from Host and X-Forwarded-Proto
    cors_origins: tuple[str, ...] = ()  # web pages that may call it from a browser; `*` for all
    perspective_languages: Literal["measured", "any"] = "measured"

    # State.
    data_dir: Path = Path(".weir")
    cache: Literal["off", "memory", "redis"] = "memory"
    cache_url: SecretStr | None = None
    cache_scope: Literal["shared", "key"] | None = None  # without: a scope for each key where there are API keys
    cache_mb: Annotated[int, Field(ge=1, le=65536)] = 16  # that a process keeps in memory
    store_url: SecretStr | None = None

    # Feedback.
    receipt_days: Annotated[float, Field(gt=0, le=3650)] = 30.0
    audit_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    shadow_model_dir: Path | None = None  # a draft model that judges beside the live one, and decides nothing
    shadow_share: Annotated[float, Field(ge=0, le=1)] = 0.1  # of the contents
    adapt_every_s: Annotated[float, Field(ge=0, le=30 * 86_400)] = 0.0  # 0: only when asked to

    # Others that it talks to.
    upstream_openai: Url | None = Field(default=None, repr=False)  # an address may carry a password
    upstream_anthropic: Url | None = Field(default=None, repr=False)
    upstream_openai_key: SecretStr | None = None  # for callers that bring no key of their own
    upstream_anthropic_key: SecretStr | None = None
    upstreams: str | None = Field(default=None, repr=False)  # more of them by name: TOML, or the path of a file
    max_streams: Count = 256  # replies that are relayed at once
    stream_audit_share: Annotated[float, Field(ge=0, le=1)] = 0.05  # of the streams, judged once more as a whole
    max_stream_chars: Count = 1_000_000  # of one text that grows at /v1/stream
    stream_idle_s: Annotated[float, Field(gt=0, le=3600)] = 60.0  # how long /v1/stream waits for its caller
    judge_url: Url | None = Field(default=None, repr=False)
    judge_model: str | None = None
    judge_key: SecretStr | None = None
    judge_per_minute: Annotated[int, Field(ge=0)] = 60  # calls; beyond them the embedded judge is asked
    judge_timeout_s: Annotated[float, Field(gt=0, le=60)] = 4.0  # of one attempt

    # Images.
    image_hosts: tuple[str, ...] = ()  # that images are fetched from: `cdn.example.org`, `*.example.org`
    image_max_bytes: Count = 10 << 20  # of one image
    image_max_count: Count = 4  # images of one post, or of one turn
    image_max_pixels: Count = 24_000_000
    image_queue: Count = 16  # images that wait to be looked at; one more is refused
    image_budget_s: Annotated[float, Field(gt=0, le=60)] = 5.0  # of one image, in the process that looks at them
    image_memory_mb: Annotated[int, Field(ge=256, le=65536)] = 1024  # of that process
    on_unscanned_image: Literal["allow", "review", "block"] = "allow"  # what an image is raised to that none has seen
    image_body_bytes: Count = 20 << 20  # of a request that may hold images; what is no image keeps to max_body_bytes

    @property
    def cache_scoped(self) -> bool:
        """Whether one caller's entries are kept from another."""
        return self.cache_scope == "key" or (self.cache_scope is None and bool(self.api_keys))

    @property
    def cache_bytes(self) -> int:
        """Room for what a process keeps in memory; none where nothing is to be kept."""
        return 0 if self.cache == "off" else self.cache_mb << 20

    @property
    def caller_keys(self) -> tuple[ApiKey, ...]:
        """What opens the interface: an admin key opens what any key opens; by itself it closes nothing."""
        return (*self.api_keys, *self.admin_keys) if self.api_keys else ()

    @field_validator("api_keys", "admin_keys", mode="before")
    @classmethod
    def _parse_keys(cls, value: object) -> object:
        """Take the comma-separated form of the environment."""
        if not isinstance(value, str):
            return value
        keys = tuple(ApiKey.parse(entry) for entry in value.split(",") if entry.strip())
        if len({key.name for key in keys}) != len(keys):
            raise ValueError("two keys have the same name")
        return keys

    @field_validator("rate_limit", mode="before")
    @classmethod
    def _parse_rates(cls, value: object) -> object:
        """Take the form of the environment."""
        return RateLimits.parse(value) if isinstance(value, str) else value

    @field_validator("image_hosts", "image_model_dir", "cors_origins", "fail_open", mode="before")
    @classmethod
    def _parse_hosts(cls, value: object) -> object:
        """Take the comma-separated form of the environment."""
        return tuple(host.strip() for host in value.split(",") if host.strip()) if isinstance(value, str) else value

    @field_validator("image_hosts")
    @classmethod
    def _check_image_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        """Names only, so that the one way to reach an address is that a name leads there."""
        if not all(_HOST.fullmatch(host.lower()) for host in hosts):
            raise ValueError("each must be a host name, such as cdn.example.org or *.example.org")
        return tuple(host.lower() for host in hosts)

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        """Take `INFO` as well as `info`."""
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        """Refuse keys that cannot be told apart, and rates of keys that do not exist."""
        if {key.sha256 for key in self.api_keys} & {key.sha256 for key in self.admin_keys}:
            raise ValueError("WEIR_API_KEYS and WEIR_ADMIN_KEYS share a key")
        if self.rate_limit != RateLimits() and not self.api_keys:
            raise ValueError("WEIR_RATE_LIMIT needs WEIR_API_KEYS: it is keys that are limited")
        if set(self.rate_limit.own) - {key.name for key in self.caller_keys}:
            raise ValueError("WEIR_RATE_LIMIT names a key that is not in WEIR_API_KEYS or WEIR_ADMIN_KEYS")
        return self

    @model_validator(mode="after")
    def _check_upstreams(self) -> Self:
        """Refuse a key that would go nowhere."""
        for kind in ("openai", "anthropic"):
            if getattr(self, f"upstream_{kind}_key") and not getattr(self, f"upstream_{kind}"):
                name = f"WEIR_UPSTREAM_{kind.upper()}"
                raise ValueError(f"{name}_KEY needs {name}")
        return self

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        """Refuse what could only fail later, or silently do something else than was meant."""
        if self.cache == "redis" and not _is_redis(self.cache_url):
            raise ValueError("WEIR_CACHE=redis needs WEIR_CACHE_URL, a redis:// address")
        if self.cache_url is not None and self.cache != "redis":
            raise ValueError("WEIR_CACHE_URL is set, but WEIR_CACHE is not redis")
        if self.replicas > 1 and not _is_redis(self.store_url):
            raise ValueError("WEIR_REPLICAS over 1 needs WEIR_STORE_URL, a redis:// address that every replica reaches")
        if self.store_url is not None and not _is_redis(self.store_url):
            raise ValueError(
                "WEIR_STORE_URL must be a redis:// address; without it the store is a file in WEIR_DATA_DIR"
            )
        if self.replicas > 1 and self.secret is None:
            raise ValueError("WEIR_REPLICAS over 1 needs WEIR_SECRET: replicas take each other's receipts")
        if self.judge_url is None and (self.judge_model is not None or self.judge_key is not None):
            raise ValueError("WEIR_JUDGE_MODEL and WEIR_JUDGE_KEY need WEIR_JUDGE_URL")
        if self.judge_url is not None and not self.judge_model:
            raise ValueError("WEIR_JUDGE_URL needs WEIR_JUDGE_MODEL")
        if self.image_max_bytes * 4 > self.image_body_bytes * 3:
            raise ValueError("WEIR_IMAGE_MAX_BYTES, written in base64, is over WEIR_IMAGE_BODY_BYTES")
        if self.max_text_chars > self.max_body_bytes:
            raise ValueError("WEIR_MAX_TEXT_CHARS is over WEIR_MAX_BODY_BYTES, so that it could never be reached")
        return self


def _is_redis(url: SecretStr | None) -> bool:
    return url is not None and url.get_secret_value().startswith(("redis://", "rediss://", "unix://"))
