"""Text and bytes from outside are read as they were meant, or refused. Nothing else happens."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from google.protobuf import json_format  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracemw.viewer.querying.literals import QueryError, parse_duration
from tracemw.viewer.querying.parameters import parse_logfmt, parse_trace_id
from tracemw.viewer.querying.traceql import parse_traceql
from tracemw.viewer.receiving.content import ENCODINGS, JSON, PROTOBUF
from tracemw.viewer.receiving.decoding import decode
from tracemw.viewer.receiving.refusals import RefusalError

from .samples import Spans, any_value, attributes, request, span

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def reads_or_refuses(parse: Any, text: str) -> None:
    with contextlib.suppress(QueryError):
        parse(text)


@pytest.mark.parametrize("parse", [parse_duration, parse_logfmt, parse_traceql, parse_trace_id])
@given(text=TEXT | st.text('{}()=!<>&|~"`.\\ \nabsn10', max_size=40))
def test_any_text_of_a_search_is_read_or_refused(parse: Any, text: str) -> None:
    reads_or_refuses(parse, text)


@given(st.text('{}()=!<>&|~ "`', max_size=4), st.sampled_from(["span.a = 1", "name =~ `x`", "duration > 1m30s", "&&"]))
def test_any_wrong_query_around_a_right_one_is_read_or_refused(noise: str, comparison: str) -> None:
    reads_or_refuses(parse_traceql, f"{{ {comparison} {noise} {comparison} }}")


@given(st.integers(0, 50), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999_999_999))
def test_a_go_duration_is_the_sum_of_its_parts(hours: int, minutes: int, seconds: int, nanoseconds: int) -> None:
    total = ((hours * 60 + minutes) * 60 + seconds) * 10**9 + nanoseconds
    assert parse_duration(f"{hours}h{minutes}m{seconds}.{nanoseconds:09}s") == total
    assert parse_duration(f"{total}ns") == total


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("0", 0), ("600ms", 600_000_000), ("1.5s", 1_500_000_000), ("1m30s", 90 * 10**9), (".5us", 500), ("2.µs", 2000)],
)
def test_durations_are_written_as_in_go(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


KEYS = st.text(st.characters(exclude_characters='="', exclude_categories=["Cs", "Z", "Cc"]), min_size=1, max_size=10)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


@given(st.lists(st.tuples(KEYS, TEXT), max_size=5))
def test_pairs_quoted_as_logfmt_are_read_as_they_were(pairs: list[tuple[str, str]]) -> None:
    assert parse_logfmt(" ".join(f"{key}={quoted(value)}" for key, value in pairs)) == pairs


# JSON has one NaN where IEEE 754 has many.
FLOATS = st.floats().map(lambda number: math.nan if math.isnan(number) else number)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | FLOATS | TEXT | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(
    trace=st.integers(1, 2**128 - 1),
    number=st.integers(1, 2**64 - 1),
    parent=st.integers(0, 2**64 - 1),
    values=st.dictionaries(TEXT, VALUES, max_size=4),
    hexadecimal=st.booleans(),
)
@settings(max_examples=60)
def test_otlp_json_says_the_same_as_protobuf(
    trace: int, number: int, parent: int, values: dict[str, Any], *, hexadecimal: bool
) -> None:
    sent = span(trace, number, parent, name="a")
    sent.attributes.extend(attributes(values))
    sent.links.add(trace_id=sent.trace_id, span_id=sent.span_id)
    message = request(Spans("shop", (sent,)))
    document = json_format.MessageToDict(message)
    if hexadecimal:
        (shown,) = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
        for holder, held in ((shown, sent), (shown["links"][0], sent.links[0])):
            holder["traceId"], holder["spanId"] = held.trace_id.hex(), held.span_id.hex()
        if parent:
            shown["parentSpanId"] = sent.parent_span_id.hex()
    for body, content_type in (
        (json.dumps(document).encode(), JSON),
        (message.SerializeToString(), PROTOBUF),
    ):
        batch = decode(body, content_type=content_type, content_encoding="identity", limit=10**6)
        ((scope, read),) = batch.spans
        # Compared as bytes: NaN is not equal to itself.
        assert read.SerializeToString(deterministic=True) == sent.SerializeToString(deterministic=True)
        assert scope.resource == message.resource_spans[0].resource


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["resourceSpans", "scopeSpans", "spans", "traceId", "spanId", "links", "attributes", "kind", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(st.one_of(JSON_VALUES.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60)))
def test_any_body_of_a_trace_request_is_read_or_refused(body: bytes) -> None:
    for content_type in (JSON, PROTOBUF):
        for encoding in ENCODINGS:
            with contextlib.suppress(RefusalError):
                decode(body, content_type=content_type, content_encoding=encoding, limit=1000)


def test_any_value_covers_each_kind_of_value_that_otlp_has() -> None:
    values: list[Any] = [None, "", True, 1, 1.0, b"", [], {}]
    kinds = {any_value(value).WhichOneof("value") for value in values}
    names = {field.name for field in ExportTraceServiceRequest.DESCRIPTOR.file.pool.FindMessageTypeByName(
        "opentelemetry.proto.common.v1.AnyValue").fields}  # fmt: skip
    assert kinds - {None} == {name for name in names if not name.endswith("strindex")}
