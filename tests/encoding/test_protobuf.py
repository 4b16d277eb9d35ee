"""The wire format alone: the official library reads what it writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracemw._export.encoding.protobuf import count_field, fits, integer, repeated, sized, text_field, time_field

EDGES = st.sampled_from([0, 1, 127, 128, 2047, 2048, 16383, 16384, 2**31, 2**63 - 1])


@given(st.one_of(EDGES, EDGES.map(int.__neg__), st.integers(-(2**63), 2**63 - 1)))
def test_an_integer_is_read_as_it_was_written(number: int) -> None:
    assert AnyValue.FromString(b"\x18" + integer(number)).int_value == number


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_an_integer_beyond_64_bits_is_text_longer_than_any_varint(number: int) -> None:
    assert not fits(number)
    assert integer(number) == str(number).encode()
    assert len(integer(number)) > max(len(integer(-1)), len(integer(2**63 - 1)))


@given(st.lists(st.integers(0, 3000), max_size=5))
def test_messages_of_any_size_are_read_back_one_by_one(sizes: list[int]) -> None:
    values = ["x" * size for size in sizes]
    written = repeated(b"\x0a", [sized(text_field(b"\x0a", value)) for value in values])
    assert [value.string_value for value in ArrayValue.FromString(written).values] == values


@given(st.text())
def test_a_text_is_read_as_it_was_written_and_lone_surrogates_as_escapes(text: str) -> None:
    expected = text.encode("utf-8", "backslashreplace").decode()
    assert InstrumentationScope.FromString(text_field(b"\x0a", text)).name == expected


@given(st.one_of(EDGES, st.integers(0, 2**32 - 1)).filter(lambda count: count < 2**32), st.integers(0, 2**63 - 1))
def test_counts_and_times_are_read_as_they_were_written(count: int, time: int) -> None:
    event = Span.Event.FromString(time_field(b"\x09", time) + count_field(b"\x20", count))
    assert (event.dropped_attributes_count, event.time_unix_nano) == (count, time)


@pytest.mark.parametrize(
    "field", [text_field(b"\x0a", ""), text_field(b"\x0a", None), count_field(b"\x20", 0), time_field(b"\x09", None)]
)
def test_a_field_with_nothing_in_it_takes_no_bytes(field: bytes) -> None:
    assert field == b""
