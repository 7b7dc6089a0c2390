"""Log lines: one each, facts in, messages of exceptions out."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import httpx
import pytest

from service.log import OneLine, configure_logging


def record(message: str, exc_info: object = None, **facts: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "weir.test", "levelno": logging.INFO, "levelname": "INFO", "msg": message})
    made.__dict__.update(facts, exc_info=exc_info)
    return made


def test_json_has_the_facts() -> None:
    line = json.loads(OneLine(as_json=True).format(record("request", route="/x", status=200)))
    assert (line["msg"], line["level"], line["route"], line["status"]) == ("request", "info", "/x", 200)


def test_plain_is_one_line() -> None:
    line = OneLine(as_json=False).format(record("two\nlines", route="/x"))
    assert line.endswith("two lines route=/x") and "\n" not in line


def test_an_exceptions_message_is_left_out() -> None:
    try:
        raise ValueError("plugh")
    except ValueError:
        failed = record("failed", exc_info=sys.exc_info())
    for as_json in (True, False):
        line = OneLine(as_json=as_json).format(failed)
        assert "ValueError" in line and "test_log.py:" in line and "plugh" not in line


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("", "uvicorn.error", "httpx", "httpcore")]
    before = [logger.level for logger in loggers]
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.mark.usefixtures("logging_as_it_was")
@pytest.mark.parametrize("level", ["info", "debug"])
def test_an_upstreams_address_is_in_no_line(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level, "json")
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as client:
        client.post("http://user:plugh@upstream.example/v1?key=xyzzy", content=b"text")
    logging.getLogger("weir.test").warning("seen")
    told = capsys.readouterr().err
    assert "seen" in told and "plugh" not in told and "xyzzy" not in told
