"""Traces as plain data, and Grafana Tempo's query API, which is the viewer's too, that they are read from."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx

SEARCH_LIMIT = 10_000
"""More traces than the demo makes, so that a search returns all of them."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """One span: ids are lower-case hex, times are nanoseconds, ``kind`` is SERVER, CLIENT, INTERNAL, ..."""

    span_id: str
    parent_id: str | None
    service: str
    name: str
    kind: str
    start: int
    end: int
    attributes: Mapping[str, object]
    failed: bool = False

    @property
    def milliseconds(self) -> float:
        """How long the span took."""
        return (self.end - self.start) / 1e6


@dataclass(frozen=True)
class Trace:
    """One trace; its spans in the order of their start."""

    trace_id: str
    spans: tuple[Span, ...]
    partial: str | None = None
    """Why the store has not returned all of it, in the store's words; None when it has."""

    @cached_property
    def by_id(self) -> Mapping[str, Span]:
        """The spans by their id."""
        return {span.span_id: span for span in self.spans}

    @property
    def roots(self) -> list[Span]:
        """The spans that claim no parent: one, in a good trace."""
        return [span for span in self.spans if span.parent_id is None]

    @property
    def services(self) -> frozenset[str]:
        """The names of the services that took part."""
        return frozenset(span.service for span in self.spans)

    def children(self, parent: Span) -> list[Span]:
        """Return the spans directly below ``parent``."""
        return [span for span in self.spans if span.parent_id == parent.span_id]

    def parent(self, span: Span) -> Span | None:
        """Return the span above, or None for a root and for a span whose parent is not in the trace."""
        return self.by_id.get(span.parent_id) if span.parent_id is not None else None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search tells about a trace: its root, and the ids of some of the spans that match."""

    trace_id: str
    root_service: str
    root_name: str
    span_ids: frozenset[str]


def parse_trace(trace_id: str, body: Mapping[str, Any]) -> Trace:
    """Read the answer of ``GET /api/v2/traces/{id}``: protobuf's own JSON, ids in base64, empty fields left out."""
    spans = sorted(_spans(body.get("trace", {})), key=lambda span: (span.start, span.span_id))
    partial = body.get("message", "no reason given") if body.get("status") == "PARTIAL" else None
    return Trace(trace_id, tuple(spans), partial)


def parse_found(found: Mapping[str, Any]) -> Found:
    """Read one trace of the answer of ``GET /api/search``, whose ids are hex, some without their leading zeros."""
    matches = (span for span_set in found.get("spanSets", []) for span in span_set.get("spans", []))
    return Found(
        trace_id=found["traceID"].zfill(32),
        root_service=found.get("rootServiceName", ""),
        root_name=found.get("rootTraceName", ""),
        span_ids=frozenset(span["spanID"].zfill(16) for span in matches),
    )


def _spans(trace: Mapping[str, Any]) -> Iterator[Span]:
    for resource_spans in trace.get("resourceSpans", []):
        service = _attributes(resource_spans.get("resource", {})).get("service.name", "?")
        for scope_spans in resource_spans.get("scopeSpans", []):
            for span in scope_spans.get("spans", []):
                yield _span(str(service), span)


def _span(service: str, span: Mapping[str, Any]) -> Span:
    parent_id = span.get("parentSpanId")
    return Span(
        span_id=_hex(span["spanId"]),
        parent_id=_hex(parent_id) if parent_id else None,
        service=service,
        name=span.get("name", ""),
        kind=span.get("kind", "SPAN_KIND_UNSPECIFIED").removeprefix("SPAN_KIND_"),
        start=int(span.get("startTimeUnixNano", 0)),
        end=int(span.get("endTimeUnixNano", 0)),
        attributes=_attributes(span),
        failed=span.get("status", {}).get("code") == "STATUS_CODE_ERROR",
    )


def _hex(base64_id: str) -> str:
    return base64.b64decode(base64_id, validate=True).hex()


def _attributes(holder: Mapping[str, Any]) -> dict[str, object]:
    return {pair["key"]: _value(pair.get("value", {})) for pair in holder.get("attributes", [])}


def _value(any_value: Mapping[str, Any]) -> object:
    """Return what an OTLP AnyValue holds; 64-bit integers come as strings."""
    if "intValue" in any_value:
        return int(any_value["intValue"])
    return next(iter(any_value.values()), None)


@dataclass(frozen=True)
class TraceStore:
    """The viewer, or any Tempo, at ``address``."""

    client: httpx.AsyncClient
    address: str

    async def trace(self, trace_id: str) -> Trace:
        """Return the trace; one without spans when the store does not have it (yet), however it says so."""
        answer = await self.client.get(f"{self.address}/api/v2/traces/{trace_id}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return Trace(trace_id, ())
        answer.raise_for_status()
        return parse_trace(trace_id, answer.json())

    async def search(self, **parameters: str | int) -> list[Found]:
        """Return what a search finds; the parameters are Tempo's: ``q`` or ``tags``, ``start``, ``limit``, ..."""
        answer = await self.client.get(f"{self.address}/api/search", params=parameters)
        answer.raise_for_status()
        return [parse_found(found) for found in answer.json().get("traces", [])]

    async def everything(self) -> list[Trace]:
        """Return every trace that the store has, not only those that somebody expects."""
        trace_ids = sorted(found.trace_id for found in await self.search(limit=SEARCH_LIMIT))
        return [await self.trace(trace_id) for trace_id in trace_ids]
