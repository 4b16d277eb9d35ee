"""Spans that are open when the process ends: they say so, in place of getting lost.

There is no list of open spans, which each request would pay for: the garbage collector knows all objects, and is asked
once, at the end.
"""

from __future__ import annotations

import gc
import logging
from typing import Final

from opentelemetry.trace import StatusCode

from tracemw._otel.guard import fault
from tracemw._recording.keeping import HeldSpan
from tracemw._recording.span import Span

_OURS: Final = (Span, HeldSpan)


def end_unfinished(error_type: str) -> None:
    """End each open span of this process as an error; those that began last end first, as they would have."""
    found = [each for each in gc.get_objects() if type(each) in _OURS and each.is_unfinished()]
    if not found:
        return
    # Whoever is about to end one of them itself, as the process comes down, is told nothing that anybody can act on.
    logging.getLogger("opentelemetry.sdk.trace").addFilter(_says_nothing_of_ended_spans)
    for span in sorted(found, key=lambda span: span.start_time or 0, reverse=True):
        try:
            if "error.type" not in (span.attributes or ()):
                span.set_attribute("error.type", error_type)
            span.set_status(StatusCode.ERROR)
            span.end()
        except Exception as error:
            fault("end_unfinished", error)


def _says_nothing_of_ended_spans(record: logging.LogRecord) -> bool:
    return "ended span" not in str(record.msg)
