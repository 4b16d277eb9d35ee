"""An exception on a span: its class, what it says, and the stage that it came from.

`tracemw.stage("fraud_check")` marks the exception that leaves its block. Then every span of the same trace that ends
with that very exception gets `error.stage`. The exception carries the mark itself. So the mark crosses `await`, thread
pools and task groups, where a context variable would stay behind.
"""

from __future__ import annotations

import itertools
import traceback
from typing import Any, Final

from opentelemetry.trace import Span

from tracemw._otel.cleaning import cleaned, shown
from tracemw._otel.guard import guarded
from tracemw._otel.handled import switch, take_back_all
from tracemw._otel.recorder import is_ours
from tracemw.redaction.in_use import in_use

_MARKS: Final = "__tracemw_stages__"
_TRACES: Final = 32
"""How many traces one exception object has marks for. The oldest marks give way."""

_moments: Final = itertools.count()


def exception_type(error: BaseException) -> str:
    """Return the fully qualified name of an exception's class; a built-in class goes without its module."""
    kind = type(error)
    module = kind.__module__
    return kind.__qualname__ if not module or module == "builtins" else f"{module}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """Return an exception's message, without what looks like a secret; a marker when `str` raises."""
    return in_use().text(shown(error), "text", "exception.message")


def described(error: BaseException) -> str:
    """Return the description of a status for an exception: its class and its message."""
    return f"{type(error).__name__}: {message_of(error)}"


def record_exception(span: Span, error: BaseException, at: int | None = None) -> None:
    """Record an exception on any span, without what looks like a secret, also when the exception's `str` raises.

    Args:
        span: The span.
        error: The exception.
        at: When the exception was raised, in nanoseconds since the epoch, if that was earlier than now.
    """
    if is_ours(span):
        span.record_exception(error, timestamp=at)
        return
    told = {"exception.message": message_of(error)}
    try:
        told["exception.stacktrace"] = in_use().text(
            "".join(traceback.format_exception(error)), "text", "exception.stacktrace"
        )
        span.record_exception(error, told, at)
    except Exception:  # foreign spans do not expect an exception whose `str` raises
        span.add_event("exception", {"exception.type": exception_type(error), **told}, at)


def note_recorded(span: Span, error: BaseException) -> None:
    """Note that a span of ours records an exception: its stage is put on the span, and it is not swallowed."""
    put_stage(span, error)
    if switch.is_on:
        take_back_all(error, span.get_span_context().trace_id)


def moment() -> int:
    """Return a number that is greater than all numbers returned before."""
    return next(_moments)


@guarded
def mark_stage(span: Span, error: BaseException, stage: str, entered: int) -> None:
    """Mark `error` as having left the stage `stage`, which was entered at the moment `entered`, in `span`'s trace.

    A mark that is younger than `entered` was made by an inner stage, and stays.
    """
    # There is one mark for each trace: a module may hold an exception as a constant, and many requests may raise it at
    # a time. The mark is written past `__setattr__`, since some classes refuse attributes.
    marks: dict[int, tuple[int, str]] = error.__dict__.setdefault(_MARKS, {})
    trace_id = span.get_span_context().trace_id
    if trace_id not in marks or marks[trace_id][0] < entered:
        marks[trace_id] = (moment(), stage)
        for oldest in list(marks)[:-_TRACES]:
            marks.pop(oldest, None)
    put_stage(span, error)


@guarded
def put_stage(span: Span, error: BaseException) -> None:
    """Put `error.stage` on a span that ends with `error`, if a stage of the same trace has marked `error`."""
    marks: Any = error.__dict__.get(_MARKS)
    if marks:
        mark = marks.get(span.get_span_context().trace_id)
        if mark is not None:
            span.set_attribute("error.stage", cleaned(mark[1]))
