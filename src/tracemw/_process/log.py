"""What tracing has to say to the operator: the application's log filters and handlers may raise, and nobody notices."""

from __future__ import annotations

import logging
from contextlib import suppress

_logger = logging.getLogger("tracemw")


def log(level: int, message: str, *args: object, error: BaseException | None = None) -> None:
    """Log to `tracemw`, with the traceback of `error`; what a filter or a handler raises ends here."""
    with suppress(Exception):
        _logger.log(level, message, *args, exc_info=error, stacklevel=2)


def escaped(text: str) -> str:
    """Return a text as a terminal or a log can bear it: what is not printable is escaped, as in a string of Python."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
