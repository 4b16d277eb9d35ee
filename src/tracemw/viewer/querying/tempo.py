"""Bodies in the shape of Grafana Tempo's HTTP API (protobuf's own JSON: ids are base64).

A trace is written slice by slice. So is the result of a search, within a bound. Its writer takes all of it before the
first byte is sent: a search that fails halfway is still an error to its client.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, repeat
from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tracemw.viewer.querying.fields import value_text
from tracemw.viewer.querying.literals import Duration, QueryError, Value, write_duration
from tracemw.viewer.querying.search import FoundSet, FoundSpan, FoundTrace
from tracemw.viewer.querying.timeseries import Series, SeriesWindow
from tracemw.viewer.storing.scopes import NAMELESS_SERVICE

_ROOT_MISSING = "<root span not yet received>"  # Tempo's own words

_TOLD_OTHERWISE = {"duration", "traceDuration", "rootName", "rootServiceName", "trace:id", "span:id"}
_RESULT_BYTES = 32 * 1024 * 1024
_PIECE_BYTES = 256 * 1024


FILTERED = "Trace filtered, only a subset of spans matching the filter is returned"
"""What Tempo says of a trace of which a query has left some spans."""


def only_spans(slices: Iterator[TracesData], span_ids: set[bytes]) -> Iterator[TracesData]:
    """Yield a trace without the other spans, and without what holds no span then."""
    for traces in slices:
        for resource_spans in traces.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                kept = [span for span in scope_spans.spans if span.span_id in span_ids]
                del scope_spans.spans[:]
                scope_spans.spans.extend(kept)
            _drop_empty(resource_spans.scope_spans, "spans")
        _drop_empty(traces.resource_spans, "scope_spans")
        if traces.resource_spans:
            yield traces


def _drop_empty(messages: Any, field: str) -> None:
    for index in reversed(range(len(messages))):
        if not getattr(messages[index], field):
            del messages[index]


def write_trace_v1(slices: Iterator[TracesData]) -> Iterator[bytes]:
    """Yield the JSON body of ``/api/traces/{id}`` in pieces. A trace that does not exist has none."""
    yield from _enclosed(b'{"batches":[', slices, b"]}")


def write_trace_v2(slices: Iterator[TracesData], *, partial: str = "") -> Iterator[bytes]:
    """Yield the JSON body of ``/api/v2/traces/{id}`` in pieces. A trace that does not exist is an empty one.

    Args:
        slices: The trace.
        partial: Why parts of the trace are missing, if so.
    """
    rest = f',"status":"PARTIAL","message":{_json(partial)}' if partial else ""
    closing = f'"metrics":{{}}{rest}}}'.encode()
    found = False
    for piece in _enclosed(b'{"trace":{"resourceSpans":[', slices, b"]}," + closing):
        found = True
        yield piece
    if not found:
        yield b'{"trace":{},' + closing


def write_trace_protobuf(slices: Iterator[TracesData]) -> Iterator[bytes]:
    """Yield the protobuf body of ``/api/traces/{id}`` in pieces. A trace that does not exist has none."""
    return map(TracesData.SerializeToString, slices)


def write_trace_by_id_response(slices: Iterator[TracesData], *, partial: str = "") -> Iterator[bytes]:
    """Yield Tempo's ``TraceByIDResponse`` in pieces: 1 trace, 2 metrics, 3 status, 4 message.

    A field of a message that comes several times is merged by every reader of protobuf. So the trace may come in parts.
    """
    yield b"\x0a\x00"  # an empty trace, so that there is one
    yield from map(_as_first_field, slices)
    yield b"\x12\x00"
    if partial:
        message = partial.encode()
        yield b"\x18\x01\x22" + _varint(len(message)) + message


def write_search(found: Iterable[FoundTrace]) -> Iterator[bytes]:
    """Yield the body of ``/api/search`` in pieces.

    Raises:
        QueryError: when the body would be too large.
    """
    return write_traces(
        (_found_trace(each) for each in found),
        lambda count: {"metrics": {"inspectedTraces": count, "completedJobs": 1, "totalJobs": 1}},
    )


def write_traces(traces: Iterable[dict[str, Any]], more: Callable[[int], dict[str, Any]]) -> Iterator[bytes]:
    """Yield a list of traces as a body in pieces, with the members that ``more`` makes of their number.

    Raises:
        QueryError: when the body would be too large.
    """
    return _limited(traces, "traces", more)


def _limited(items: Iterable[dict[str, Any]], name: str, more: Callable[[int], dict[str, Any]]) -> Iterator[bytes]:
    piece = bytearray(f'{{"{name}":['.encode())
    room, count = _RESULT_BYTES, 0
    for count, item in enumerate(items, 1):
        text = _json(item).encode()
        room -= len(text)
        if room < 0:
            raise QueryError(f"the answer is longer than {_RESULT_BYTES} bytes: ask with a smaller limit")
        piece += b"," + text if count > 1 else text
        if len(piece) >= _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    rest = _json(more(count))[1:-1]
    piece += f"]{rest and ','}{rest}}}".encode()
    yield bytes(piece)


def write_tag_names(scopes: Mapping[str, list[str]]) -> bytes:
    """Return the body of ``/api/v2/search/tags``."""
    return _json(
        {"scopes": [{"name": scope, "tags": names} for scope, names in scopes.items()], "metrics": {}}
    ).encode()


def write_old_tag_names(scopes: Mapping[str, list[str]]) -> bytes:
    """Return the body of ``/api/search/tags``, which knows no scopes."""
    return _json({"tagNames": sorted({name for names in scopes.values() for name in names}), "metrics": {}}).encode()


def write_tag_values(values: Iterable[tuple[str, str]]) -> bytes:
    """Return the body of ``/api/v2/search/tag/{name}/values``."""
    shown = [{"type": kind, "value": text} if text else {"type": kind} for kind, text in values]
    return _json({"tagValues": shown, "metrics": {}}).encode()


def write_old_tag_values(values: Iterable[tuple[str, str]]) -> bytes:
    """Return the body of ``/api/search/tag/{name}/values``, which knows no types."""
    return _json({"tagValues": sorted({text for _, text in values}), "metrics": {}}).encode()


def write_series(series: Iterable[Series], window: SeriesWindow) -> Iterator[bytes]:
    """Yield the body of ``/api/metrics/query_range``, and of ``/api/metrics/query`` for a single interval.

    Raises:
        QueryError: when the body would be too large.
    """
    write = _instant if window.is_instant else _range
    return _limited((write(each, window) for each in series), "series", lambda _: {"metrics": {}})


def _range(series: Series, window: SeriesWindow) -> dict[str, Any]:
    samples = [_sample(window, interval, value) for interval, value in enumerate(series.values)]
    result: dict[str, Any] = {"labels": _labels(series.labels), "samples": [each for each in samples if each]}
    if series.exemplars:
        result["exemplars"] = [
            {
                "labels": _labels((("trace:id", f"{int.from_bytes(each.trace_id):x}"), *series.labels)),
                **_sample(window, each.interval, series.values[each.interval]),
            }
            for each in series.exemplars
        ]
    return result


def _instant(series: Series, _: SeriesWindow) -> dict[str, Any]:
    (value,) = series.values
    result: dict[str, Any] = {"labels": _labels(series.labels)}
    return result | {"value": _double(value)} if value and not math.isnan(value) else result


def _sample(window: SeriesWindow, interval: int, value: float) -> dict[str, Any]:
    """Return one value with its time. As in protobuf's JSON, 0 is no value; and NaN is no sample."""
    if math.isnan(value):
        return {}
    sample: dict[str, Any] = {"timestampMs": str(window.timestamp(interval) // 1_000_000)}
    return sample | {"value": _double(value)} if value else sample


def _labels(labels: Iterable[tuple[str, Value]]) -> list[dict[str, Any]]:
    return [{"key": name, "value": any_value(value)} for name, value in labels]


def _enclosed(opening: bytes, slices: Iterator[TracesData], closing: bytes) -> Iterator[bytes]:
    """Yield the JSON of all slices between two brackets. Without a slice, yield nothing.

    The pieces go through `map`: the variables of a generator would hold a piece for as long as its reader takes.
    """
    before = chain((opening,), repeat(b","))
    yield from map(_prepend, filter(None, map(_resource_spans, slices)), before)
    if next(before) is not opening:
        yield closing


def _prepend(text: bytes, before: bytes) -> bytes:
    return before + text


def _resource_spans(traces: TracesData) -> bytes:
    """Return the JSON of a slice, without the brackets around it. As in Tempo's, scope and status are always there."""
    for resource_spans in traces.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            scope_spans.scope.SetInParent()
            for span in scope_spans.spans:
                span.status.SetInParent()
    return _json(json_format.MessageToDict(traces).get("resourceSpans", []))[1:-1].encode()


def _as_first_field(traces: TracesData) -> bytes:
    body: bytes = traces.SerializeToString()
    return b"\x0a" + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _found_trace(found: FoundTrace) -> dict[str, Any]:
    trace = found.summary
    result: dict[str, Any] = {
        "traceID": f"{int.from_bytes(trace.trace_id):x}",
        "rootServiceName": _service(trace.root_service) or _ROOT_MISSING,
        "rootTraceName": trace.root_name,
        "startTimeUnixNano": str(trace.start),
        "durationMs": trace.duration // 1_000_000,
    }
    result = {name: value for name, value in result.items() if value}
    if found.sets:
        sets = [_found_set(each) for each in found.sets]
        result |= {
            "serviceStats": {_service(service): _stats(*counts) for service, counts in trace.services.items()},
            "spanSet": sets[0],
            "spanSets": sets,
        }
    return result


def _service(name: str | None) -> str:
    """Return a service as Tempo calls it: nameless when its resource has no name."""
    return "" if name is None or name == NAMELESS_SERVICE else name


def _stats(spans: int, errors: int) -> dict[str, int]:
    return {"spanCount": spans, "errorCount": errors} if errors else {"spanCount": spans}


def _found_set(found: FoundSet) -> dict[str, Any]:
    result: dict[str, Any] = {"spans": [_found_span(each) for each in found.spans], "matched": found.matched}
    if found.attributes:
        result["attributes"] = [{"key": key, "value": any_value(value)} for key, value in found.attributes.items()]
    return result


def _found_span(found: FoundSpan) -> dict[str, Any]:
    span = found.span
    result: dict[str, Any] = {"spanID": span.span_id.hex(), "startTimeUnixNano": str(span.start)}
    if span.end > span.start:
        result["durationNanos"] = str(span.end - span.start)
    attributes = []
    for field, value in found.fields.items():
        if field.name == "name":
            if span.name:
                result["name"] = span.name
        elif field.name not in _TOLD_OTHERWISE:
            attributes.append({"key": getattr(field, "key", field.name), "value": any_value(value)})
    if attributes:
        result["attributes"] = attributes
    return result


def any_value(value: Value) -> dict[str, Any]:
    """Return a value in protobuf's JSON for OTLP's ``AnyValue``. What is missing is the text ``nil``."""
    match value:
        case None:
            return {"stringValue": "nil"}
        case bool():
            return {"boolValue": value}
        case Duration():
            return {"stringValue": write_duration(value)}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": _double(value)}
        case _:
            return {"stringValue": value_text(value)}


def _double(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
