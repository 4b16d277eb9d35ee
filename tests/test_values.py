"""Whatever an application gives as a value, a name or an exception: it is recorded, or a text says why not."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode

import tracemw
from conftest import OLDER_SDK, Recorded
from encoding.samples import an_encoder
from tracemw._otel.cleaning import DEEPEST, LONGEST, cleaned, cut, shown
from tracemw._recording import TracerProvider

# Values that raise --------------------------------------------------------------------------------------------------


def raising(self: Any, *args: Any) -> Any:
    raise ValueError("no")


def bad(base: type, *methods: str) -> Any:
    """A value of a class of its own whose methods raise."""
    return type("Bad", (base,), dict.fromkeys(methods, raising))


class Endless(Sequence[int]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> Any:
        return index


class HalfMapping(Mapping[str, Any]):
    """Tells of a key that it does not have."""

    def __getitem__(self, key: str) -> Any:
        if key == "bad":
            raise ValueError("no")
        return key

    def __iter__(self) -> Iterator[str]:
        return iter(["good", "bad", "last"])

    def __len__(self) -> int:
        raise ValueError("no")


def nested(value: Any, times: int) -> Any:
    for _ in range(times):
        value = [value]
    return value


def cyclic() -> Any:
    value: list[Any] = []
    value += [value, value]
    return value


def wide() -> Any:
    value: Any = "leaf"
    for _ in range(40):  # two to the fortieth leaves, if one looks at each
        value = [value, value]
    return value


BAD: dict[str, Callable[[], Any]] = {
    "str": lambda: bad(object, "__str__")(),
    "repr": lambda: bad(object, "__repr__")(),
    "class": lambda: type("Bad", (), {"__class__": property(raising)})(),
    "hash": lambda: bad(object, "__hash__", "__eq__", "__str__")(),
    "text": lambda: bad(str, "__str__", "__len__", "__hash__", "__eq__", "encode", "__iter__", "__getitem__")("text"),
    "bytes": lambda: bad(bytes, "__len__", "__hash__", "__bytes__", "__iter__")(b"octets"),
    "int": lambda: bad(int, "__int__", "__index__", "__hash__", "__eq__", "__str__", "__lt__", "__le__")(7),
    "list": lambda: bad(list, "__iter__", "__len__")([1]),
    "items": lambda: [1, bad(object, "__str__")(), 2],
    "mapping": lambda: bad(dict, "items")(a=1),
    "half": HalfMapping,
    "endless": Endless,
    "surrogate": lambda: "caf\udce9",
    "huge": lambda: 10**5000,
    "nan": lambda: math.nan,
    "deep": lambda: nested(1, 5000),
    "cyclic": cyclic,
    "wide": wide,
    "keys": lambda: {1: "one", None: 2, (1, 2): 3, bad(object, "__str__")(): 4, bad(object, "__bool__")(): 5},
}
values = pytest.mark.parametrize("make", BAD.values(), ids=list(BAD))


@pytest.fixture(params=[TracerProvider, SdkTracerProvider], ids=["tracemw", "sdk"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What is exported by the global provider: ours, or the SDK's, whose spans take no such values by themselves."""
    exporter = InMemorySpanExporter()
    provider = request.param(ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


def attributes_in(exporter: InMemorySpanExporter, name: str) -> dict[str, Any]:
    (span,) = [span for span in exporter.get_finished_spans() if span.name == name]
    record = an_encoder().record(span)
    assert record is not None
    return dict(span.attributes or {})


@values
def test_a_business_span_keeps_all_its_other_values_whatever_one_of_them_is(
    make: Callable[[], Any], either: InMemorySpanExporter
) -> None:
    began = time.process_time()
    with tracemw.span("work", user=make(), order=1), tracemw.span("child"):
        tracemw.annotate(a=1)
        tracemw.annotate(b=make(), c=3)
        tracemw.keep(make())
    tracemw.traced("decorated", user=make(), order=1)(lambda: None)()
    assert time.process_time() - began < 2
    found = attributes_in(either, "work")
    assert found["order"] == 1
    child = attributes_in(either, "child")
    assert (child["a"], child["c"]) == (1, 3)
    if not OLDER_SDK or trace.get_tracer_provider().__class__ is TracerProvider:
        assert {"b", "tracemw.keep.reason"} <= set(child)
    named = {span.name: span for span in either.get_finished_spans()}
    work, inner = named["work"], named["child"]
    assert inner.parent is not None
    assert work.context is not None
    assert inner.parent.span_id == work.context.span_id
    assert attributes_in(either, "decorated")["order"] == 1


@values
def test_a_span_of_our_recorder_takes_any_value_everywhere(make: Callable[[], Any]) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer: Any = provider.get_tracer("test")
    linked = SpanContext(1, 2, is_remote=False)
    links = [Link(linked, {"bad": make(), "good": 1}), None, make()]
    with tracer.start_as_current_span("work", attributes={"start": make(), "kept": 1}, links=links) as span:
        span.set_attribute("set", make())
        span.set_attributes({"several": make(), "more": 2})
        span.set_attributes(HalfMapping())
        span.set_attributes(make())
        span.set_attribute(make(), 1)
        span.add_event("event", {"bad": make(), "good": 1})
        span.add_event(make(), make())
        span.add_link(linked, {"bad": make(), "good": 1})
        span.add_link(make())
        span.record_exception(ValueError("v"), {"bad": make(), "good": 1}, escaped=make())
        span.set_status(StatusCode.ERROR, make())
        span.set_status(make())
        span.update_name(make())
        span.update_name("named")
    with tracer.start_as_current_span(make(), attributes=make()):
        pass
    first, second = exporter.get_finished_spans()
    attributes = dict(first.attributes or {})
    assert attributes.items() >= {"kept": 1, "more": 2, "good": "good", "last": "last"}.items()
    assert {"start", "set", "several", "bad"} <= set(attributes)
    events = [dict(event.attributes or {}) for event in first.events]
    assert [event["good"] for event in events if event.get("good") == 1] == [1, 1]
    assert [link.attributes["good"] for link in first.links if link.attributes] == [1, 1]
    assert first.name == "named"
    encoder = an_encoder()
    assert [encoder.record(span) is not None for span in (first, second)] == [True, True]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (BAD["str"], "<unprintable: ValueError in Bad.__str__>"),
        (BAD["repr"], "<unprintable: ValueError in Bad.__repr__>"),
        (BAD["class"], "<unprintable: ValueError in Bad.__class__>"),
        (BAD["mapping"], "<unprintable: ValueError in Bad.items>"),
        (BAD["items"], (1, "<unprintable: ValueError in Bad.__str__>", 2)),
        (lambda: bad(list, "__iter__")([1]), "<unprintable: ValueError in Bad.__iter__>"),
        (lambda: {"a": BAD["str"]()}, {"a": "<unprintable: ValueError in Bad.__str__>"}),
        (lambda: nested("leaf", DEEPEST + 1), nested("<nested more than 30 deep>", DEEPEST)),
    ],
)
def test_a_marker_says_what_has_raised(make: Callable[[], Any], text: Any) -> None:
    def tupled(found: Any) -> Any:
        return tuple(map(tupled, found)) if isinstance(found, (list, tuple)) else found

    assert tupled(cleaned(make())) == tupled(text)


