"""What the viewer answers, in the shape of Grafana Tempo's HTTP API (protobuf's own JSON: ids are base64).

Answers are made in pieces. Of a trace no more than a slice is held at a time; the whole of a search is bounded, so that
one which comes to nothing in the middle can still be refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, repeat
from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tracemw.viewer.effort import Effort, EffortError
from tracemw.viewer.query import Found, FoundSpan, QueryError, attribute_text
from tracemw.viewer.store import Sieve, Store, StoredSpan

ROOT_MISSING = "<root span not yet received>"

_TAG_SAMPLE = 500  # how many of the newest traces are looked into for tag names and values
_TAG_CHARACTERS = 1_000_000  # of all names, or all values, that are told
_ANSWER_CHARACTERS = 32 * 1024 * 1024


def trace_v1(slices: Iterator[TracesData]) -> Iterator[bytes]:
    """The body of ``/api/traces/{id}``; nothing for a trace that is not there."""
    yield from _enclosed(b'{"batches":[', slices, b"]}")


def trace_v2(slices: Iterator[TracesData]) -> Iterator[bytes]:
    """The body of ``/api/v2/traces/{id}``; a trace that is not there is an empty one."""
    found = False
    for piece in _enclosed(b'{"trace":{"resourceSpans":[', slices, b"]}}"):
        found = True
        yield piece
    if not found:
        yield b'{"trace":{}}'


def trace_protobuf(slices: Iterator[TracesData]) -> Iterator[bytes]:
    """A trace as its encoding; nothing for a trace that is not there."""
    return map(TracesData.SerializeToString, slices)


def search_result(found: Iterable[Found]) -> bytes:
    """The body of ``/api/search``."""
    return answer(
        (_found(each) for each in found),
        lambda count: {"metrics": {"inspectedTraces": count, "completedJobs": 1, "totalJobs": 1}},
    )


def answer(traces: Iterable[dict[str, Any]], more: Callable[[int], dict[str, Any]]) -> bytes:
    """The body of a search: the traces, and what else there is to say of their number.

    Raises:
        QueryError: it would be too large
    """
    pieces: list[str] = []
    room = _ANSWER_CHARACTERS
    for trace in traces:
        pieces.append(_json(trace))
        room -= len(pieces[-1])
        if room < 0:
            raise QueryError(f"the answer is longer than {_ANSWER_CHARACTERS} characters: ask with a smaller limit")
    rest = _json(more(len(pieces)))[1:-1]
    return f'{{"traces":[{",".join(pieces)}]{rest and ","}{rest}}}'.encode()


def tag_names(store: Store, effort: Effort) -> bytes:
    """The body of ``/api/search/tags``: attribute keys of the newest traces."""
    keys = (
        attribute.key
        for span in _sample(store, effort)
        for attribute in (*span.span.attributes, *span.resource.attributes)
    )
    return _json({"tagNames": _distinct(chain(("name", "status", "error"), keys))}).encode()


def tag_values(store: Store, name: str, effort: Effort) -> bytes:
    """The body of ``/api/search/tag/{name}/values``: values of one key in the newest traces."""
    values: Iterable[str]
    if name == "status":
        values = ("error", "ok", "unset")
    elif name == "error":
        values = ("false", "true")
    elif name == "name":
        values = (span.span.name for span in _sample(store, effort))
    else:
        values = (
            text
            for span in _sample(store, effort)
            for attribute in (*span.span.attributes, *span.resource.attributes)
            if attribute.key == name
            for text in attribute_text(attribute.value)
        )
    return _json({"tagValues": _distinct(values)}).encode()


def _distinct(texts: Iterable[str]) -> list[str]:
    """Each text once and in order; like Tempo, no more of them than there is room for, nor when time is out."""
    found: set[str] = set()
    room = _TAG_CHARACTERS
    try:
        for text in texts:
            if text not in found:
                room -= len(text)
                if room < 0:
                    break
                found.add(text)
    except EffortError:
        pass
    return sorted(found)


def _sample(store: Store, effort: Effort) -> Iterator[StoredSpan]:
    newest = islice(store.summaries(Sieve(), effort), _TAG_SAMPLE)
    for _, spans in store.candidates(newest, Sieve(), effort):
        yield from spans


def _enclosed(opening: bytes, slices: Iterator[TracesData], closing: bytes) -> Iterator[bytes]:
    before = chain((opening,), repeat(b","))
    yield from map(_behind, filter(None, map(_resource_spans, slices)), before)
    if next(before) is not opening:
        yield closing


def _behind(text: bytes, before: bytes) -> bytes:
    return before + text


def _resource_spans(traces: TracesData) -> bytes:
    """The JSON of a slice, without the brackets around it."""
    return _json(json_format.MessageToDict(traces).get("resourceSpans", []))[1:-1].encode()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _found(found: Found) -> dict[str, Any]:
    trace = found.trace
    result: dict[str, Any] = {
        "traceID": trace.trace_id.hex(),
        "rootServiceName": trace.root_service or ROOT_MISSING,
        "rootTraceName": trace.root_name or "",
        "startTimeUnixNano": str(trace.start),
        "durationMs": trace.duration // 1_000_000,
        "serviceStats": {service: _stats(*counts) for service, counts in trace.services.items()},
    }
    if found.matched:
        span_set = {"spans": [_span(span) for span in found.spans], "matched": found.matched}
        result |= {"spanSet": span_set, "spanSets": [span_set]}
    return result


def _stats(spans: int, errors: int) -> dict[str, int]:
    return {"spanCount": spans, "errorCount": errors} if errors else {"spanCount": spans}


def _span(span: FoundSpan) -> dict[str, Any]:
    return {
        "spanID": span.span_id.hex(),
        "name": span.name,
        "startTimeUnixNano": str(span.start),
        "durationNanos": str(max(span.end - span.start, 0)),
    }
