"""What recent traces show of one service: its resources, and its spans by trace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tracemw.analysis.model import Span, Trace


@dataclass(frozen=True)
class Telemetry:
    """Resources and spans of one service."""

    service: str
    """Empty for processes that do not say."""

    resources: list[dict[str, Any]]
    """The attributes of each resource, once."""

    traces: dict[str, list[Span]]
    """The service's own spans, by trace id."""

    orphans: list[Span]
    """Its spans whose parent is not there."""

    @property
    def spans(self) -> Iterator[Span]:
        """All spans of the service."""
        return (span for spans in self.traces.values() for span in spans)


def by_service(traces: Iterable[Trace]) -> list[Telemetry]:
    """Return what traces show of each service."""
    found: dict[str, Telemetry] = {}
    seen: set[tuple[str, str]] = set()
    for trace in traces:
        for span in _all_spans(trace):
            told = found.setdefault(span.service, Telemetry(span.service, [], {}, []))
            told.traces.setdefault(trace.trace_id, []).append(span)
            resource = (span.service, repr(sorted(span.resource.attributes.items(), key=str)))
            if resource not in seen:
                seen.add(resource)
                told.resources.append(span.resource.attributes)
        for span in trace.orphans:
            found[span.service].orphans.append(span)
    return sorted(found.values(), key=lambda told: told.service)


def _all_spans(trace: Trace) -> Iterator[Span]:
    for span in trace.spans:
        yield span
        yield from span.messages