def test_what_is_no_exception_goes_on() -> None:
    class Stops:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), trace.get_tracer("test").start_as_current_span("x") as span:
        span.set_attribute("stops", Stops())  # type: ignore[arg-type]


def test_a_subclass_of_text_is_its_content_as_a_key(recorded: Recorded) -> None:
    key = BAD["text"]()
    with trace.get_tracer("test").start_as_current_span("x", attributes=None) as span:
        span.set_attribute(key, 1)
        span.set_attribute("text", 2)
    assert dict(recorded.named("x").attributes or {})["text"] == 2


def test_attributes_that_are_no_mapping_are_none(recorded: Recorded) -> None:
    tracer: Any = trace.get_tracer("test")
    for given in (5, "text", {1, 2}, MappingProxyType({"a": 1})):
        with tracer.start_as_current_span("x", attributes=given) as span:
            span.set_attribute("good", 1)
    assert [dict(span.attributes or {}) for span in recorded.all] == [{"good": 1}] * 3 + [{"a": 1, "good": 1}]


# Exceptions that raise ----------------------------------------------------------------------------------------------


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def cause() -> Exception:
    error = ValueError("fine")
    error.__cause__ = UnprintableError()
    return error


def noted() -> Exception:
    error = ValueError("fine")
    error.add_note("note")
    error.__notes__.append(UnprintableError())  # type: ignore[arg-type]
    return error


ERRORS: dict[str, Callable[[], Exception]] = {
    "itself": UnprintableError,
    "cause": cause,
    "group": lambda: ExceptionGroup("several", [UnprintableError(), ValueError("v")]),
    "notes": noted,
    "argument": lambda: ValueError(UnprintableError()),
    "no notes": lambda: bad_notes(ValueError("v")),
    "notes property": lambda: type("Odd", (Exception,), {"__notes__": property(raising)})(),
    "cause property": lambda: type("Odd", (Exception,), {"__cause__": property(raising)})(),
}


def bad_notes(error: Exception) -> Exception:
    error.__notes__ = 5  # type: ignore[assignment]
    return error


@pytest.mark.parametrize("make", ERRORS.values(), ids=list(ERRORS))
def test_the_applications_own_exception_goes_on_and_is_recorded(
    make: Callable[[], Exception], either: InMemorySpanExporter
) -> None:
    error = make()
    with pytest.raises(type(error)) as raised, tracemw.span("business"), tracemw.stage("stage"):
        raise error
    assert raised.value is error
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        for style in ("current", "span"):
            tracer = trace.get_tracer("test")
            block: Any = tracer.start_as_current_span(style) if style == "current" else tracer.start_span(style)
            with pytest.raises(type(error)) as raised, block:
                raise error
            assert raised.value is error
    for span in either.get_finished_spans():
        assert span.status.status_code is StatusCode.ERROR
        (event,) = span.events
        assert event.attributes is not None
        assert str(event.attributes["exception.type"]).endswith(type(error).__qualname__)
    assert attributes_in(either, "business")["error.stage"] == "stage"


