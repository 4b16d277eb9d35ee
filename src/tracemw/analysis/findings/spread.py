"""The form of a trace: `wide-trace` and `deep-trace`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tracemw.analysis.conventions import is_proxy
from tracemw.analysis.evidence import Evidence
from tracemw.analysis.findings.finding import Finding, below, line_of, matching
from tracemw.analysis.findings.repetition import count_repeats
from tracemw.analysis.model import CLIENT, INTERNAL, PRODUCER, SERVER, Span, Trace, ancestors, milliseconds
from tracemw.analysis.shapes import Shapes

WIDE: Final = 50
DEEP: Final = 5

_ONE_BY_ONE: Final = "they run one after another: ask for many things at once"
_SIDE_BY_SIDE: Final = "ask for many things at once, or limit how many run side by side (a semaphore, pages)"


def find_wide(evidence: Evidence) -> Iterator[Finding]:
    """Give a finding for each span with more than 50 queries or calls right beneath it, those in wrappers included."""
    for parent in evidence.trace.parents:
        children = parent.children
        if sum([child.folded for child in children]) <= WIDE:
            continue
        calls = [child for child in children if _leaves(child, evidence.shapes)]
        count = sum(child.folded for child in calls)
        if count <= WIDE:
            continue
        one_by_one = count - count_repeats(parent, evidence) <= WIDE
        line = line_of(calls[:50])
        yield Finding(
            code="wide-trace",
            severity="hint",
            title=f"{parent.name} of {parent.service} makes {count} queries or calls of its own",
            trace_id=parent.trace_id,
            span_ids=(parent.span_id, *(child.span_id for child in calls[:10])),
            service=parent.service,
            remedy=_ONE_BY_ONE if one_by_one else _SIDE_BY_SIDE,
            query=below(f"{matching(parent)} >", "{ }", children, WIDE + 1),
            numbers={"children": count, "duration_ms": milliseconds(parent.duration)},
            line=line,
        )


def _leaves(child: Span, shapes: Shapes) -> bool:
    """Return whether a span leaves its process, or is around something that does."""
    if child.kind in (PRODUCER, SERVER):
        return True
    return child.kind in (CLIENT, INTERNAL) and shapes.of(child) is not None


def find_deep(trace: Trace) -> Iterator[Finding]:
    """Give a finding if a path crosses from service to service more than five times."""
    if len(trace.spans) <= DEEP or (len(trace.services) < 2):
        return
    crossings: dict[Span, tuple[int, str]] = {}
    deepest, most = trace.root, 0
    for span in trace.spans:
        parent = span.parent
        if parent is None:
            continue
        count, service = crossings.get(parent, (0, parent.service))
        if service != span.service and not _is_sidecar(span):
            count, service = count + 1, span.service
        if count or service != parent.service:
            crossings[span] = count, service
            if count > most:
                deepest, most = span, count
    if most <= DEEP:
        return
    path = [span for span in (deepest, *ancestors(deepest)) if not _is_sidecar(span)][::-1]
    services = [path[0].service]
    for span in path:
        if span.service != services[-1]:
            services.append(span.service)
    yield Finding(
        code="deep-trace",
        severity="hint",
        title=f"one request passes through {most + 1} services in a row: {' > '.join(services[:12])}",
        trace_id=trace.trace_id,
        span_ids=tuple(span.span_id for span, above in zip(path, [None, *path], strict=False) if _is_hop(span, above))[
            -20:
        ],
        service=deepest.service,
        remedy="each hop adds latency and a way to fail: let services ask for what they need directly, or keep copies",
        query=f"{matching(path[0])} >> {matching(deepest)}",
        numbers={"crossings": most, "services": services},
    )


def _is_hop(span: Span, above: Span | None) -> bool:
    return above is None or span.service != above.service


def _is_sidecar(span: Span) -> bool:
    """Return whether a sidecar recorded this span, which the service has recorded, too."""
    return span.kind in (CLIENT, SERVER) and is_proxy(span.attributes)
