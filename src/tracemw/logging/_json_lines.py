"""Log records as lines of JSON."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from tracemw._otel.cleaning import shown
from tracemw.logging._records import NAMES

_OWN: Final = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", *NAMES},
)
"""Fields that every record has. Any other is the application's `extra`."""


class JSONFormatter(logging.Formatter):
    """Formats each log record as one line of JSON.

    A line has `timestamp` (RFC 3339, UTC), `level`, `logger`, `message`, within a trace `trace_id`, `span_id` and
    `trace_flags`, with an exception `exception`, and what the application gives as `extra`. Values that JSON does not
    know become texts. The ids need `tracemw.logging.install`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in NAMES:
            if value := getattr(record, name, None):
                line[name] = value
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        for name, value in vars(record).items():
            if name not in _OWN and not name.startswith("_"):
                line.setdefault(name, value)
        try:
            return json.dumps(line, default=shown, allow_nan=False)
        except (TypeError, ValueError, RecursionError):  # a key that is no text, a value that leads to itself, a NaN
            return json.dumps({name: _simple(value) for name, value in line.items()})


def _simple(value: object) -> object:
    return value if isinstance(value, (str, int, bool)) or value is None else shown(value)
