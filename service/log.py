"""How log lines are written: one line each, JSON or plain.

Owns the format. Refuses exception messages, which may quote what was sent: of an exception it writes types, files
and lines.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import Any

# What every record has by itself, and uvicorn's second copy of its message.
_NOT_FACTS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message"}


class OneLine(logging.Formatter):
    """A record as one line, with the facts that came as `extra`."""

    def __init__(self, *, as_json: bool) -> None:
        """JSON for machines, or plain text for a person's terminal."""
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Write the record."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        facts: dict[str, Any] = {key: value for key, value in record.__dict__.items() if key not in _NOT_FACTS}
        if record.exc_info and record.exc_info[1] is not None:
            facts |= describe(record.exc_info[1])
        message = record.getMessage()
        if self._as_json:
            line = {"ts": moment, "level": record.levelname.lower(), "logger": record.name, "msg": message} | facts
            return json.dumps(line, default=str)
        words = " ".join(f"{key}={value}" for key, value in facts.items())
        return " ".join(f"{moment} {record.levelname.lower():7} {message} {words}".split("\n")).rstrip()


def describe(error: BaseException) -> dict[str, str]:
    """What broke and where, without what it says."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames)
    return {"error": type(error).__name__, "where": where}


def configure_logging(level: str, log_format: str) -> None:
    """Send every logger of the process to standard error, in this format; `auto` is plain on a terminal."""
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(as_json=as_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Its start and stop are told by `serve`, in its own words.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # They would write whole addresses, with the passwords and keys that stand in them, and headers.
    for client in ("httpx", "httpcore"):
        logging.getLogger(client).setLevel(logging.WARNING)
