"""Bodies in the shape of Grafana Tempo's HTTP API (protobuf's own JSON: ids are base64).

A trace is written slice by slice. The result of a search is written whole, within a bound: a search that fails halfway
is still an error to its client.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, repeat
from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tracemw.viewer.budget import Budget, BudgetError
from tracemw.viewer.querying.fields import attribute_texts
from tracemw.viewer.querying.literals import QueryError
from tracemw.viewer.querying.search import FoundSpan, FoundTrace
from tracemw.viewer.storing.candidates import StoredSpan
from tracemw.viewer.storing.sql import SqlCondition
from tracemw.viewer.storing.store import Store

_ROOT_MISSING = "<root span not yet received>"  # Tempo's own words

_TAG_SAMPLE = 500  # the newest traces, which are looked into for names and values of tags
_TAG_CHARACTERS = 1_000_000  # of all names, or of all values
_RESULT_CHARACTERS = 32 * 1024 * 1024


def write_trace_v1(slices: Iterator[TracesData]) -> Iterator[bytes]:
    """Yield the JSON body of ``/api/traces/{id}`` in pieces. A trace that does not exist has none."""
    yield from _enclosed(b'{"batches":[', slices, b"]}")


def write_trace_v2(slices: Iterator[TracesData]) -> Iterator[bytes]:
    """Yield the JSON body of ``/api/v2/traces/{id}`` in pieces. A trace that does not exist is an empty one."""
    found = False
    for piece in _enclosed(b'{"trace":{"resourceSpans":[', slices, b"]}}"):
        found = True
        yield piece
    if not found:
        yield b'{"trace":{}}'


def write_trace_protobuf(slices: Iterator[TracesData]) -> Iterator[bytes]:
    """Yield the protobuf body of ``/api/traces/{id}`` in pieces. A trace that does not exist has none."""
    return map(TracesData.SerializeToString, slices)


def write_search(found: Iterable[FoundTrace]) -> bytes:
    """Return the body of ``/api/search``.

    Raises:
        QueryError: when the body would be too large.
    """
    return write_traces(
        (_found_trace(each) for each in found),
        lambda count: {"metrics": {"inspectedTraces": count, "completedJobs": 1, "totalJobs": 1}},
    )


def write_traces(traces: Iterable[dict[str, Any]], more: Callable[[int], dict[str, Any]]) -> bytes:
    """Return a list of traces as a body, with the members that ``more`` makes of their number.

    Raises:
        QueryError: when the body would be too large.
    """
    pieces: list[str] = []
    room = _RESULT_CHARACTERS
    for trace in traces:
        pieces.append(_json(trace))
        room -= len(pieces[-1])
        if room < 0:
            raise QueryError(f"the answer is longer than {_RESULT_CHARACTERS} characters: ask with a smaller limit")
    rest = _json(more(len(pieces)))[1:-1]
    return f'{{"traces":[{",".join(pieces)}]{rest and ","}{rest}}}'.encode()


def write_tag_names(store: Store, budget: Budget) -> bytes:
    """Return the body of ``/api/search/tags``: attribute keys of the newest traces."""
    keys = (
        attribute.key
        for span in _sample(store, budget)
        for attribute in (*span.span.attributes, *span.resource.attributes)
    )
    return _json({"tagNames": _distinct(chain(("name", "status", "error"), keys))}).encode()


def write_tag_values(store: Store, name: str, budget: Budget) -> bytes:
    """Return the body of ``/api/search/tag/{name}/values``: values of one key in the newest traces."""
    values: Iterable[str]
    if name == "status":
        values = ("error", "ok", "unset")
    elif name == "error":
        values = ("false", "true")
    elif name == "name":
        values = (span.span.name for span in _sample(store, budget))
    else:
        values = (
            text
            for span in _sample(store, budget)
            for attribute in (*span.span.attributes, *span.resource.attributes)
            if attribute.key == name
            for text in attribute_texts(attribute.value)
        )
    return _json({"tagValues": _distinct(values)}).encode()


def _distinct(texts: Iterable[str]) -> list[str]:
    """Return each text once, in order. As in Tempo, the list ends where room or time runs out."""
    found: set[str] = set()
    room = _TAG_CHARACTERS
    try:
        for text in texts:
            if text not in found:
                room -= len(text)
                if room < 0:
                    break
                found.add(text)
    except BudgetError:
        pass
    return sorted(found)


def _sample(store: Store, budget: Budget) -> Iterator[StoredSpan]:
    newest = islice(store.summaries(SqlCondition(), budget), _TAG_SAMPLE)
    for _, spans in store.candidates(newest, SqlCondition(), budget):
        yield from spans


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
    """Return the JSON of a slice, without the brackets around it."""
    return _json(json_format.MessageToDict(traces).get("resourceSpans", []))[1:-1].encode()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _found_trace(found: FoundTrace) -> dict[str, Any]:
    trace = found.summary
    result: dict[str, Any] = {
        "traceID": trace.trace_id.hex(),
        "rootServiceName": trace.root_service or _ROOT_MISSING,
        "rootTraceName": trace.root_name or "",
        "startTimeUnixNano": str(trace.start),
        "durationMs": trace.duration // 1_000_000,
        "serviceStats": {service: _stats(*counts) for service, counts in trace.services.items()},
    }
    if found.matched:
        span_set = {"spans": [_found_span(span) for span in found.spans], "matched": found.matched}
        result |= {"spanSet": span_set, "spanSets": [span_set]}
    return result


def _stats(spans: int, errors: int) -> dict[str, int]:
    return {"spanCount": spans, "errorCount": errors} if errors else {"spanCount": spans}


def _found_span(span: FoundSpan) -> dict[str, Any]:
    return {
        "spanID": span.span_id.hex(),
        "name": span.name,
        "startTimeUnixNano": str(span.start),
        "durationNanos": str(max(span.end - span.start, 0)),
    }
