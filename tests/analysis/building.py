"""Traces for tests, in a few words. Times are milliseconds from the trace's beginning."""

from __future__ import annotations

from typing import Any

from tracemw.analysis.findings.finders import find
from tracemw.analysis.findings.finding import Finding
from tracemw.analysis.model import MILLISECOND, Event, Resource, Span, Trace

EPOCH = 1_795_000_000 * 10**9


class Builder:
    """Spans of one trace, each beneath the one that is given as its parent."""

    def __init__(self, trace_id: str = "0a" * 16) -> None:
        self.trace_id = trace_id
        self.spans: list[Span] = []
        self._resources: dict[str, Resource] = {}

    def add(
        self,
        parent: Span | str | None,
        name: str,
        start: float,
        end: float,
        *,
        service: str = "",
        kind: str = "INTERNAL",
        failed: bool = False,
        events: tuple[Event, ...] = (),
        message: str = "",
        trace_state: str = "",
        **attributes: Any,
    ) -> Span:
        """Add a span. Attributes are written with `__` in place of dots. The service is the parent's unless given."""
        service = service or (parent.service if isinstance(parent, Span) else "shop")
        span = Span(
            trace_id=self.trace_id,
            span_id=f"{len(self.spans) + 1:016x}",
            parent_id=parent.span_id if isinstance(parent, Span) else parent or "",
            name=name,
            kind=kind,
            start=EPOCH + round(start * MILLISECOND),
            end=EPOCH + round(end * MILLISECOND),
            attributes={key.replace("__", "."): value for key, value in attributes.items()},
            resource=self._resources.setdefault(service, Resource(service, {"service.name": service})),
            is_error=failed,
            status_message=message,
            events=events,
            trace_state=trace_state,
        )
        self.spans.append(span)
        return span

    def request(self, start: float, end: float, parent: Span | None = None, **more: Any) -> Span:
        """Add a request being served."""
        more = {"http__request__method": "GET", "http__route": "/orders/{id}", **more}
        return self.add(parent, f"GET {more['http__route']}", start, end, kind="SERVER", **more)

    def query(
        self, parent: Span | str, start: float, end: float, text: str = "SELECT * FROM orders", **more: Any
    ) -> Span:
        """Add a query of PostgreSQL."""
        name = more.pop("name", " ".join(text.split()[:1]))
        return self.add(
            parent, name, start, end, kind="CLIENT", db__system__name="postgresql", db__query__text=text, **more
        )

    def call(
        self, parent: Span, start: float, end: float, host: str = "stock", path: str = "/items/7", **more: Any
    ) -> Span:
        """Add a call over HTTP, as the caller sees it."""
        return self.add(
            parent,
            "GET",
            start,
            end,
            kind="CLIENT",
            **{"http__request__method": "GET", "server__address": host, "url__path": path, **more},
        )

    def trace(self) -> Trace:
        """Return the trace of all spans so far. A builder is good for one."""
        return Trace(self.spans)


def exception(kind: str, message: str = "", stacktrace: str = "") -> Event:
    """Return the event of an exception."""
    return Event(
        "exception",
        EPOCH,
        {"exception.type": kind, "exception.message": message, "exception.stacktrace": stacktrace},
    )


def found(built: Builder) -> dict[str, Finding]:
    """Return the findings of a trace, by code; the worst of each."""
    by_code: dict[str, Finding] = {}
    for finding in find(built.trace()):
        by_code.setdefault(finding.code, finding)
    return by_code
