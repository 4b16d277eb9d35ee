"""`span` around a block."""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

import tracemw
from conftest import Recorded
from spans.service import PaymentError, attributes, child_of, current_name, exceptions
from tracemw import annotate, current_trace_id, keep, span, stage, traced
from tracemw._otel.context import current_context, skipped_context


def test_a_block_is_a_span_that_is_current_inside_it_and_not_after(recorded: Recorded) -> None:
    with span("payment.process", amount=42, currency="EUR", **{"payment.items": ["a", "b"]}) as current:
        assert trace.get_current_span() is current
    assert not trace.get_current_span().get_span_context().is_valid

    (ended,) = recorded.all
    assert ended.name == "payment.process"
    assert ended.kind is SpanKind.INTERNAL
    assert ended.status.status_code is StatusCode.UNSET
    assert attributes(ended) == {"amount": 42, "currency": "EUR", "payment.items": ("a", "b")}
    assert ended.instrumentation_scope is not None
    assert ended.instrumentation_scope.name == "tracemw"


async def test_an_asynchronous_block_is_a_span_too(recorded: Recorded) -> None:
    async with span("payment.process") as current:
        await asyncio.sleep(0)
        assert trace.get_current_span() is current
    assert not trace.get_current_span().get_span_context().is_valid

    assert [ended.name for ended in recorded.all] == ["payment.process"]


def test_a_block_inside_another_is_its_child(recorded: Recorded) -> None:
    with span("outer") as outer:
        with span("inner"):
            pass
        assert trace.get_current_span() is outer

    assert child_of(recorded.named("inner"), recorded.named("outer"))


def test_a_block_may_be_entered_again_after_it_has_been_left(recorded: Recorded) -> None:
    block = span("payment.process")
    with block:
        pass
    with block:
        pass

    assert len(recorded.all) == 2


def test_attributes_may_have_any_name(recorded: Recorded) -> None:
    with span("payment.process", name="a name", self="a self"):
        pass

    assert attributes(recorded.all[0]) == {"name": "a name", "self": "a self"}


def test_an_exception_is_recorded_once_and_goes_on_unchanged(recorded: Recorded) -> None:
    error = PaymentError("declined")
    with pytest.raises(PaymentError) as raised, span("payment.process"):
        raise error

    assert raised.value is error
    assert error.__cause__ is None
    assert error.__context__ is None
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == [
        "test_an_exception_is_recorded_once_and_goes_on_unchanged"
    ]
    (ended,) = recorded.all
    assert exceptions(ended) == ["spans.service.PaymentError"]
    assert attributes(ended) == {"error.type": "spans.service.PaymentError"}
    assert ended.status.status_code is StatusCode.ERROR
    assert ended.status.description == "PaymentError: declined"


def test_a_built_in_exception_has_no_module_in_its_type(recorded: Recorded) -> None:
    with suppress(KeyError), span("payment.process"):
        raise KeyError("x")

    assert attributes(recorded.all[0])["error.type"] == "KeyError"


def test_an_exception_that_is_caught_inside_leaves_the_span_unset(recorded: Recorded) -> None:
    with span("payment.process"), suppress(PaymentError):
        raise PaymentError

    assert recorded.all[0].status.status_code is StatusCode.UNSET
    assert exceptions(recorded.all[0]) == []


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit])
def test_what_only_ends_the_block_early_leaves_the_span_unset(error: type[BaseException], recorded: Recorded) -> None:
    with pytest.raises(error), span("payment.process"):
        raise error

    (ended,) = recorded.all
    assert ended.status.status_code is StatusCode.UNSET
    assert attributes(ended) == {}
    assert exceptions(ended) == []


def test_an_exception_that_cannot_be_shown_still_ends_the_span(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise LookupError("no words")

    monkeypatch.setattr("tracemw._otel.guard.reraise_own_faults", False)
    with pytest.raises(UnspeakableError), span("payment.process"):
        raise UnspeakableError
    caplog.clear()

    assert recorded.all[0].status.status_code is StatusCode.ERROR
    assert attributes(recorded.all[0])["error.type"].endswith("UnspeakableError")


def test_entering_a_block_that_is_entered_already_is_a_clear_error(recorded: Recorded) -> None:
    block = span("payment.process")
    with block, pytest.raises(RuntimeError, match=r"span\('payment.process'\) is entered already"):
        block.__enter__()

    assert len(recorded.all) == 1


@pytest.mark.parametrize("name", [None, 7, b"bytes", print])
def test_a_name_that_is_no_string_is_a_clear_error(name: Any) -> None:
    with pytest.raises(TypeError, match="span takes a name"):
        span(name)
    with pytest.raises(TypeError, match="stage takes a name"):
        stage(name)


def test_a_call_that_does_not_fit_is_a_type_error_of_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracemw._otel.guard.reraise_own_faults", False)
    with pytest.raises(TypeError, match=r"keep\(\) missing 1 required positional argument: 'reason'"):
        keep()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"annotate\(\) takes 0 positional arguments"):
        annotate({"order.id": 7})  # type: ignore[call-arg]


def test_a_block_left_in_a_copy_of_its_context_ends_quietly_and_is_not_current_there(recorded: Recorded) -> None:
    def scenario() -> None:
        block = span("payment.process")
        block.__enter__()
        copied = contextvars.copy_context()
        assert copied.run(current_name) == "payment.process"
        copied.run(block.__exit__, None, None, None)
        assert copied.run(current_name) is None

    contextvars.copy_context().run(scenario)
    assert [ended.name for ended in recorded.all] == ["payment.process"]


def test_a_block_left_in_an_unrelated_context_ends_quietly_and_changes_nothing_there(recorded: Recorded) -> None:
    block = span("payment.process")
    contextvars.copy_context().run(block.__enter__)
    with span("unrelated"):
        block.__exit__(None, None, None)
        assert current_name() == "unrelated"

    assert [ended.name for ended in recorded.all] == ["payment.process", "unrelated"]


def test_in_a_skipped_request_there_are_no_spans(recorded: Recorded) -> None:
    token = otel_context.attach(skipped_context(current_context()))
    before = trace.get_current_span()
    with span("payment.process") as current:
        current.set_attribute("a", 1)
        annotate(a=1)
        assert trace.get_current_span() is before
        assert current_trace_id() is None
    assert list(traced(lambda: iter("ab"))()) == ["a", "b"]
    otel_context.detach(token)

    assert recorded.all == []


# Nothing installed.


def test_without_a_provider_everything_works_and_nothing_is_recorded(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)

    @traced
    def rows() -> Iterator[int]:
        yield 1

    with span("outer", a=1) as current:
        current.set_attribute("b", 2)
        annotate(c=3)
        assert current_trace_id() is None
        assert list(rows()) == [1]
    with pytest.raises(PaymentError), span("outer"), stage("payment"):
        raise PaymentError

    assert recorded.all == []


def test_span_traced_and_stage_are_names_of_the_package() -> None:
    assert tracemw.span is span
    assert tracemw.traced is traced
    assert tracemw.stage is stage
