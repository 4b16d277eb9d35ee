"""OTLP as protobuf: a `TracesData`, an `ExportTraceServiceRequest` and Tempo's trace have the same bytes.

Version 2 of Tempo's API answers with a message whose first field is the trace.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any

from tracemw.analysis.load.otlp_json import KINDS
from tracemw.analysis.load.unreadable import NotTracesError
from tracemw.analysis.model import INTERNAL, Event, Resource, Span


def spans_of_bytes(data: bytes) -> Iterator[Span]:
    """Return the spans of the bytes of a message.

    Raises:
        NotTracesError: for bytes that are no such message.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf brings no types
    from google.protobuf.wrappers_pb2 import BytesValue  # type: ignore[import-untyped]
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    is_message = False
    for within in (False, True):
        try:
            message = TracesData.FromString(BytesValue.FromString(data).value if within else data)
        except DecodeError:
            continue
        if any(group.scope_spans for group in message.resource_spans):
            return spans_of_message(message)
        is_message = is_message or not within
    if not is_message:
        raise NotTracesError("neither JSON nor protobuf of OTLP; use a file of OTLP, Tempo, Jaeger or Zipkin")
    return iter(())


def spans_of_message(message: Any) -> Iterator[Span]:
    """Give the spans of a `TracesData`, or of a message with the same fields."""
    for group in message.resource_spans:
        attributes = _attributes(group.resource.attributes)
        resource = Resource(str(attributes.get("service.name", "")), attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield _span(span, resource)


def _span(span: Any, resource: Resource) -> Span:
    status = span.status
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() if any(span.parent_span_id) else "",
        name=span.name,
        kind=KINDS[span.kind] if 0 <= span.kind < len(KINDS) else INTERNAL,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        resource=resource,
        is_error=status.code == 2,
        status_message=status.message,
        events=tuple(Event(each.name, each.time_unix_nano, _attributes(each.attributes)) for each in span.events),
        trace_state=span.trace_state,
    )


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    # Most values are texts. To try that first is a quarter faster.
    return {pair.key: (value := pair.value).string_value or _value(value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()  # as JSON has them
    return None if kind is None else getattr(value, kind)
