"""Spans to encode, and what is in a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags

from tracemw._export.encoding import SpanEncoder
from tracemw._export.encoding.tables import KeptValues, SimpleValues
from tracemw.redaction import Answer, Redaction
from tracemw.redaction.policy import RedactionPolicy

CONTEXT = SpanContext(
    0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, is_remote=False, trace_flags=TraceFlags(1)
)
RESOURCE = Resource({"service.name": "shop"})
SCOPE = InstrumentationScope("tests", "1.0")
PRIVATE = ["_name", "_context", "_kind", "_parent", "_start_time", "_end_time", "_attributes", "_events", "_links"]
PRIVATE += ["_status", "_resource", "_instrumentation_scope"]


def a_span(**fields: Any) -> ReadableSpan:
    settings = {"name": "GET /", "context": CONTEXT, "resource": RESOURCE, "instrumentation_scope": SCOPE, **fields}
    return ReadableSpan(**{"start_time": 1_700_000_000_000_000_000, "end_time": 1_700_000_000_000_000_001, **settings})


def an_encoder(**options: Any) -> SpanEncoder:
    """An encoder that lets all leave. What it makes of secrets is for the tests of redaction."""
    return SpanEncoder(policy=RedactionPolicy({"*"}, Redaction(rule=lambda found: Answer.KEEP)), **options)


class LeanSpan(SdkSpan):
    """The SDK's private fields, with plain containers in them or none wherever nothing has been dropped."""

    def __new__(cls, span: ReadableSpan) -> LeanSpan:
        return object.__new__(cls)

    def __init__(self, span: ReadableSpan) -> None:
        for name in PRIVATE:
            setattr(self, name, getattr(span, name))
        if not span.dropped_attributes:
            self._attributes = dict(span._attributes or {})
        if not span.dropped_events:
            self._events = list(span._events) or None  # type: ignore[assignment]
        if not span.dropped_links:
            self._links = tuple(span._links)


class Lookalike:
    """Shows a span's public face only, as wrappers do that other libraries export."""

    def __init__(self, span: ReadableSpan) -> None:
        self.__span = span

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.__span, name)


def official(spans: Sequence[ReadableSpan]) -> bytes:
    request: bytes = encode_spans(spans).SerializeToString()
    return request


def parse(request: bytes) -> ExportTraceServiceRequest:
    parsed: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(request)
    return parsed


def spans_in(request: bytes) -> list[SpanMessage]:
    return [
        span for resource in parse(request).resource_spans for scope in resource.scope_spans for span in scope.spans
    ]


def attributes_in(request: bytes) -> dict[str, AnyValue]:
    (span,) = spans_in(request)
    return {attribute.key: attribute.value for attribute in span.attributes}


def entries(encoder: SpanEncoder) -> int:
    """How many things the encoder remembers of attributes: keys, values, and what stands before values."""
    tables = [table for of_type in encoder._memo._tables.values() for table in of_type.values()]
    kept = [table for table in tables if isinstance(table, KeptValues)]
    simple = [table for table in tables if isinstance(table, SimpleValues)] + [table.anew for table in kept]
    heads = [table._heads for table in simple if isinstance(table, SimpleValues)]
    return len(tables) + sum(map(len, kept)) + sum(map(len, heads))
