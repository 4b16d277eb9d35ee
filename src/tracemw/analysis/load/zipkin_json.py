"""What Zipkin exports: a list of spans, or a list of traces, each a list of spans. Times are microseconds.

In Zipkin a call and its serving may share one id. The serving gets an id of its own here, beneath the call.
Source: opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from tracemw.analysis.load.otlp_json import hexadecimal
from tracemw.analysis.model import INTERNAL, SERVER, Event, Resource, Span


def spans_of_zipkin(listed: list[Any]) -> Iterator[Span]:
    """Give the spans of a list.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: for anything that is not Zipkin's JSON.
    """
    flat = [
        {**span, "traceId": hexadecimal(span["traceId"], 32)}  # of 16 digits and of 32, even within one trace
        for each in listed
        for span in (each if isinstance(each, list) else [each])
    ]
    resources: dict[str, Resource] = {}
    calls = {(span["traceId"], span["id"]) for span in flat if span.get("kind") != SERVER}
    shared = {(span["traceId"], span["id"]) for span in flat if span.get("kind") == SERVER} & calls
    services = {(span["traceId"], span["id"]): _service(span) for span in flat if span.get("kind") == SERVER}
    for span in flat:
        yield _span(span, resources, shared, services)


def _span(
    span: dict[str, Any],
    resources: dict[str, Resource],
    shared: set[tuple[str, str]],
    services: dict[tuple[str, str], str],
) -> Span:
    name, kind = _service(span), span.get("kind") or INTERNAL
    span_id, parent_id = span["id"], span.get("parentId") or ""
    if (span["traceId"], span_id) in shared and kind == SERVER:
        span_id, parent_id = _serving(span_id), span_id
    elif (span["traceId"], parent_id) in shared and services.get((span["traceId"], parent_id)) == name:
        parent_id = _serving(parent_id)
    start = int(span.get("timestamp") or 0) * 1000
    tags = dict(span.get("tags") or {})
    error = tags.pop("error", None)
    remote = (span.get("remoteEndpoint") or {}).get("serviceName")
    if remote:
        tags.setdefault("peer.service", remote)
    return Span(
        trace_id=span["traceId"],
        span_id=hexadecimal(span_id, 16),
        parent_id=hexadecimal(parent_id, 16),
        name=str(span.get("name", "")),
        kind=kind,
        start=start,
        end=start + int(span.get("duration") or 0) * 1000,
        attributes=tags,
        resource=resources.setdefault(name, Resource(name, {"service.name": name})),
        is_error=error is not None and error != "false",
        status_message=str(error or ""),
        events=tuple(_event(note) for note in span.get("annotations") or ()),
    )


def _event(note: dict[str, Any]) -> Event:
    """Return what an annotation tells. OpenTelemetry puts an event into its text: `"exception": {...}`."""
    text, at = str(note.get("value") or ""), int(note.get("timestamp") or 0) * 1000
    with suppress(ValueError, RecursionError):
        told = json.loads(text if text.startswith("{") else f"{{{text}}}")
        name, attributes = next(iter(told.items()), ("", None))
        if len(told) == 1 and isinstance(attributes, dict):
            return Event(name, at, attributes)
    return Event(text, at, {})


def _service(span: dict[str, Any]) -> str:
    return str((span.get("localEndpoint") or {}).get("serviceName", ""))


def _serving(span_id: str) -> str:
    """Return the id of the serving that shares a call's id."""
    return f"{int(span_id, 16) ^ (1 << 63):016x}"
