"""OTLP as JSON: of exporters and collectors with hex ids, and of Tempo with base64 ids.

Source: opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding. Tempo answers with protobuf's own JSON instead.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Final

from tracemw.analysis.model import CLIENT, CONSUMER, INTERNAL, PRODUCER, SERVER, Event, Resource, Span

KINDS: Final = (INTERNAL, INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER)
"""The kinds by their numbers in OTLP. A kind that is not given counts as INTERNAL."""

_BY_NAME: Final = {f"SPAN_KIND_{kind}": kind for kind in KINDS}
_ERRORS: Final = (2, "STATUS_CODE_ERROR")


def spans_of(document: dict[str, Any]) -> Iterator[Span]:
    """Give the spans of a document with `resourceSpans`, or with `batches`.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: for anything that is not OTLP.
    """
    for group in document.get("resourceSpans") or document.get("batches") or ():
        attributes = _attributes(group.get("resource") or {})
        resource = Resource(str(attributes.get("service.name", "")), attributes)
        for scope in group.get("scopeSpans") or group.get("instrumentationLibrarySpans") or ():
            for span in scope.get("spans") or ():
                yield _span(span, resource)


def _span(span: dict[str, Any], resource: Resource) -> Span:
    kind, status = span.get("kind", 1), span.get("status") or {}
    return Span(
        trace_id=hexadecimal(span["traceId"], 32),
        span_id=hexadecimal(span["spanId"], 16),
        parent_id=hexadecimal(span.get("parentSpanId") or "", 16),
        name=str(span.get("name", "")),
        kind=(KINDS[kind] if 0 <= kind < len(KINDS) else INTERNAL)
        if isinstance(kind, int)
        else _BY_NAME.get(kind, INTERNAL),
        start=int(span.get("startTimeUnixNano", 0)),
        end=int(span.get("endTimeUnixNano", 0)),
        attributes=_attributes(span),
        resource=resource,
        is_error=status.get("code") in _ERRORS,
        status_message=str(status.get("message", "")),
        events=tuple(
            Event(str(event.get("name", "")), int(event.get("timeUnixNano", 0)), _attributes(event))
            for event in span.get("events") or ()
        ),
        trace_state=str(span.get("traceState", "")),
    )


def hexadecimal(text: str, digits: int) -> str:
    """Return an id in hex, in lower case and with all its digits; empty for none. Base64 is told by its length.

    Raises:
        ValueError: for anything that is no id.
    """
    if len(text) == digits * 3 // 4 and text.endswith("="):
        text = base64.b64decode(text, validate=True).hex()
    if len(text) > digits:
        raise ValueError(f"{text!r} is no id of {digits} hex digits")
    return f"{number:0{digits}x}" if text and (number := int(text, 16)) else ""


def _attributes(owner: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: _value(each.get("value") or {}) for each in owner.get("attributes") or ()}


def _value(value: dict[str, Any]) -> Any:
    for kind, given in value.items():
        if kind == "intValue":
            return int(given)
        if kind == "arrayValue":
            return [_value(each) for each in given.get("values") or ()]
        if kind == "kvlistValue":
            return {each["key"]: _value(each.get("value") or {}) for each in given.get("values") or ()}
        return given
    return None
