"""Spans of every kind: the bytes are those of the official encoder, and no span loses another."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from encoding.samples import (
    CONTEXT,
    PRIVATE,
    RESOURCE,
    LeanSpan,
    Lookalike,
    a_span,
    an_encoder,
    attributes_in,
    entries,
    official,
    spans_in,
)
from encoding.strategies import batches


@given(batches())
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_the_bytes_are_those_of_the_official_encoder(drawn: list[list[ReadableSpan]]) -> None:
    encoders = [an_encoder(memo_size=1), an_encoder(memo_size=20), an_encoder()]
    for spans in drawn + drawn:
        expected = official(spans)
        for encoder in encoders:
            assert encoder.encode(spans) == expected
            assert encoder.encode([LeanSpan(span) for span in spans]) == expected
            assert encoder.spans_left_out == 0


def test_spans_of_the_sdk_are_encoded_as_the_official_encoder_does() -> None:
    provider = TracerProvider(resource=RESOURCE)
    tracer = provider.get_tracer("shop", "1.0", attributes={"a": 1})
    with tracer.start_as_current_span("outer", kind=SpanKind.SERVER, attributes={"n": 1, "s": ["a", "b"]}) as outer:
        with (
            pytest.raises(ValueError, match="inner"),
            tracer.start_as_current_span("inner", links=[Link(CONTEXT)]) as inner,
        ):
            raise ValueError("inner")
        outer.add_event("event", {"k": 1.5})
    assert isinstance(outer, ReadableSpan)
    assert isinstance(inner, ReadableSpan)
    assert an_encoder().encode([inner, outer]) == official([inner, outer])


def test_what_has_been_dropped_is_told_though_nothing_was_kept() -> None:
    span = a_span(
        attributes=BoundedAttributes(0, {"a": 1}),
        events=BoundedList.from_seq(0, [Event("e", timestamp=1)]),
        links=BoundedList.from_seq(0, [Link(CONTEXT), Link(CONTEXT)]),
    )
    (got,) = spans_in(an_encoder().encode([span]))
    assert (got.dropped_attributes_count, got.dropped_events_count, got.dropped_links_count) == (1, 1, 2)
    assert an_encoder().encode([span]) == official([span])


def test_no_spans_make_an_empty_request() -> None:
    assert an_encoder().encode([]) == b""


def test_a_wrapper_that_has_only_the_public_properties_is_encoded() -> None:
    spans = [a_span(attributes={"a": 1}, events=[Event("e", {"b": 2}, 3)], links=[Link(CONTEXT)]), a_span()]
    wrapped: list[Any] = [Lookalike(span) for span in spans]
    assert an_encoder().encode(wrapped) == official(spans)


def test_the_private_names_that_are_read_are_the_sdks() -> None:
    span = TracerProvider().get_tracer("t").start_span("s")
    assert [name for name in PRIVATE if not hasattr(span, name)] == []
    assert tuple(CONTEXT)[:3] == (CONTEXT.trace_id, CONTEXT.span_id, CONTEXT.is_remote)
    assert tuple(CONTEXT)[4] is CONTEXT.trace_state


def test_attributes_may_be_any_mapping() -> None:
    class Odd(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            return {"a": 1, "b": "x"}[key]

        def __iter__(self) -> Iterator[str]:
            return iter(["a", "b"])

        def __len__(self) -> int:
            return 2

    span = a_span(attributes=Odd(), events=[Event("e", Odd(), 1)])
    assert an_encoder().encode([span]) == official([span])


def test_a_span_that_cannot_be_encoded_does_not_lose_its_batch(caplog: pytest.LogCaptureFixture) -> None:
    bad = a_span(context=None)
    with pytest.raises(Exception):  # noqa: B017, PT011  the official encoder raises this and that
        official([bad])
    encoder = an_encoder()
    good = [a_span(name="a"), a_span(name="b")]
    assert encoder.encode([good[0], bad, good[1], bad]) == official(good)
    assert encoder.encode([bad]) == b""
    assert encoder.spans_left_out == 3
    assert [record.getMessage() for record in caplog.records if record.name == "tracemw"] == [
        "tracemw leaves out a span that it cannot encode; further ones are not logged"
    ]


def test_a_dict_that_grows_while_it_is_read_is_encoded_from_a_copy() -> None:
    class Grows(list[int]):
        def __iter__(self) -> Iterator[int]:
            live[f"late{len(live)}"] = 1
            return super().__iter__()

    live: dict[str, Any] = {"a": 1}
    encoder = an_encoder()
    encoder.encode([a_span(attributes={"a": 1, "grows": [1], "z": 2})])
    live.update(grows=Grows([1, 2]), z=2)
    span = LeanSpan(a_span())
    span._attributes = live
    assert list(attributes_in(encoder.encode([span])))[:3] == ["a", "grows", "z"]
    assert encoder.spans_left_out == 0


@pytest.mark.parametrize("container", [dict, lambda given: BoundedAttributes(attributes=given, immutable=False)])
def test_attributes_set_from_another_thread_meanwhile_lose_no_span(
    container: Any, caplog: pytest.LogCaptureFixture
) -> None:
    live = container({f"key{i}": i for i in range(20)})
    span = LeanSpan(a_span())
    span._attributes = live
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for i in range(20, 60):
                live[f"key{i}"] = i
            for i in range(20, 60):
                del live[f"key{i}"]

    writer = threading.Thread(target=write)
    writer.start()
    try:
        encoder = an_encoder()
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            got = attributes_in(encoder.encode([span]))
            assert {key: value.int_value for key, value in got.items()}.items() >= {
                f"key{i}": i for i in range(20)
            }.items()
    finally:
        stop.set()
        writer.join()
    assert encoder.spans_left_out == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_threads_that_share_an_encoder_do_not_get_into_each_others_way() -> None:
    # Values that come back and values that do not, states and statuses of their own, and a memo that is always full.
    encoder = an_encoder(memo_size=100)
    wrong: list[object] = []

    def work(number: int) -> None:
        states = [TraceState([("thread", f"{number}{letter}")]) for letter in "ab"]
        contexts = [
            SpanContext(number + 1, 7, is_remote=False, trace_flags=TraceFlags(1), trace_state=state)
            for state in states
        ]
        statuses = [Status(StatusCode.ERROR, f"thread {number}{letter}") for letter in "abc"]
        for i in range(3000):
            context, status = contexts[i % 2], statuses[i % 3]
            attributes = {"same": "v", "some": i % 40, f"key{i % 7}": f"{number} {i}", "thread": number}
            span = a_span(name=f"{i % 90}", context=context, status=status, attributes=attributes)
            if encoder.encode([LeanSpan(span)]) != official([span]):
                wrong.append(span)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []
    assert entries(encoder) <= 100
    assert encoder.spans_left_out == 0


def test_a_signal_handler_may_encode_wherever_it_interrupts() -> None:
    encoder = an_encoder(memo_size=50)
    spans = [a_span(attributes={f"key{i % 9}": f"value {i}"}) for i in range(60)]
    expected = [official([span]) for span in spans]
    handled = 0

    def handle(*_: object) -> None:
        nonlocal handled
        at = handled % len(spans)
        assert encoder.encode([spans[at]]) == expected[at]
        handled += 1

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        began = time.monotonic()
        while (lasted := time.monotonic() - began) < 1 or (handled <= 100 and lasted < 300):  # a busy machine is slow
            for span, bytes_of_it in zip(spans, expected, strict=True):
                assert encoder.encode([span]) == bytes_of_it
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert handled > 100
