"""`stage`: spans that end with an exception tell which stage it came from."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import suppress
from typing import Any, NoReturn

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from conftest import Recorded
from spans.service import PaymentError, ask, attributes
from tracemw import span, stage, traced
from tracemw._recording import TracerProvider


def stages(recorded: Recorded) -> dict[str, Any]:
    return {ended.name: attributes(ended).get("error.stage") for ended in recorded.all}


def test_a_stage_marks_each_span_that_ends_with_its_exception(recorded: Recorded) -> None:
    with suppress(PaymentError), span("outer"), span("middle"):
        with span("before"), stage("fine"):
            pass
        with stage("payment"), span("inner"):
            raise PaymentError

    assert stages(recorded) == {"before": None, "inner": None, "middle": "payment", "outer": "payment"}


def test_a_stage_inside_a_span_marks_that_span_too(recorded: Recorded) -> None:
    with pytest.raises(PaymentError), span("outer"), stage("payment"):
        raise PaymentError

    assert stages(recorded) == {"outer": "payment"}


def test_a_span_that_catches_the_exception_or_ends_with_another_is_not_marked(recorded: Recorded) -> None:
    with span("catching"), suppress(LookupError), span("replacing"):
        try:
            with span("inner"), stage("payment"):
                raise PaymentError
        except PaymentError as error:
            raise LookupError from error

    assert stages(recorded) == {"inner": "payment", "replacing": None, "catching": None}


def test_the_innermost_of_nested_stages_is_recorded(recorded: Recorded) -> None:
    with pytest.raises(PaymentError), span("outer"), stage("order"), span("inner"), stage("payment"):
        raise PaymentError

    assert stages(recorded) == {"inner": "payment", "outer": "payment"}


def test_a_cancellation_records_no_stage(recorded: Recorded) -> None:
    with pytest.raises(asyncio.CancelledError), span("outer"), stage("payment"):
        raise asyncio.CancelledError

    assert stages(recorded) == {"outer": None}


def test_a_stage_outside_any_span_does_nothing(recorded: Recorded) -> None:
    error = PaymentError()
    with pytest.raises(PaymentError) as raised, stage("payment"):
        raise error

    assert raised.value is error
    assert recorded.all == []


def test_one_exception_object_raised_in_two_traces_is_marked_in_each(recorded: Recorded) -> None:
    constant = PaymentError("constant")
    with suppress(PaymentError), span("first"), stage("payment"):
        raise constant
    with suppress(PaymentError), span("second"):
        raise constant
    with suppress(PaymentError), span("third"), stage("shipping"):
        raise constant

    assert stages(recorded) == {"first": "payment", "second": None, "third": "shipping"}


def test_one_exception_object_raised_twice_in_a_trace_has_the_stage_of_its_last_raise(recorded: Recorded) -> None:
    constant = PaymentError("constant")
    with suppress(PaymentError), span("outer"):
        with suppress(PaymentError), span("first"), stage("payment"):
            raise constant
        with span("second"), stage("order"), stage("shipping"):
            raise constant

    assert stages(recorded) == {"first": "payment", "second": "shipping", "outer": "shipping"}


async def test_one_exception_object_raised_in_traces_at_once_is_marked_in_each(recorded: Recorded) -> None:
    constant = PaymentError("constant")

    async def fail(name: str) -> None:
        async with span(f"outer.{name}"):
            with stage(name):
                await asyncio.sleep(0)
                try:
                    raise constant
                finally:
                    await asyncio.sleep(0)

    await asyncio.gather(fail("a"), fail("b"), fail("c"), return_exceptions=True)

    assert stages(recorded) == {"outer.a": "a", "outer.b": "b", "outer.c": "c"}


def test_an_exception_object_raised_in_many_traces_does_not_grow_without_bound() -> None:
    constant = PaymentError("constant")
    for _ in range(200):
        with suppress(PaymentError), span("first"), stage("payment"):
            raise constant

    (marks,) = vars(constant).values()
    assert len(marks) < 50


async def test_a_stage_is_known_across_await_and_threads(recorded: Recorded) -> None:
    def work() -> NoReturn:
        with stage("payment"), span("thread"):
            raise PaymentError

    async def step() -> None:
        async with span("task"):
            await asyncio.to_thread(work)

    with pytest.raises(PaymentError), span("outer"):
        await asyncio.create_task(step())

    assert stages(recorded) == {"thread": None, "task": "payment", "outer": "payment"}


async def test_the_exception_that_a_task_group_raises_itself_has_no_stage_of_its_tasks(recorded: Recorded) -> None:
    @traced("task")
    async def work() -> NoReturn:
        with stage("payment"):
            raise PaymentError

    with pytest.raises(ExceptionGroup), span("outer"):
        async with asyncio.TaskGroup() as group:
            group.create_task(work())

    assert stages(recorded) == {"task": "payment", "outer": None}


async def test_a_stage_around_a_task_group_marks_what_ends_with_the_group(recorded: Recorded) -> None:
    @traced("task")
    async def work() -> NoReturn:
        raise PaymentError

    with pytest.raises(ExceptionGroup), span("outer"), stage("checkout"):
        async with asyncio.TaskGroup() as group:
            group.create_task(work())

    assert stages(recorded) == {"task": None, "outer": "checkout"}


def test_an_exception_that_takes_no_attributes_goes_on_unharmed_and_is_marked(recorded: Recorded) -> None:
    class FrozenError(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise RuntimeError("frozen")

    with pytest.raises(FrozenError), span("outer"), stage("payment"):
        raise FrozenError

    assert stages(recorded) == {"outer": "payment"}


async def test_a_stage_marks_the_server_span_of_its_request(recorded: Recorded) -> None:
    async def app() -> None:
        async with span("outer"):
            with stage("payment"):
                raise PaymentError

    with pytest.raises(PaymentError):
        await ask(app)

    assert attributes(recorded.server)["error.stage"] == "payment"
    assert attributes(recorded.server)["error.type"] == "500"
    assert attributes(recorded.named("outer"))["error.stage"] == "payment"


def test_spans_that_others_start_are_marked_when_the_provider_is_tracemws_own() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource({}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("another")
    with suppress(PaymentError), tracer.start_as_current_span("outer"):
        with suppress(LookupError), tracer.start_as_current_span("other"):
            raise LookupError
        with tracer.start_span("entered"), tracer.start_as_current_span("middle"), stage("payment"):
            raise PaymentError

    marked = {ended.name: attributes(ended).get("error.stage") for ended in exporter.get_finished_spans()}
    assert marked == {"other": None, "entered": "payment", "middle": "payment", "outer": "payment"}


def test_a_stage_leaves_the_exceptions_traceback_readable() -> None:
    def fail() -> NoReturn:
        raise PaymentError

    with pytest.raises(PaymentError) as raised, span("outer"), stage("payment"):
        fail()

    names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert names[0] == "test_a_stage_leaves_the_exceptions_traceback_readable"
    assert names[-1] == "fail"
    assert raised.value.__context__ is None
