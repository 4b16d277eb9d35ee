"""What the viewer answers, in the shape of Grafana Tempo's HTTP API (protobuf's own JSON: ids are base64)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tracemw.viewer.query import Found, Search, attribute_text
from tracemw.viewer.store import Sieve, Store, StoredSpan

ROOT_MISSING = "<root span not yet received>"

_TAG_SAMPLE = 500  # how many of the newest traces are looked into for tag names and values


def trace_v1(trace: TracesData) -> dict[str, Any]:
    """The body of ``/api/traces/{id}``."""
    return {"batches": json_format.MessageToDict(trace).get("resourceSpans", [])}


def trace_v2(trace: TracesData) -> dict[str, Any]:
    """The body of ``/api/v2/traces/{id}``; a trace that is not there is an empty one."""
    return {"trace": json_format.MessageToDict(trace)}


def search_result(found: Iterable[Found], search: Search) -> dict[str, Any]:
    """The body of ``/api/search``."""
    traces = [_found(each, search) for each in found]
    return {"traces": traces, "metrics": {"inspectedTraces": len(traces), "completedJobs": 1, "totalJobs": 1}}


def tag_names(store: Store) -> dict[str, Any]:
    """The body of ``/api/search/tags``: every attribute key of the newest traces."""
    keys = {
        attribute.key for span in _sample(store) for attribute in (*span.span.attributes, *span.resource.attributes)
    }
    return {"tagNames": sorted(keys | {"name", "status", "error"})}


def tag_values(store: Store, name: str) -> dict[str, Any]:
    """The body of ``/api/search/tag/{name}/values``: every value of one key in the newest traces."""
    if name == "status":
        return {"tagValues": ["error", "ok", "unset"]}
    if name == "error":
        return {"tagValues": ["false", "true"]}
    if name == "name":
        return {"tagValues": sorted({span.span.name for span in _sample(store)})}
    values = {
        text
        for span in _sample(store)
        for attribute in (*span.span.attributes, *span.resource.attributes)
        if attribute.key == name
        for text in attribute_text(attribute.value)
    }
    return {"tagValues": sorted(values)}


def _sample(store: Store) -> Iterable[StoredSpan]:
    for _, spans in store.candidates(store.summaries(Sieve(), limit=_TAG_SAMPLE), Sieve()):
        yield from spans


def _found(found: Found, search: Search) -> dict[str, Any]:
    trace = found.trace
    result: dict[str, Any] = {
        "traceID": trace.trace_id.hex(),
        "rootServiceName": trace.root_service or ROOT_MISSING,
        "rootTraceName": trace.root_name or "",
        "startTimeUnixNano": str(trace.start),
        "durationMs": trace.duration // 1_000_000,
        "serviceStats": {service: _stats(*counts) for service, counts in trace.services.items()},
    }
    if found.spans:
        span_set = {
            "spans": [_span(span) for span in found.spans[: search.spans_per_set]],
            "matched": len(found.spans),
        }
        result |= {"spanSet": span_set, "spanSets": [span_set]}
    return result


def _stats(spans: int, errors: int) -> dict[str, int]:
    return {"spanCount": spans, "errorCount": errors} if errors else {"spanCount": spans}


def _span(span: StoredSpan) -> dict[str, Any]:
    return {
        "spanID": span.span_id.hex(),
        "name": span.span.name,
        "startTimeUnixNano": str(span.start),
        "durationNanos": str(max(span.end - span.start, 0)),
    }
