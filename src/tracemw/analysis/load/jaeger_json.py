"""What Jaeger exports: `{"data": [{"traceID", "spans", "processes"}]}`. Times are microseconds.

The spans may come from clients of OpenTracing, whose errors are logs of other names.
Source: opentracing.io/specification/conventions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tracemw.analysis.load.otlp_json import hexadecimal
from tracemw.analysis.model import INTERNAL, Event, Resource, Span

_OF_ERRORS: Final = {
    "error.kind": "exception.type",
    "message": "exception.message",
    "stack": "exception.stacktrace",
}
"""What OpenTracing calls the fields of an exception, and what they are called today."""


def spans_of_jaeger(traces: list[dict[str, Any]]) -> Iterator[Span]:
    """Give the spans of traces.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: for anything that is not Jaeger's JSON.
    """
    for trace in traces:
        resources = {
            key: Resource(
                str(process.get("serviceName", "")),
                {"service.name": process.get("serviceName", ""), **_tags(process)},
            )
            for key, process in (trace.get("processes") or {}).items()
        }
        for span in trace["spans"]:
            yield _span(span, resources)


def _span(span: dict[str, Any], resources: dict[str, Resource]) -> Span:
    tags = _tags(span)
    kind = str(tags.pop("span.kind", "")).upper()
    failed = tags.pop("otel.status_code", None) == "ERROR" or tags.pop("error", False) in (True, "true")
    start = int(span["startTime"]) * 1000
    return Span(
        trace_id=hexadecimal(span["traceID"], 32),
        span_id=hexadecimal(span["spanID"], 16),
        parent_id=_parent(span),
        name=str(span.get("operationName", "")),
        kind=kind or INTERNAL,
        start=start,
        end=start + int(span["duration"]) * 1000,
        attributes=tags,
        resource=_resource(span, resources),
        is_error=failed,
        status_message=str(tags.pop("otel.status_description", "")),
        events=tuple(_events(span)),
        trace_state=str(tags.pop("w3c.tracestate", "")),
    )


def _resource(span: dict[str, Any], resources: dict[str, Resource]) -> Resource:
    process = span.get("process")
    if process:
        return Resource(str(process.get("serviceName", "")), _tags(process))
    return resources[span["processID"]]


def _parent(span: dict[str, Any]) -> str:
    own = [each for each in span.get("references") or () if each.get("traceID") == span["traceID"]]
    own.sort(key=lambda each: each.get("refType") != "CHILD_OF")  # what it follows comes after what it is part of
    if own:
        return hexadecimal(own[0]["spanID"], 16)
    return hexadecimal(span.get("parentSpanID") or "", 16)


def _events(span: dict[str, Any]) -> Iterator[Event]:
    for log in span.get("logs") or ():
        fields = {field["key"]: field.get("value") for field in log.get("fields") or ()}
        name = str(fields.pop("event", ""))
        if name == "error":  # OpenTracing's name of an exception
            name = "exception"
            fields = {_OF_ERRORS.get(key, key): value for key, value in fields.items()}
        yield Event(name, int(log.get("timestamp", 0)) * 1000, fields)


def _tags(owner: dict[str, Any]) -> dict[str, Any]:
    return {tag["key"]: tag.get("value") for tag in owner.get("tags") or ()}
