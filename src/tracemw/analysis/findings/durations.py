"""Time in one place: `long-trace`, `bottleneck` and `slow-query`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tracemw.analysis.conventions import asks_a_model, is_connection
from tracemw.analysis.critical_path import covered, self_time
from tracemw.analysis.findings.attempts_of_calls import pauses
from tracemw.analysis.findings.finding import Finding, at, line_of, matching
from tracemw.analysis.model import CONSUMER, INTERNAL, MILLISECOND, PRODUCER, SERVER, Span, Trace, milliseconds
from tracemw.analysis.shapes import call_label, is_connect, is_statement, query_label

LONG_TRACE: Final = 5000 * MILLISECOND
BOTTLENECK: Final = 100 * MILLISECOND
BOTTLENECK_SHARE: Final = 0.8
NORMAL: Final = 250 * MILLISECOND
"""Up to this long, it is normal that a request is one query, or all its own code: the first one of a process, say."""
BATCH: Final = 100
"""Spans above which a trace that no request has begun counts as a batch."""
SLOW_QUERY: Final = 500 * MILLISECOND

_STACK: Final = "tracemw.stack"
_STREAMING: Final = "tracemw.streaming"
_FIRST_BYTE: Final = "tracemw.first_byte.after"
_BLOCKING: Final = frozenset(
    {"BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX", "XREAD", "XREADGROUP", "LISTEN"}
)
"""Operations that wait for news, which is what they are for."""


def find_long_trace(trace: Trace) -> Iterator[Finding]:
    """Give a finding if the root took more than 5 seconds until its response began, as far as that is known.

    Time in which it waits for news, for a language model, or for the request's body does not count.
    """
    root = trace.root
    if root.duration <= LONG_TRACE or until_response(root) <= LONG_TRACE or _is_job(trace):
        return
    patient = [span for span in trace.long if _takes_its_time(span)]
    if root.duration - covered([*patient, *_received(root)], root.start, root.end) <= LONG_TRACE:
        return
    yield Finding(
        code="long-trace",
        severity="warning",
        title=f"{call_label(root)} of {root.service} took {milliseconds(root.duration) / 1000:.1f} s",
        trace_id=trace.trace_id,
        span_ids=(root.span_id,),
        service=root.service,
        remedy="see which spans are on the critical path; work that nobody waits for belongs into a queue",
        query=f"{matching(root)[:-2]} && duration > 5s }}",
        numbers={"duration_ms": milliseconds(root.duration)},
        cost_ms=milliseconds(root.duration),
    )


def _is_job(trace: Trace) -> bool:
    """Return whether the trace is work in the background for which nobody waits: a message, or a batch."""
    if trace.root.kind == INTERNAL:
        return sum([span.folded for span in trace.spans]) > BATCH
    return trace.root.kind in (CONSUMER, PRODUCER)


def until_response(span: Span) -> int:
    """Return the nanoseconds until a response began.

    Spans of ASGI messages tell, and so does tracemw: when it began, or up to when there was no response. A
    connection, such as a WebSocket, has its answer at once. Else this is the duration.
    """
    if is_connection(span.attributes):
        return 0
    if is_streaming(span):
        for event in span.events:
            first_byte = event.attributes.get(_FIRST_BYTE)
            if isinstance(first_byte, (int, float)):
                return int(first_byte * 1000 * MILLISECOND)
        return max((event.time - span.start for event in span.events if event.name == _STACK), default=0)
    sent = [message.start for message in span.messages if message.name.endswith(" send")]
    return min(sent) - span.start if sent else span.duration


def _received(span: Span) -> list[Span]:
    """Return the ASGI messages in which a request came: its client sends as slowly as it likes."""
    return [message for message in span.messages if message.name.endswith(" receive")]


def is_streaming(span: Span) -> bool:
    """Return whether tracemw has seen that the response began long before the request ended."""
    return any(event.name == _STREAMING for event in span.events)


def find_bottleneck(trace: Trace) -> Iterator[Finding]:
    """Give a finding if one span's own time is 80 % of the trace, which took at least 100 ms.

    Where the request failed, what it spent its time on says nothing.
    """
    root = trace.root
    total = until_response(root)
    if total < BOTTLENECK or len(trace.spans) < 2 or root.failed_hard:
        return
    least = BOTTLENECK_SHARE * total
    for span in trace.long if least >= BOTTLENECK else trace.spans:
        if span.duration < least or span.start < root.start or span.end > root.end:
            continue
        if total < NORMAL and (span.is_database or span.kind == SERVER):
            continue
        if _takes_its_time(span) or is_connect(span):
            continue
        children = [*span.children, *_received(span)]
        own = total - covered(children, span.start, span.start + total) if span is root else self_time(span)
        if own < least or own - sum(pauses(span)) < least or _is_one_of_several(span, total):
            continue
        line = line_of((span,))
        served = next((child for child in span.children if child.service != span.service), None)
        where = f"{call_label(span)} of {span.service}{at(line)}"
        if served is not None:
            where = f"the way between {span.service} and {served.service} ({call_label(span)})"
        yield Finding(
            code="bottleneck",
            severity="hint",
            title=f"{where} takes {own / total:.0%} of {milliseconds(total):.0f} ms",
            trace_id=trace.trace_id,
            span_ids=(span.span_id,),
            service=span.service,
            remedy=(
                "look at the network, at connecting, and at requests that queue before the service takes them"
                if served is not None
                else "make this one thing faster, or put spans inside it to see what it does"
            ),
            query=f"{matching(span)[:-2]} && duration > {int(span.duration * 0.8 / MILLISECOND)}ms }}",
            numbers={"own_ms": milliseconds(own), "total_ms": milliseconds(total), "share": round(own / total, 3)},
            cost_ms=milliseconds(own),
            line=line,
        )
        return


def _is_one_of_several(span: Span, total: int) -> bool:
    """Return whether something else takes half of the trace at the same time, as in calls side by side."""
    while span.parent is not None:
        if any(each is not span and each.duration * 2 >= total for each in span.parent.children):
            return True
        span = span.parent
    return False


def find_slow_queries(trace: Trace) -> Iterator[Finding]:
    """Give a finding for each statement that took 500 ms and longer."""
    for span in trace.long:
        if span.longest < SLOW_QUERY or not is_statement(span) or is_connect(span) or _waits_for_news(span):
            continue
        line = line_of((span, *((span.parent,) if span.parent else ())))
        yield Finding(
            code="slow-query",
            severity="warning",
            title=f"{span.service} runs {query_label(span)}{at(line)} for {milliseconds(span.longest):.0f} ms",
            trace_id=trace.trace_id,
            span_ids=(span.span_id,),
            service=span.service,
            remedy="run EXPLAIN on the statement: an index may be missing, a lock held, or too many rows read",
            query=f"{matching(span)[:-2]} && duration >= 500ms }}",
            numbers={"duration_ms": milliseconds(span.longest)},
            cost_ms=milliseconds(span.longest),
            line=line,
        )


def _takes_its_time(span: Span) -> bool:
    return _waits_for_news(span) or asks_a_model(span.attributes)


def _waits_for_news(span: Span) -> bool:
    attributes = span.attributes
    if attributes.get("messaging.operation.type", attributes.get("messaging.operation")) == "receive":
        return True
    operation = str(attributes.get("db.operation.name") or span.name).upper().partition(" ")[0]
    return operation in _BLOCKING
