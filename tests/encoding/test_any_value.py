"""Values of attributes: what the official encoder takes, and what it fails on."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Status, StatusCode

from encoding.samples import (
    CONTEXT,
    a_span,
    an_encoder,
    attributes_in,
    official,
    parse,
    spans_in,
)


@pytest.mark.parametrize("order", [1, -1])
def test_values_that_are_equal_but_of_other_types_are_told_apart(order: int) -> None:
    encoder = an_encoder()
    for value in [1, True, 1.0, 0, False, 0.0, -0.0, "1", b"1", None, (1,), (True,), (1.0,), [0.0], [-0.0]][
        ::order
    ] * 2:
        span = a_span(attributes={"k": value})
        assert encoder.encode([span]) == official([span])


class Colour(enum.StrEnum):
    RED = "red"


class Shape(str, enum.Enum):  # noqa: UP042  its str() is not its value
    ROUND = "round"


class Level(enum.IntEnum):
    HIGH = 3


class Mode(enum.IntFlag):
    READ = 4
    WRITE = 2


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "other"

    def encode(self, *args: Any, **kwargs: Any) -> bytes:
        return b"other"


class Number(float):
    pass


@pytest.mark.parametrize(
    "value",
    [Colour.RED, Shape.ROUND, Level.HIGH, Mode.READ | Mode.WRITE, Text("own"), Number(1.5), range(3), bytearray(b"x")],
)
def test_subclasses_of_attribute_types_are_encoded_by_their_value(value: Any) -> None:
    encoder = an_encoder()
    for attributes in ({"k": value}, {"k": [value]}, {"k": {"n": value}}, {"k": {value: 1}} if value.__hash__ else {}):
        span = a_span(attributes=attributes)
        assert encoder.encode([span, span]) == official([span, span])


def test_keys_may_be_subclasses_of_str() -> None:
    span = a_span(attributes={Colour.RED: 1, Text("own"): 2}, name=Text("own"))
    assert an_encoder().encode([span]) == official([span])


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 2**64 + 5, 10**30])
def test_an_integer_beyond_64_bits_leaves_as_text_where_the_official_encoder_drops_the_attribute(number: int) -> None:
    encoder = an_encoder()
    encoder.encode([a_span(attributes={"k": value}) for value in (1, 5, 2**40, -1)])
    for _ in range(2):
        got = attributes_in(encoder.encode([a_span(attributes={"k": number, "list": [number], "map": {"n": number}})]))
        assert got["k"].string_value == str(number)
        assert got["list"].array_value.values[0].string_value == str(number)
        assert got["map"].kvlist_value.values[0].value.string_value == str(number)


def test_lone_surrogates_leave_as_escapes_where_the_official_encoder_loses_the_attribute_or_the_batch() -> None:
    text, escaped = "caf\udce9", "caf\\udce9"
    span = a_span(
        name=text,
        attributes={text: 1, "k": text, "list": [text], "map": {text: 1}},
        events=[Event(text, {"k": text}, 1)],
        links=[Link(CONTEXT, {"k": text})],
        status=Status(StatusCode.ERROR, text),
        resource=Resource({"k": text}),
        instrumentation_scope=InstrumentationScope(text, text, attributes={"k": text}),
    )
    with pytest.raises(UnicodeEncodeError):
        official([span])
    request = an_encoder().encode([span])
    (got,) = spans_in(request)
    assert (got.name, got.status.message, got.events[0].name) == (escaped, escaped, escaped)
    assert [a.key for a in got.attributes] == [escaped, "k", "list", "map"]
    assert got.attributes[1].value.string_value == escaped
    assert got.links[0].attributes[0].value.string_value == escaped
    assert parse(request).resource_spans[0].resource.attributes[0].value.string_value == escaped
    assert parse(request).resource_spans[0].scope_spans[0].scope.name == escaped


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, 1j, [object()], {"k": object()}], ids=lambda value: type(value).__name__
)
def test_a_value_without_a_form_in_otlp_is_left_out_alone_and_logged_once(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = an_encoder()
    span = a_span(attributes={"a": 1, "bad": value, "b": 2})
    for _ in range(3):
        assert encoder.encode([span]) == official([span])
    assert list(attributes_in(encoder.encode([span]))) == ["a", "b"]
    assert encoder.spans_left_out == 0
    assert [record.getMessage() for record in caplog.records if record.name == "tracemw"] == [
        "tracemw leaves out attribute 'bad', which it cannot encode; further ones are not logged"
    ]


def test_a_key_that_is_no_text_is_left_out_alone() -> None:
    span = a_span(attributes={1: "one", "a": 1, 2.5: 2})
    assert an_encoder().encode([span]) == official([span])
    assert list(attributes_in(official([span]))) == ["a"]


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"k": inner}], ids=["lists", "mappings"])
def test_nesting_is_limited_where_the_official_encoder_makes_a_request_that_no_parser_takes(wrap: Any) -> None:
    value: Any = 1
    for _ in range(30):
        value = wrap(value)
    event = Event("e", {"deep": value}, 1)
    (span,) = spans_in(an_encoder().encode([a_span(events=[event])]))
    assert [attribute.key for attribute in span.events[0].attributes] == ["deep"]
    assert list(attributes_in(an_encoder().encode([a_span(attributes={"deep": wrap(value), "a": 1})]))) == ["a"]


def test_a_value_that_contains_itself_is_left_out() -> None:
    value: list[Any] = []
    value.append(value)
    assert list(attributes_in(an_encoder().encode([a_span(attributes={"cyclic": value, "a": 1})]))) == ["a"]
