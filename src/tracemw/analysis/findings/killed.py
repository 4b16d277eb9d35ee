"""A process that ended in the midst of a request: `killed`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tracemw.analysis.conventions import callee_name, code_line, http_status, is_cancelled
from tracemw.analysis.findings.finding import Finding, at, line_of, quoted
from tracemw.analysis.model import MILLISECOND, Span, Trace, milliseconds
from tracemw.analysis.shapes import call_label

_SIGNALS: Final = frozenset({"SIGABRT", "SIGTERM", "SIGKILL", "SIGINT", "SIGQUIT", "SIGHUP", "process_exit"})
"""What tracemw gives as `error.type` to spans that are open when a process ends."""

_UNBROKEN: Final = (
    "connecterror",
    "connectionrefused",
    "connection refused",
    "econnrefused",
    "newconnectionerror",
    "connectexception",
    "unknownhost",
    "enotfound",
    "timeout",
    "timed out",
    "deadline",
)
"""Connections that never were, and callers that gave up: neither ends a request."""

_UNAVAILABLE: Final = 14
_MARGIN: Final = 10 * MILLISECOND


def find_killed(trace: Trace) -> Iterator[Finding]:
    """Give a finding for a process that was killed: by tracemw's mark, or by a call that broke and left orphans."""
    if not trace.failed:
        return
    marked = [span for span in trace.failed if str(span.attributes.get("error.type")) in _SIGNALS]
    if marked:
        yield _marked(marked)
        return
    if trace.orphans:
        for call in trace.failed:
            if call.is_call and not call.children and _broke(call):
                left = [orphan for orphan in trace.orphans if _is_left_by(orphan, call)]
                if left:
                    yield _cut_off(call, left)


def _broke(call: Span) -> bool:
    if http_status(call.attributes) is not None or call.attributes.get("rpc.grpc.status_code") not in (
        None,
        _UNAVAILABLE,
    ):
        return False
    event = call.exception
    message = event.attributes.get("exception.message") if event else ""
    told = f"{call.error_type} {message} {call.status_message}".lower()
    return bool(told.strip()) and not is_cancelled(call.error_type) and not any(word in told for word in _UNBROKEN)


def _is_left_by(orphan: Span, call: Span) -> bool:
    if orphan.service == call.service:
        return False
    if call.start - _MARGIN <= orphan.start <= call.end + _MARGIN:
        return True
    return callee_name(call.attributes) == orphan.service  # its clock may be another


def _marked(spans: list[Span]) -> Finding:
    first, innermost = spans[0], max(spans, key=lambda span: span.start)
    stacks = [event for span in spans for event in span.events if event.name == "tracemw.stack"]
    line = (code_line(stacks[-1].attributes) if stacks else "") or line_of([innermost, *spans])
    why = str(first.attributes["error.type"])
    return Finding(
        code="killed",
        severity="error",
        title=(
            f"the process of {first.service} ended ({why}) in {first.name}, while in {call_label(innermost)}{at(line)}"
        ),
        trace_id=first.trace_id,
        span_ids=tuple(dict.fromkeys((innermost.span_id, first.span_id, *(span.span_id for span in spans[:20])))),
        service=first.service,
        remedy="see why it was killed: a worker's timeout, memory, or a deployment that does not wait for requests",
        query=f"{{ resource.service.name = {quoted(first.service)} && span.error.type = {quoted(why)} }}",
        numbers={"reason": why, "after_ms": milliseconds(innermost.end - first.start)},
        cost_ms=milliseconds(first.duration),
        line=line,
    )


def _cut_off(call: Span, left: list[Span]) -> Finding:
    last = max(left, key=lambda span: span.end)
    line = line_of((last,))
    return Finding(
        code="killed",
        severity="error",
        title=(
            f"a process of {last.service} ended in the midst of a request of {call.service} ({call_label(call)}); "
            f"the last that it did was {call_label(last)}{at(line)}"
        ),
        trace_id=call.trace_id,
        span_ids=(call.span_id, *(span.span_id for span in left[:20])),
        service=last.service,
        remedy="see why it was killed: memory (OOM), a worker's timeout, a crash in C code, or a deployment",
        query=f"{{ resource.service.name = {quoted(call.service)} && name = {quoted(call.name)} && status = error }}",
        numbers={"after_ms": milliseconds(call.duration), "orphans": len(left)},
        cost_ms=milliseconds(call.duration),
        line=line,
    )
