"""All that one span has, as OTLP's JSON says it: what a page shows of the span that somebody has chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from tracemw.analysis.model import Span

_NO_JSON: Final = {math.inf: "Infinity", -math.inf: "-Infinity"}


def otlp_span(span: Span) -> dict[str, Any]:
    """Return a span with its resource. Times are those of the span's own clock, and attributes have today's names."""
    return {
        "resource": {"attributes": _attributes(span.resource.attributes)},
        "span": {
            "name": span.name,
            "kind": f"SPAN_KIND_{span.kind}",
            "startTimeUnixNano": str(span.start - span.skew),
            "endTimeUnixNano": str(span.end - span.skew),
            "traceState": span.trace_state,
            "status": {"code": "STATUS_CODE_ERROR", "message": span.status_message} if span.failed else {},
            "attributes": _attributes(span.attributes),
            "events": [
                {"name": event.name, "timeUnixNano": str(event.time), "attributes": _attributes(event.attributes)}
                for event in span.events
            ],
        },
    }


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else _NO_JSON.get(value, "NaN")}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _attributes(value)}}
    return {} if value is None else {"stringValue": str(value)}
