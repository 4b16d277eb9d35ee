"""Logs that lead to traces, and traces that have the logs of a failing request.

    tracemw.logging.install(kept_logs="DEBUG")

* Every record of the standard library's `logging` gets `trace_id`, `span_id` and `trace_flags`, for any format.
* `JSONFormatter` writes records as lines of JSON. `add_trace_ids` is the processor for structlog.
* With `kept_logs`, records become events of spans, and so leave with a trace that does: also what loggers leave out.

`_records.py` puts the ids on records, `_json_lines.py` formats, `_kept_logs.py` keeps.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, MutableMapping
from typing import Any

from tracemw.logging import _kept_logs, _records
from tracemw.logging._json_lines import JSONFormatter as JSONFormatter
from tracemw.logging._records import ids_now

__all__ = ["JSONFormatter", "add_trace_ids", "install", "uninstall"]


def install(*, kept_logs: int | str | None = None, loggers: Iterable[str] = ()) -> None:
    """Put the ids of the current trace on every log record from now on. A second call replaces the options.

    Args:
        kept_logs: A level such as `"DEBUG"`. While a request is being recorded, records from this level on become
            events `log` of the current span, if your own code logs them. That holds also for those that their logger
            leaves out: these go nowhere else. So they leave only with a trace that is sampled or kept. A request keeps
            its first 100, and 100 more of those that handlers get, each cut to 1,000 bytes. Within such a request
            `logger.isEnabledFor` says yes to this level. None keeps nothing.
        loggers: The names of loggers of which everything is kept, and of all loggers beneath, whoever logs. Your own
            code is what lies outside of `site-packages`: name your application if it is installed there, or if
            structlog stands between. Other libraries log parameters of statements, and headers.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a level that is not known.
    """
    level = None if kept_logs is None else _level(kept_logs)
    names = () if isinstance(loggers, str) else tuple(loggers)
    if isinstance(loggers, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"loggers takes several names, such as ({loggers!r},)")
    _records.begin()
    if level is None:
        _kept_logs.end()
    else:
        _kept_logs.begin(level, names)


def uninstall() -> None:
    """Leave log records and loggers alone again."""
    _records.end()
    _kept_logs.end()


def add_trace_ids(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put the ids of the current trace on an event of structlog, as one of its processors. Values that are there stay.

    Args:
        logger: The logger, which is not used.
        method: The name of the logger's method, which is not used.
        event: The event.
    """
    del logger, method
    ids = ids_now()
    if ids is not None:
        for name, value in _records.told(ids).items():
            event.setdefault(name, value)
    return event


def _level(given: int | str) -> int:
    levels = logging.getLevelNamesMapping()
    if isinstance(given, str):
        if given.upper() not in levels:
            raise ValueError(
                f"kept_logs={given!r} is not accepted; use one of {', '.join(sorted(levels))}, or a number"
            )
        return levels[given.upper()]
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError(f"kept_logs takes a level such as 'DEBUG', not {given!r}")
    return given
