"""What every test may use: the tiny artefact, made once, and a redis-server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.redis_server import RedisServer

settings.register_profile("weir", deadline=None)  # a busy machine is no failure
settings.register_profile("thorough", deadline=None, max_examples=10_000)  # for --hypothesis-profile
settings.load_profile("weir")


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A redis-server for the tests of one file."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny artefact. Not to be changed."""
    from tests.tiny_artifact import write_artifact  # here, so that tests without a model need no onnx

    return write_artifact(tmp_path_factory.mktemp("artifacts") / "tiny")


@pytest.fixture
def own_folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny artefact that the test may break."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))
