"""The spans of one trace request, each with its resource and scope, and each fit to be kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from google.protobuf.message import Message  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracemw.viewer.receiving.counting import MAX_SPAN_BYTES, MAX_SPAN_FIELDS, has_more_fields

_TRACE_ID_BYTES = 16
_SPAN_ID_BYTES = 8
_SMALL_BYTES = min(MAX_SPAN_BYTES, 2 * MAX_SPAN_FIELDS)  # nothing of this size has too many bytes or fields


@dataclass(frozen=True, slots=True)
class ResourceScope:
    """One instrumentation scope of one resource, each with its schema URL."""

    resource: Resource
    resource_schema_url: str
    scope: InstrumentationScope
    scope_schema_url: str


@dataclass(slots=True)
class Batch:
    """The spans of one request that can be kept, and the number of those that cannot.

    Attributes:
        spans: Each valid span with its scope, in the order of the request.
        rejected: How many spans were refused.
        reason: Why the first of them was refused. Empty if none was.
    """

    spans: list[tuple[ResourceScope, Span]] = field(default_factory=list)
    rejected: int = 0
    reason: str = ""

    def reject(self, count: int, reason: str) -> None:
        """Count spans as refused. The sender is told the first reason."""
        self.rejected += count
        self.reason = self.reason or reason


def validate(request: ExportTraceServiceRequest, size: int) -> Batch:
    """Sort the spans of a request into those that can be kept and those that are rejected.

    Args:
        request: The request.
        size: Bytes of the plain body. JSON never has fewer than the same request in protobuf.
    """
    batch = Batch()
    any_size = size <= _SMALL_BYTES  # no span of so small a body is too large
    for resource_spans in request.resource_spans:
        resource = resource_spans.resource
        excess_of_resource = "" if any_size else _excess(resource)
        for scope_spans in resource_spans.scope_spans:
            if not scope_spans.spans:
                continue
            excess = excess_of_resource or ("" if any_size else _excess(scope_spans.scope))
            if excess:
                batch.reject(len(scope_spans.spans), f"their resource or scope has {excess}")
                continue
            scope = ResourceScope(resource, resource_spans.schema_url, scope_spans.scope, scope_spans.schema_url)
            for span in scope_spans.spans:
                complaint = _complaint(span)
                if not (any_size or complaint) and (excess := _excess(span)):
                    complaint = f"it has {excess}"
                if complaint:
                    batch.reject(1, f"{complaint} (span {span.name[:64]!r})")
                else:
                    batch.spans.append((scope, span))
    return batch


def _excess(message: Message) -> str:
    """Return what a span, resource or scope has too much of, or an empty string."""
    if message.ByteSize() > MAX_SPAN_BYTES:
        return f"more than {MAX_SPAN_BYTES} bytes"
    if message.ByteSize() > _SMALL_BYTES and has_more_fields(
        message.SerializeToString(), message.DESCRIPTOR, MAX_SPAN_FIELDS
    ):
        return f"more than {MAX_SPAN_FIELDS} attributes, values and other fields"
    return ""


def _complaint(span: Span) -> str:
    """Return why a span cannot be kept, or an empty string."""
    if len(span.trace_id) != _TRACE_ID_BYTES or not any(span.trace_id):
        return f"trace_id must be {_TRACE_ID_BYTES} bytes and not all zero"
    if len(span.span_id) != _SPAN_ID_BYTES or not any(span.span_id):
        return f"span_id must be {_SPAN_ID_BYTES} bytes and not all zero"
    if len(span.parent_span_id) not in (0, _SPAN_ID_BYTES):
        return f"parent_span_id must be empty or {_SPAN_ID_BYTES} bytes"
    return ""
