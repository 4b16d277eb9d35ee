"""Traces are read in each format, and what is none is refused with a remedy."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue  # type: ignore[import-untyped]  # protobuf brings no types

from tracemw.analysis.load.reading import read_traces
from tracemw.analysis.load.unreadable import NoTraceError, NotTracesError
from tracemw.analysis.model import Span, Trace
from tracemw.analysis.shapes import call_label

CAPTURES = Path(__file__).parent / "captures"
WEB = "00000000000000000a1b2c3d4e5f6071"


def capture(name: str) -> bytes:
    return (CAPTURES / name).read_bytes()


def told(span: Span) -> tuple[object, ...]:
    events = [(event.name, event.time, sorted(event.attributes.items())) for event in span.events]
    return (
        *(span.trace_id, span.span_id, span.parent_id, span.name, span.kind, span.start, span.end, span.failed),
        *(span.service, span.trace_state, span.status_message, repr(sorted(span.attributes.items())), repr(events)),
    )


def web(name: str) -> list[tuple[object, ...]]:
    (trace,) = (each for each in read_traces(capture(name)) if each.trace_id == WEB)
    return sorted(map(told, trace.spans))


@pytest.mark.parametrize("name", ["input.otlp.pb", "byid-v1-json.json", "byid-v2-json.json"])
def test_protobuf_and_the_answers_of_tempo_tell_what_otlp_json_tells(name: str) -> None:
    assert web(name) == web("input.otlp.json")
    assert len(web(name)) == 5


def test_a_file_may_hold_many_traces_and_one_document_a_line() -> None:
    document = json.dumps(json.loads(capture("input.otlp.json"))).encode()
    assert len(read_traces(document)) == 7
    assert len(read_traces(b"\xef\xbb\xbf" + document + b"\n\n" + document)) == 7


@pytest.mark.parametrize(
    "around",
    [
        lambda document: gzip.compress(json.dumps(document).encode(), mtime=0),
        lambda document: json.dumps({"result": document}).encode(),
        lambda document: json.dumps([{"trace": document}, {"batches": document["resourceSpans"]}]).encode(),
        lambda document: "\n".join(map(json.dumps, document["resourceSpans"])).encode(),
    ],
    ids=["compressed", "version 3 of Jaeger's API", "answers in a list", "the log of Java's SDK"],
)
def test_what_is_around_the_spans_does_not_matter(around: Callable[[Any], bytes]) -> None:
    document = json.loads(capture("input.otlp.json"))
    assert len(read_traces(around(document))) == len(read_traces(capture("input.otlp.json")))


def test_what_version_2_of_tempos_api_answers_as_protobuf_is_read() -> None:
    around = BytesValue(value=capture("input.otlp.pb")).SerializeToString()  # the trace is field 1 of the answer
    assert len(read_traces(around)) == len(read_traces(capture("input.otlp.pb")))


def test_jaeger_of_opentracing_is_read_with_its_errors_and_what_a_span_is_part_of() -> None:
    (trace,) = read_traces(capture("jaeger-opentracing.json"))
    root, query = trace.spans
    assert (root.kind, query.parent, trace.orphans) == ("SERVER", root, [])
    assert (query.error_type, call_label(query)) == ("java.sql.SQLTimeoutException", "SELECT customer")


def test_zipkin_is_read_with_trace_ids_of_both_lengths_and_members_that_are_null() -> None:
    (spans,) = json.loads(capture("zipkin.json"))
    for number, span in enumerate(spans):
        span["traceId"] = span["traceId"][-16:].rjust(32 if number % 2 else 16, "0")
        span["kind"] = span.get("kind")
    (trace,) = read_traces(json.dumps(spans).encode())
    assert len(trace.spans) == len(spans)
    assert not trace.orphans
    spans[-1] |= {"timestamp": None, "duration": None, "tags": None, "annotations": None}
    assert read_traces(json.dumps(spans).encode())


@pytest.mark.parametrize("form", ['{{"exception": {}}}', '"exception": {}'])
def test_zipkin_is_read_with_the_events_that_opentelemetry_puts_into_annotations(form: str) -> None:
    told = json.dumps({"exception.type": "KeyError", "exception.message": "price"})
    notes = [
        {"timestamp": 5, "value": form.format(told)},
        {"timestamp": 6, "value": "wr"},
        {"value": None},
        {"value": "{"},
    ]
    span = {"traceId": "1", "id": "1", "name": "work", "annotations": notes, "tags": {"error": "price"}}
    (trace,) = read_traces(json.dumps([span]).encode())
    assert [event.name for event in trace.root.events] == ["exception", "wr", "", "{"]
    assert trace.root.error_type == "KeyError"


def test_jaeger_is_read_with_its_kinds_errors_and_events() -> None:
    (trace,) = read_traces(capture("jaeger.json"))
    root, query = trace.spans
    assert (root.kind, root.service, root.failed, root.duration) == ("SERVER", "shop", True, 90_000_000)
    assert (query.parent, query.failed, query.error_type) == (root, True, "OperationalError")
    assert query.is_database


def test_zipkin_is_read_and_a_shared_id_becomes_two_spans() -> None:
    (trace,) = read_traces(capture("zipkin.json"))
    assert [(span.name, span.service, span.parent and span.parent.name) for span in trace.spans] == [
        ("get /orders", "shop", None),
        ("get", "shop", "get /orders"),
        ("get /items", "stock", "get"),
        ("look up", "stock", "get /items"),
    ]
    assert [span.failed for span in trace.spans] == [False, False, True, False]


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (capture("input.otlp.json")[:5000], "broken or cut off .* fetch the trace once more"),
        (capture("search-all.json"), "use --query to fetch its traces"),
        (b'{"name": "shop"}', "use JSON or protobuf of OTLP"),
        (b'"text"', "neither JSON nor protobuf"),
        (b'[{"id": 7}]', "a span cannot be read .* use JSON or protobuf of OTLP"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}', "a span cannot be read"),
        (b'{"resourceSpans": [7]}', "a span cannot be read"),
        (b'{"data": [{"spans": [{}]}]}', "a span cannot be read"),
        (b"[" * 100_000, "nested too deep|broken"),
        (gzip.compress(capture("input.otlp.json"), mtime=0)[:900], "compressed, and broken or cut off .* once more"),
        (gzip.compress(b"hello", mtime=0), "neither JSON nor protobuf"),
        (b"hello", "neither JSON nor protobuf"),
    ],
)
def test_what_holds_no_traces_is_refused_with_a_remedy(data: bytes, remedy: str) -> None:
    with pytest.raises(NotTracesError, match=remedy):
        read_traces(data)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"resourceSpans": []}', capture("byid-v2-missing.json")])
def test_no_spans_are_no_trace(data: bytes) -> None:
    with pytest.raises(NoTraceError, match="check the query"):
        read_traces(data)


def test_a_trace_without_spans_is_refused() -> None:
    with pytest.raises(ValueError, match="no spans"):
        Trace([])
