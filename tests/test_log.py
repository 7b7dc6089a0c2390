"""Log lines: one each, facts in, messages of exceptions out."""

from __future__ import annotations

import json
import logging
import sys

from service.log import OneLine


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
