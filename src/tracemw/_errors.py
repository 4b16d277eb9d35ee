"""Which stage an exception came from, carried by the exception itself.

`tracemw.stage("fraud_check")` marks the exception that leaves its block; every span of the same trace that ends with
that very exception then gets `error.stage`. The mark travels wherever the exception travels, across `await`, thread
pools and task groups, where a context variable would stay behind.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import Span

_MARK: Final = "__tracemw_stage__"


def mark_stage(span: Span, error: BaseException, stage: str) -> None:
    """Say that `error` left the stage `stage` in the trace of `span`; an inner stage that said so first stays."""
    trace_id = span.get_span_context().trace_id
    if _stage_of(error, trace_id) is None:
        try:
            setattr(error, _MARK, (trace_id, stage))
        except (AttributeError, TypeError):  # an exception class that takes no attributes goes unmarked
            pass
    put_stage(span, error)


def put_stage(span: Span, error: BaseException) -> None:
    """Put `error.stage` on a span that ends with `error`, when a stage of the same trace has marked it."""
    stage = _stage_of(error, span.get_span_context().trace_id)
    if stage is not None:
        span.set_attribute("error.stage", stage)


def _stage_of(error: BaseException, trace_id: int) -> str | None:
    # One exception object may be raised in many requests, when a module holds it as a constant: the mark counts only
    # in the trace that made it.
    mark = getattr(error, _MARK, None)
    return mark[1] if isinstance(mark, tuple) and mark[0] == trace_id else None
