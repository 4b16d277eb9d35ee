"""Spans that are open when the process ends: they end as errors, and are not lost.

There is no list of open spans, since each request would pay for it. The garbage collector knows who refers to the
classes of our spans, as each instance does, and is asked once, at the end. To ask it for all objects would break
`tuple(...)` in other threads: CPython refuses to complete a tuple to which somebody else refers.
"""

from __future__ import annotations

import gc
import logging
from typing import Final

from opentelemetry.trace import StatusCode

from tracemw._otel.guard import fault
from tracemw._otel.served import served
from tracemw._recording.held_span import HeldSpan
from tracemw._recording.span import Span

_OURS: Final = (Span, HeldSpan)


def end_unfinished(error_type: str) -> None:
    """End each open span of this process as an error. The span that started last ends first.

    The spans of requests get their route first, as far as their doors know it.

    Args:
        error_type: The `error.type` for spans that have none.
    """
    found = [each for each in gc.get_referrers(*_OURS) if type(each) in _OURS and each.is_unfinished()]
    if not found:
        return
    # The application may still end some of these spans itself. Nobody could act on the SDK's warning about that.
    logging.getLogger("opentelemetry.sdk.trace").addFilter(_says_nothing_of_ended_spans)
    for request in list(served):
        request.conclude_early()
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
