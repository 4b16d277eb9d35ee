"""Time in which nothing beneath a span runs: `idle-gap` and `blocked-loop`."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Final

from tracemw.analysis.conventions import code_line, is_connection, seconds
from tracemw.analysis.critical_path import covered
from tracemw.analysis.findings.attempts_of_calls import is_pause
from tracemw.analysis.findings.durations import BOTTLENECK_SHARE, is_streaming
from tracemw.analysis.findings.finding import Finding, at, line_of, matching, quoted
from tracemw.analysis.model import (
    CONSUMER,
    INTERNAL,
    MILLISECOND,
    SERVER,
    Event,
    Span,
    Trace,
    descendants,
    milliseconds,
)
from tracemw.analysis.shapes import call_label, is_connect

GAP: Final = 500 * MILLISECOND
GAP_SHARE: Final = 0.3
BLOCKED: Final = 0.1
"""Seconds."""

_START: Final = attrgetter("start")
_STACK: Final = "tracemw.stack"
_BLOCKED: Final = "tracemw.loop.blocked"
_WAITED: Final = "tracemw.loop.waited"
_TOLD: Final = (_BLOCKED, _WAITED, "tracemw.pool.waited")
"""Events that explain a gap by themselves."""


def find_idle_gaps(trace: Trace) -> Iterator[Finding]:
    """Give a finding for each span that waits 500 ms in one go, and 30 % of its time, while nothing beneath it runs.

    A call or query is no gap, nor is the pause before another attempt, nor time that spans with a missing parent fill.
    A request that is one span alone tells nothing, and for a task after the response nobody waits.
    """
    for span in trace.long:
        if span.duration < GAP or span.kind not in (SERVER, INTERNAL, CONSUMER) or span.is_database or is_connect(span):
            continue
        stack = next((event for event in span.events if event.name == _STACK), None)
        if (
            is_connection(span.attributes)
            or is_streaming(span)
            or (span.service == trace.root.service and span.start >= trace.root.end)
        ):
            continue
        if not span.children and not stack and (span.kind != INTERNAL or span.parent is None) and not span.messages:
            continue
        if any(event.name in _TOLD for event in span.events):
            continue
        length, begin, before = _longest_gap(span, trace)
        if length >= GAP and length >= GAP_SHARE * span.duration:
            yield _gap(span, length, begin, before, stack, trace.root.duration)


def _longest_gap(span: Span, trace: Trace) -> tuple[int, int, Span | None]:
    """Return the longest time in which nothing runs: how long, from when on, and what ran before."""
    busy = [*span.children, *span.messages]
    if trace.orphans:
        busy += [orphan for orphan in trace.orphans if orphan is not span]
    busy.sort(key=_START)
    longest, begin, before = 0, span.start, None
    until: int = span.start
    last: Span | None = None
    for child in busy:
        start, end = min(child.start, span.end), child.end
        if start - until > longest and not is_pause(last, child):
            longest, begin, before = start - until, until, last
        if end > until:
            until, last = end, child
    if span.end - until > longest and not (span.messages and last in span.messages):
        longest, begin, before = span.end - until, until, last
    return longest, begin, before


def _gap(span: Span, length: int, begin: int, before: Span | None, stack: Event | None, total: int) -> Finding:
    line = (code_line(stack.attributes) if stack else "") or line_of((span,))
    after = f" after {call_label(before)}" if before is not None else ""
    is_all = not span.children and length >= BOTTLENECK_SHARE * total
    return Finding(
        code="idle-gap",
        severity="hint" if is_all else "warning",  # long computing looks the same, and is a bottleneck
        title=f"{span.name} of {span.service} waits {milliseconds(length):.0f} ms{after} with nothing below{at(line)}",
        trace_id=span.trace_id,
        span_ids=(span.span_id,),
        service=span.service,
        remedy="look for a lock, a full queue, a sleep or long computing there; a span around each step tells which",
        query=f"{matching(span)[:-2]} && duration >= {max(int(span.duration * 0.8 / MILLISECOND), 500)}ms }}",
        numbers={
            "gap_ms": milliseconds(length),
            "after_ms": milliseconds(begin - span.start),
            "duration_ms": milliseconds(span.duration),
            "stack": str(stack.attributes.get("code.stacktrace", "")) if stack else "",
        },
        cost_ms=milliseconds(length),
        line=line,
    )


def find_blocked_loops(trace: Trace) -> Iterator[Finding]:
    """Give a finding for each event in which tracemw tells that an event loop was blocked for 100 ms and longer."""
    for span in trace.eventful:
        for event in span.events:
            if event.name in (_BLOCKED, _WAITED):
                blocked = seconds(event.attributes.get("tracemw.seconds"))
                if blocked >= BLOCKED:
                    yield _block(span, event, blocked)


def _block(span: Span, event: Event, blocked: float) -> Finding:
    line = code_line(event.attributes)
    blocker = str(event.attributes.get("tracemw.loop.blocked_by") or "")
    if event.name == _BLOCKED:
        title = f"{span.name} of {span.service} blocks the event loop for {blocked * 1000:.0f} ms{at(line)}"
    else:
        title = f"{span.name} of {span.service} waits {blocked * 1000:.0f} ms for a blocked event loop{at(line)}"
    begin = event.time + span.skew
    end = begin + round(blocked * 1e9)
    queries = covered([each for each in descendants(span) if each.is_database], begin, end)  # what else explains it
    return Finding(
        code="blocked-loop",
        severity="warning",
        title=title,
        trace_id=span.trace_id,
        span_ids=(span.span_id,),
        service=span.service,
        remedy="move the work into a thread (asyncio.to_thread) or a process, or use the library's async calls",
        query=f"{{ resource.service.name = {quoted(span.service)} && event:name = {quoted(event.name)} }}",
        numbers={
            "blocked_ms": round(blocked * 1000, 3),
            "blocked_by": blocker,
            "stack": str(event.attributes.get("code.stacktrace", "")),
        },
        cost_ms=milliseconds(end - begin - queries),
        line=line,
    )
