"""Calls in a row that could run together: `sequential-calls`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tracemw.analysis.conventions import asks_a_model
from tracemw.analysis.evidence import Evidence
from tracemw.analysis.findings.attempts_of_calls import has_failed
from tracemw.analysis.findings.finding import Finding, at, line_of, matching
from tracemw.analysis.findings.repetition import REPEATS
from tracemw.analysis.model import INTERNAL, MILLISECOND, Span, milliseconds
from tracemw.analysis.shapes import call_label, shape_of_one, target

CALLS: Final = 3
EACH: Final = 100 * MILLISECOND
SAVING: Final = 500 * MILLISECOND


def find_sequential_calls(evidence: Evidence) -> Iterator[Finding]:
    """Give a finding for calls of 100 ms and longer, three and more in a row, if 500 ms could be saved.

    Spans do not tell whether one call needs the answer of another. Queries are not meant: one connection runs one. Nor
    are calls of a language model, whose answers say what is asked next.
    """
    if len(evidence.trace.long) <= CALLS:
        return
    for parent in evidence.trace.parents:
        for run in _runs(parent):
            calls = [_main_call(child) for child in run]
            shapes = {shape_of_one(call) for call in calls}
            if len({target(call) for call in calls}) < 2 or (len(shapes) == 1 and len(run) >= REPEATS):
                continue  # polls and retries; what repeats that often is an n-plus-one
            longest = max(child.duration for child in run)
            saving = evidence.saving(run, longest)
            if saving >= SAVING:
                yield _finding(parent, run, calls, saving)


def _runs(parent: Span) -> Iterator[list[Span]]:
    run: list[Span] = []
    for child in sorted((child for child in parent.children if child.duration >= EACH), key=lambda child: child.start):
        call = _main_call(child)
        if not call.is_call or call.duration < EACH or has_failed(child) or asks_a_model(call.attributes):
            continue
        if run and child.start < run[-1].end - MILLISECOND:
            if len(run) >= CALLS:
                yield run
            run = []
        run.append(child)
    if len(run) >= CALLS:
        yield run


def _main_call(span: Span) -> Span:
    """Return the call for whose sake a wrapper is there: the one that takes more than half of its time."""
    while span.kind == INTERNAL and not span.is_database and span.children:
        longest = max(span.children, key=lambda child: child.end - child.start)
        if longest.duration * 2 <= span.duration:
            break
        span = longest
    return span


def _finding(parent: Span, run: list[Span], calls: list[Span], saving: int) -> Finding:
    labels = list(dict.fromkeys(call_label(call) for call in calls))
    together = sum(child.duration for child in run)
    line = line_of([*calls, parent])
    return Finding(
        code="sequential-calls",
        severity="warning",
        title=f"{parent.service} makes {len(run)} calls in a row in {parent.name}{at(line)}: {', '.join(labels[:4])}",
        trace_id=parent.trace_id,
        span_ids=(parent.span_id, *(child.span_id for child in run[:50])),
        service=parent.service,
        remedy="run calls that need no answer of each other side by side: asyncio.TaskGroup, or a thread pool",
        query=f"{matching(parent)} >> {{ kind = client && duration >= 100ms }} | count() >= {CALLS}",
        numbers={"calls": len(run), "together_ms": milliseconds(together), "shapes": labels},
        cost_ms=milliseconds(together),
        saving_ms=milliseconds(saving),
        line=line,
    )
