"""Decorated generators: their span is current in them only, and they behave as bare ones."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from conftest import Recorded
from spans.service import PaymentError, attributes, child_of, current_name, exceptions
from tracemw import span, traced


def test_a_generators_span_is_current_in_the_generator_and_not_in_its_consumer(recorded: Recorded) -> None:
    @traced
    def rows() -> Iterator[str | None]:
        yield current_name()
        with span("row.read"):
            yield current_name()
            yield current_name()
        yield current_name()

    with span("consumer"):
        seen = []
        for name in rows():
            seen.append(name)
            assert current_name() == "consumer"

    assert seen == ["rows", "row.read", "row.read", "rows"]
    assert child_of(recorded.named("rows"), recorded.named("consumer"))
    assert child_of(recorded.named("row.read"), recorded.named("rows"))


async def test_an_asynchronous_generators_span_is_not_current_in_its_consumer(recorded: Recorded) -> None:
    @traced
    async def rows() -> AsyncIterator[str | None]:
        yield current_name()
        await asyncio.sleep(0)
        async with span("row.read"):
            yield current_name()
            await asyncio.sleep(0)
            yield current_name()
        yield current_name()

    async with span("consumer"):
        seen = []
        async for name in rows():
            seen.append(name)
            await asyncio.sleep(0)
            assert current_name() == "consumer"

    assert seen == ["rows", "row.read", "row.read", "rows"]
    assert child_of(recorded.named("row.read"), recorded.named("rows"))


def test_a_generator_that_nobody_starts_has_no_span(recorded: Recorded) -> None:
    @traced
    def rows() -> Iterator[int]:
        yield 1

    rows()
    rows().close()  # type: ignore[attr-defined]
    gc.collect()

    assert recorded.all == []


def test_an_abandoned_generator_ends_its_span(recorded: Recorded) -> None:
    @traced
    def rows() -> Iterator[int]:
        yield 1
        yield 2

    for _ in rows():
        break
    gc.collect()

    assert recorded.all[0].name == "rows"
    assert recorded.all[0].status.status_code is StatusCode.UNSET
    assert exceptions(recorded.all[0]) == []


def test_an_abandoned_asynchronous_generator_ends_its_span(recorded: Recorded) -> None:
    finished = []

    @traced
    async def rows() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            finished.append(current_name())

    async def consume() -> None:
        with span("consumer"):
            async for _ in rows():
                break
        await asyncio.sleep(0.01)  # the loop closes abandoned generators in tasks of their own

    asyncio.run(consume())

    assert finished == ["rows"]
    assert recorded.named("rows").status.status_code is StatusCode.UNSET


def test_a_generator_may_be_consumed_by_one_thread_after_another(recorded: Recorded) -> None:
    @traced
    def rows() -> Iterator[str | None]:
        with span("row.read"):
            yield current_name()
            yield current_name()
        yield current_name()

    generator = rows()
    seen = []
    for _ in range(4):
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(context.run, lambda: next(generator, "end")).result())
        assert context.run(current_name) is None

    assert seen == ["row.read", "row.read", "rows", "end"]
    assert len(recorded.all) == 2


def test_two_generators_of_one_function_keep_their_spans_apart(recorded: Recorded) -> None:
    @traced
    def count(upto: int) -> Iterator[int]:
        trace.get_current_span().set_attribute("upto", upto)
        yield from range(upto)

    assert list(zip(count(3), count(2), strict=False)) == [(0, 0), (1, 1)]
    gc.collect()
    assert {attributes(ended)["upto"] for ended in recorded.all} == {2, 3}


def test_an_exception_out_of_a_generator_goes_on_and_is_recorded_once(recorded: Recorded) -> None:
    error = PaymentError()

    @traced
    def rows() -> Iterator[int]:
        yield 1
        raise error

    with pytest.raises(PaymentError) as raised:
        list(rows())

    assert raised.value is error
    assert error.__context__ is None
    assert traceback.extract_tb(error.__traceback__)[-1].name == "rows"
    assert exceptions(recorded.all[0]) == ["spans.service.PaymentError"]


Deed = str

DEEDS = ["yield", "yield", "return", "raise", "raise stop", "swallow", "replace", "delegate"]

ACTS = ["next", "send", "throw", "throw stop", "throw exit", "close"]


def delegate(number: int) -> Generator[object, object, object]:
    return (yield number), (yield -number)


def body(deeds: list[Deed], log: list[object]) -> Generator[object, object, object]:
    for number, deed in enumerate(deeds):
        try:
            if deed == "return":
                return number
            if deed == "raise":
                raise PaymentError(number)
            if deed == "raise stop":
                raise StopIteration(number)
            if deed == "delegate":
                log.append((yield from delegate(number)))
            else:
                log.append((yield number))
        except (PaymentError, StopIteration, GeneratorExit) as error:
            log.append(type(error).__name__)
            if deed == "replace":
                raise LookupError(number) from error
            if deed != "swallow":
                raise
        finally:
            log.append(f"finally {number}")
    return "end"


async def async_body(deeds: list[Deed], log: list[object]) -> AsyncGenerator[object, object]:
    for number, deed in enumerate(deeds):
        await asyncio.sleep(0)
        try:
            if deed == "return":
                return
            if deed == "raise":
                raise PaymentError(number)
            if deed == "raise stop":
                raise StopAsyncIteration(number)
            log.append((yield number))
        except (PaymentError, StopAsyncIteration, GeneratorExit) as error:
            log.append(type(error).__name__)
            if deed == "replace":
                raise LookupError(number) from error
            if deed != "swallow":
                raise
        finally:
            log.append(f"finally {number}")


def told(error: BaseException) -> tuple[object, ...]:
    """What a consumer can see of an exception."""
    return type(error), error.args, type(error.__cause__), type(error.__context__), error.__suppress_context__


def driven(make: Callable[..., Any], deeds: list[Deed], acts: list[str]) -> list[object]:
    log: list[object] = []
    generator = make(deeds, log)
    for act in acts:
        try:
            match act:
                case "next":
                    log.append(("got", next(generator)))
                case "send":
                    log.append(("got", generator.send("sent")))
                case "throw":
                    log.append(("got", generator.throw(PaymentError("thrown"))))
                case "throw stop":
                    log.append(("got", generator.throw(StopIteration("thrown"))))
                case "throw exit":
                    log.append(("got", generator.throw(GeneratorExit("thrown"))))
                case _:
                    generator.close()
                    log.append("closed")
        except BaseException as error:
            log.append((act, *told(error)))
    for _ in range(len(deeds) + 1):
        with suppress(Exception):
            generator.close()
    return log


async def async_driven(make: Callable[..., Any], deeds: list[Deed], acts: list[str]) -> list[object]:
    log: list[object] = []
    generator = make(deeds, log)
    for act in acts:
        try:
            match act:
                case "next":
                    log.append(("got", await anext(generator)))
                case "send":
                    log.append(("got", await generator.asend("sent")))
                case "throw":
                    log.append(("got", await generator.athrow(PaymentError("thrown"))))
                case "throw stop":
                    log.append(("got", await generator.athrow(StopAsyncIteration("thrown"))))
                case "throw exit":
                    log.append(("got", await generator.athrow(GeneratorExit("thrown"))))
                case _:
                    await generator.aclose()
                    log.append("closed")
        except BaseException as error:
            log.append((act, *told(error)))
    for _ in range(len(deeds) + 1):
        with suppress(Exception):
            await generator.aclose()
    return log


@settings(max_examples=300)
@given(st.lists(st.sampled_from(DEEDS), max_size=5), st.lists(st.sampled_from(ACTS), max_size=6))
def test_a_traced_generator_behaves_as_the_bare_one(deeds: list[Deed], acts: list[str]) -> None:
    assert driven(traced(body), deeds, acts) == driven(body, deeds, acts)


# CPython itself loses track of asynchronous generators that ignore their closing, bare ones too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([deed for deed in DEEDS if deed != "delegate"]), max_size=5),
    st.lists(st.sampled_from(ACTS), max_size=6),
)
def test_a_traced_asynchronous_generator_behaves_as_the_bare_one(deeds: list[Deed], acts: list[str]) -> None:
    async def both() -> tuple[list[object], list[object]]:
        return await async_driven(traced(async_body), deeds, acts), await async_driven(async_body, deeds, acts)

    of_traced, of_bare = asyncio.run(both())
    assert of_traced == of_bare


def test_a_traced_generator_can_be_a_context_manager(recorded: Recorded) -> None:
    @contextmanager
    @traced("file.lock")
    def lock() -> Iterator[str]:
        try:
            yield "locked"
        except PaymentError as error:
            raise LookupError from error

    with lock() as locked:
        assert locked == "locked"
        assert current_name() is None
    with pytest.raises(LookupError), lock():
        raise PaymentError

    assert [attributes(ended).get("error.type") for ended in recorded.all] == [None, "LookupError"]