def test_an_exception_without_text_says_so(recorded: Recorded) -> None:
    with pytest.raises(UnprintableError), tracemw.span("x"):
        raise UnprintableError
    (event,) = recorded.named("x").events
    assert event.attributes is not None
    assert event.attributes["exception.message"] == "<unprintable: RuntimeError in UnprintableError.__str__>"


# Long values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["x" * 100_000, "é" * 100_000, "\U0001f600" * 20_000, "\ud800" * 20_000])
def test_a_text_that_is_too_long_is_cut_between_characters_and_says_by_how_much(text: str) -> None:
    found = cut(text)
    octets = found.encode()
    assert LONGEST - 4 <= len(octets) <= LONGEST
    kept, mark = found.split("... [cut, ")
    left_out = int(mark.removesuffix(" bytes]"))
    assert len(kept.encode()) + left_out == len(text.encode("utf-8", "backslashreplace"))


@pytest.mark.parametrize("size", [0, 1, 100, LONGEST - 1, LONGEST])
def test_a_text_that_fits_stays_whole(size: int) -> None:
    text = "x" * size
    assert cut(text) is text
    assert shown(text) is text


def size_of(value: Any) -> int:
    record = an_encoder().record(value)
    assert record is not None
    return len(record)


LONG: dict[str, Any] = {
    "text": "x" * 10_000_000,
    "subclass": bad(str)("x" * 1_000_000),
    "bytes": b"x" * 1_000_000,
    "texts": ["x" * 1_000_000] * 3,
    "many": ["x"] * 1_000_000,
    "numbers": range(10_000_000),
    "mapping": {f"k{number}": "v" * 100 for number in range(10_000)},
    "nested": [[["x" * 1000] * 100] * 100] * 100,
}


@pytest.mark.parametrize("key", LONG)
def test_what_leaves_of_a_long_value_is_bounded_and_says_so(key: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    began = time.process_time()
    tracer: Any = provider.get_tracer("test")
    span = tracer.start_span("at start", attributes={key: LONG[key]})
    span.end()
    span = tracer.start_span("later")
    span.set_attribute(key, LONG[key])
    span.end()
    span = tracer.start_span("event")
    span.add_event("event", {key: LONG[key]})
    span.add_link(SpanContext(1, 2, is_remote=False), {key: LONG[key]})
    span.end()
    for each in exporter.get_finished_spans():
        record = an_encoder().record(each)
        assert record is not None
        assert len(record) < 5 * LONGEST
        assert b"[cut, " in record
    assert time.process_time() - began < 2


@pytest.mark.skipif(OLDER_SDK, reason="older SDKs' own spans drop some of these values")
@pytest.mark.parametrize("key", LONG)
def test_what_leaves_of_a_long_value_of_somebody_elses_span_is_bounded_and_says_so(key: str) -> None:
    exporter = InMemorySpanExporter()
    provider = SdkTracerProvider(ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    value = LONG[key] if key != "numbers" else range(100_000)
    provider.get_tracer("test").start_span("work", attributes={key: value}).end()
    (span,) = exporter.get_finished_spans()
    record = an_encoder().record(span)
    assert record is not None
    assert len(record) < 5 * LONGEST
    assert b"[cut, " in record


def test_a_long_name_key_status_and_message_are_cut_too(recorded: Recorded) -> None:
    with pytest.raises(ValueError, match="xxx"), tracemw.span("x" * 1_000_000, **{"k" * 1_000_000: 1}):
        raise ValueError("x" * 1_000_000)
    (span,) = recorded.all
    record = an_encoder().record(span)
    assert record is not None
    assert len(record) < 5 * LONGEST
    assert record.count(b"[cut, ") >= 4


def test_a_limit_that_is_set_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100000")
    exporter = InMemorySpanExporter()
    provider = TracerProvider(ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("test").start_span("x", attributes={"a": "é" * 200_000, "b": ["é" * 200_000]}).end()
    (span,) = exporter.get_finished_spans()
    record = an_encoder(longest=400_000).record(span)
    assert record is not None
    assert record.count("é".encode() * 100_000) == 2
    assert b"[cut" not in record


def test_honest_values_stay_whole(recorded: Recorded) -> None:
    statement = "SELECT " + ", ".join(f"column_{number}" for number in range(1_500))
    vector = [0.5] * 1_536
    with trace.get_tracer("test").start_as_current_span("query", kind=SpanKind.CLIENT) as span:
        span.set_attribute("db.query.text", statement)
        span.set_attribute("vector", vector)
    found = dict(recorded.named("query").attributes or {})
    assert (found["db.query.text"], found["vector"]) == (statement, tuple(vector))
