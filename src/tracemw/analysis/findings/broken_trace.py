"""A trace that does not hang together: `broken-trace`."""

from __future__ import annotations

from collections.abc import Iterator

from tracemw.analysis.findings.finding import Finding, quoted
from tracemw.analysis.model import Trace, milliseconds
from tracemw.analysis.shapes import call_label


def find_broken(trace: Trace) -> Iterator[Finding]:
    """Give a finding if parents are not there, if there are several roots, or if clocks are more than 10 ms apart."""
    roots = [root for root in trace.roots if not root.parent_id]
    if not trace.orphans and len(roots) < 2 and not trace.skewed:
        return
    orphans, skewed = trace.orphans, trace.skewed
    said, remedies = [], []
    if orphans:
        one, more = orphans[0], f" ({len(orphans)} such)" if orphans[1:] else ""
        said.append(f"the parent of {call_label(one)} of {one.service} is not there{more}")
        remedies.append("see whether every service exports its spans, by the same sampling, and none lost them")
    if len(roots) > 1:
        said.append(f"{len(roots)} spans have no parent")
        remedies.append("see whether the trace context is handed on to threads and tasks")
    if skewed:
        apart = max(abs(span.skew) for span in skewed)
        said.append(f"the clocks of {skewed[0].service} and {_caller(trace)} are {milliseconds(apart):.0f} ms apart")
        remedies.append("see whether the clocks are synchronised (chrony)")
    first = (*orphans, *skewed, *roots)[0]
    yield Finding(
        code="broken-trace",
        severity="hint",
        title=f"the trace does not hang together: {'; '.join(said)}",
        trace_id=trace.trace_id,
        span_ids=tuple(dict.fromkeys(span.span_id for span in (*orphans, *skewed, *roots)))[:50],
        service=first.service,
        remedy="; ".join(remedies),
        query=f"{{ resource.service.name = {quoted(first.service)} && name = {quoted(first.name)} }}",
        numbers={
            "missing_parents": len({orphan.parent_id for orphan in orphans}),
            "roots": len(roots),
            "skew_ms": milliseconds(max((abs(span.skew) for span in skewed), default=0)),
        },
    )


def _caller(trace: Trace) -> str:
    parent = trace.skewed[0].parent
    return parent.service if parent else trace.root.service
