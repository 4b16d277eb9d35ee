"""What an exception is called, and which stage it came from, carried by the exception itself.

`tracemw.stage("fraud_check")` marks the exception that leaves its block; every span of the same trace that ends with
that very exception then gets `error.stage`. The mark travels wherever the exception travels, across `await`, thread
pools and task groups, where a context variable would stay behind.
"""

from __future__ import annotations

import itertools
import traceback
from typing import Any, Final

from opentelemetry.trace import Span

from tracemw._otel.cleaning import cleaned, shown
from tracemw._otel.guard import guarded
from tracemw._otel.recorder import is_ours
from tracemw.redaction.urls import redact_text

_MARKS: Final = "__tracemw_stages__"
_TRACES: Final = 32
"""How many traces one exception object is marked for; the oldest give way."""

_moments: Final = itertools.count()


def exception_type(error: BaseException) -> str:
    """Return the exception's fully qualified class, without the module for built-in ones."""
    kind = type(error)
    module = kind.__module__
    return kind.__qualname__ if not module or module == "builtins" else f"{module}.{kind.__qualname__}"


def said(error: BaseException) -> str:
    """Return what an exception says, if it can say it, without the secrets of URLs that libraries put there."""
    return redact_text(shown(error))


def described(error: BaseException) -> str:
    """Return the exception as the description of a status: its class and what it says."""
    return f"{type(error).__name__}: {said(error)}"


def record_exception(span: Span, error: BaseException, at: int | None = None) -> None:
    """Record an exception on whichever span, without the secrets of URLs, and also when it cannot be shown.

    Args:
        span: The span.
        error: The exception.
        at: When it was raised, as nanoseconds since the epoch, if that was earlier than now.
    """
    if is_ours(span):
        span.record_exception(error, timestamp=at)
        return
    told = {"exception.message": said(error)}
    try:
        told["exception.stacktrace"] = redact_text("".join(traceback.format_exception(error)))
        span.record_exception(error, told, at)
    except Exception:  # others' spans do not expect an exception that cannot be shown
        span.add_event("exception", {"exception.type": exception_type(error), **told}, at)


def moment() -> int:
    """Return a number greater than that of every moment before."""
    return next(_moments)


@guarded
def mark_stage(span: Span, error: BaseException, stage: str, entered: int) -> None:
    """Say that `error` left the stage `stage`, entered at the moment `entered`, in the trace of `span`.

    A mark that has been made since then is that of an inner stage, and stays.
    """
    # One exception object may be raised in many requests at a time, when a module holds it as a constant: there is a
    # mark for each trace. The dictionary is written to directly, past classes that refuse attributes.
    marks: dict[int, tuple[int, str]] = error.__dict__.setdefault(_MARKS, {})
    trace_id = span.get_span_context().trace_id
    if trace_id not in marks or marks[trace_id][0] < entered:
        marks[trace_id] = (moment(), stage)
        for oldest in list(marks)[:-_TRACES]:
            marks.pop(oldest, None)
    put_stage(span, error)


@guarded
def put_stage(span: Span, error: BaseException) -> None:
    """Put `error.stage` on a span that ends with `error`, when a stage of the same trace has marked it."""
    marks: Any = error.__dict__.get(_MARKS)
    if marks:
        mark = marks.get(span.get_span_context().trace_id)
        if mark is not None:
            span.set_attribute("error.stage", cleaned(mark[1]))
