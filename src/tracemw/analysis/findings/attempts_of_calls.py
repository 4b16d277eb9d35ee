"""The same call again and again after failures: `retry-storm`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import Final

from tracemw.analysis.conventions import asks_to_try_again
from tracemw.analysis.findings.finding import Finding, at, line_of, matching
from tracemw.analysis.model import CONSUMER, INTERNAL, MILLISECOND, Span, Trace, ancestors, milliseconds
from tracemw.analysis.shapes import Shape, call_label, inner_call, lone_call, shape_of_one, target, without_numbers

ATTEMPTS: Final = 3
FAILED: Final = 2

_ATTEMPT: Final = re.compile(r"attempt|\bretry\b|\btry\b", re.IGNORECASE)


def find_retry_storms(trace: Trace) -> Iterator[Finding]:
    """Give a finding for each call that was tried three times and more, and failed twice and more.

    Attempts that retries of callers above have caused are counted, too: 3 tries of a service that tries 3 times are 9.
    """
    if len(trace.failed) < FAILED:
        return
    storms: dict[tuple[str, Shape | None], list[list[Span]]] = {}
    tries: dict[Span, int] = {}
    for parent in trace.parents:
        for attempts in _runs(parent):
            storms.setdefault((parent.service, what_is_tried(attempts[0])), []).append(attempts)
            tries |= dict.fromkeys(attempts, len(attempts))
    for alike in storms.values():
        yield _finding(max(alike, key=len), tries)


def _runs(parent: Span) -> Iterator[list[Span]]:
    """Give the attempts of one call, one after another, of which each but the last has failed."""
    by_target: dict[Shape, list[Span]] = {}
    for child in sorted(parent.children, key=lambda child: child.start):
        tried = what_is_tried(child)
        if tried is not None:
            by_target.setdefault(tried, []).append(child)
    for group in by_target.values():
        run: list[Span] = []
        for child in group:
            if run and child.start < run[-1].end - MILLISECOND:  # side by side is no retry
                run = []
            run.append(child)
            if not has_failed(child):
                if len(run) >= ATTEMPTS:
                    yield run
                run = []
        if len(run) >= ATTEMPTS:
            yield run


def what_is_tried(child: Span) -> Shape | None:
    """Return what two attempts of one thing have in common; None if this span is no attempt of anything.

    An attempt is a call or a query, maybe within a span of its own, or a message that is delivered again. A span that
    says so in its name is one, whatever is beneath.
    """
    call = lone_call(child)
    if shape_of_one(call) is not None:
        return target(call)
    if child.kind == CONSUMER or (child.kind == INTERNAL and _ATTEMPT.search(child.name)):
        return ("attempt", child.service, without_numbers(child.name))
    return None


def has_failed(child: Span) -> bool:
    """Return whether an attempt failed in a way that asks for another one."""
    if not child.failed and not child.children:
        return False
    call = lone_call(child)
    return call.failed_hard or child.failed_hard or (call.failed and asks_to_try_again(call.attributes))


def is_pause(before: Span | None, after: Span) -> bool:
    """Return whether the time between two spans is the pause between two attempts, or two polls, of one call."""
    if before is None:
        return False
    call, following = inner_call(before), inner_call(after)
    if not call.is_call and not has_failed(before):
        return False
    return target(call) == target(following)


def pauses(span: Span) -> Iterator[int]:
    """Give the nanoseconds of each pause between attempts or polls beneath a span."""
    before: Span | None = None
    for child in sorted(span.children, key=lambda child: child.start):
        if before is not None and child.start > before.end and is_pause(before, child):
            yield child.start - before.end
        before = child


def _finding(attempts: list[Span], tries: dict[Span, int]) -> Finding:
    first = lone_call(attempts[0])
    first = first if shape_of_one(first) is not None else attempts[0]
    parent = attempts[0].parent or first
    above = [tries[span] for span in ancestors(attempts[0]) if span in tries]
    total = len(attempts) * prod(above)
    failed = sum(has_failed(attempt) for attempt in attempts)
    taken = attempts[-1].end - attempts[0].start
    multiplied = f", and {total} times in all, since callers above retry as well" if above else ""
    line = line_of([lone_call(attempt) for attempt in attempts] + [parent])
    return Finding(
        code="retry-storm",
        severity="warning",
        title=(
            f"{parent.service} tries {call_label(first)} {len(attempts)} times{at(line)}, "
            f"of which {failed} failed{multiplied}"
        ),
        trace_id=first.trace_id,
        span_ids=tuple(attempt.span_id for attempt in attempts[:50]),
        service=parent.service,
        remedy="retry in one place only, with a budget, growing pauses and jitter; stop early by a circuit breaker",
        query=f"{matching(parent)} >> {matching(first)[:-2]} && status = error }} | count() >= {FAILED}",
        numbers={
            "attempts": len(attempts),
            "failed": failed,
            "attempts_in_all": total,
            "call": call_label(first),
            "taken_ms": milliseconds(taken),
        },
        cost_ms=milliseconds(taken),
        line=line,
    )
