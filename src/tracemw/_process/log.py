"""Lines for the operator. If a log filter or handler of the application raises, nothing reaches the application."""

from __future__ import annotations

import logging
from contextlib import suppress

_logger = logging.getLogger("tracemw")


def log(level: int, message: str, *args: object, error: BaseException | None = None) -> None:
    """Log to `tracemw`, with the traceback of `error`. An exception of a filter or handler ends here."""
    with suppress(Exception):
        _logger.log(level, message, *args, exc_info=error, stacklevel=2)


def escaped(text: str) -> str:
    """Return a text that is safe in a terminal or a log: unprintable characters are escaped, as in Python's strings."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
