"""`traced` and `span` as decorators: of functions, methods, coroutines, and what runs at once."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from conftest import Recorded
from spans.service import PaymentError, attributes, child_of, current_name, exceptions
from tracemw import span, traced


def test_traced_names_the_span_after_the_function(recorded: Recorded) -> None:
    @traced
    def charge(amount: int, *, currency: str = "EUR") -> str:
        """Charge it."""
        return f"{amount} {currency} {current_name()}"

    assert charge(3, currency="USD") == "3 USD charge"
    assert charge.__name__ == "charge"
    assert charge.__doc__ == "Charge it."
    assert list(inspect.signature(charge).parameters) == ["amount", "currency"]
    (ended,) = recorded.all
    assert ended.name == "charge"
    assert attributes(ended)["code.function.name"] == f"{__name__}.{charge.__qualname__}"


def test_traced_takes_a_name_and_attributes(recorded: Recorded) -> None:
    @traced("fraud.check", engine="rules")
    def check() -> None:
        """Check."""

    @traced(engine="rules")
    def check_again() -> None:
        """Check."""

    check()
    check_again()

    assert [ended.name for ended in recorded.all] == ["fraud.check", "check_again"]
    assert [attributes(ended)["engine"] for ended in recorded.all] == ["rules", "rules"]


def test_each_call_of_a_function_that_span_decorates_is_a_span(recorded: Recorded) -> None:
    @span("payment.process", amount=1)
    def process(depth: int) -> int:
        return process(depth - 1) + 1 if depth else 0

    assert process(2) == 2

    inner, middle, outer = recorded.all
    assert {ended.name for ended in recorded.all} == {"payment.process"}
    assert child_of(inner, middle)
    assert child_of(middle, outer)


def test_methods_of_every_kind_are_traced(recorded: Recorded) -> None:
    class Till:
        @traced
        def method(self) -> Till:
            return self

        @traced
        @classmethod
        def outside_class(cls) -> type[Till]:
            return cls

        @classmethod
        @traced
        def inside_class(cls) -> type[Till]:
            return cls

        @traced("static.outside")
        @staticmethod
        def outside_static() -> str:
            return "static"

        @staticmethod
        @traced("static.inside")
        async def inside_static() -> str:
            return "static"

    class Corner(Till):
        pass

    till = Corner()
    assert till.method() is till
    assert Corner.outside_class() is Corner
    assert till.inside_class() is Corner
    assert till.outside_static() == "static"
    assert asyncio.run(Corner.inside_static()) == "static"
    assert [ended.name for ended in recorded.all] == [
        "Till.method",
        "Till.outside_class",
        "Till.inside_class",
        "static.outside",
        "static.inside",
    ]


def test_partials_and_callable_objects_are_traced(recorded: Recorded) -> None:
    def add(a: int, b: int) -> int:
        return a + b

    class Adder:
        def __call__(self, a: int, b: int) -> int:
            return a + b

    assert traced(functools.partial(add, 1))(2) == 3
    assert traced(Adder())(1, 2) == 3
    assert [ended.name for ended in recorded.all] == ["add", "Adder"]


def test_the_decorated_function_is_of_the_same_kind() -> None:
    def function() -> None: ...

    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    for bare in (function, coroutine, generator, async_generator):
        for decorated in (traced(bare), span("a.b")(bare), traced("a.b", c=1)(bare)):
            assert [kind(decorated) for kind in kinds] == [kind(bare) for kind in kinds]
            assert inspect.signature(decorated) == inspect.signature(bare)
            assert inspect.unwrap(decorated) is bare


class NotAFunction:
    """A class is callable, and yet no function."""


@pytest.mark.parametrize("target", [NotAFunction, 7, property(lambda self: 1), None])
def test_decorating_what_is_no_function_is_a_clear_error(target: Any) -> None:
    with pytest.raises(TypeError, match="decorate functions"):
        span("payment.process")(target)
    if target is not None:
        with pytest.raises(TypeError, match="decorate functions"):
            traced(target)


async def test_a_coroutine_is_traced_and_its_exception_goes_on(recorded: Recorded) -> None:
    error = PaymentError()

    @traced
    async def process() -> NoReturn:
        await asyncio.sleep(0)
        assert current_name() == "process"
        raise error

    with pytest.raises(PaymentError) as raised:
        await process()

    assert raised.value is error
    assert traceback.extract_tb(error.__traceback__)[-1].name == "process"
    assert exceptions(recorded.all[0]) == ["spans.service.PaymentError"]


async def test_concurrent_coroutines_keep_their_spans_apart(recorded: Recorded) -> None:
    @traced("item.handle")
    async def handle(number: int) -> None:
        trace.get_current_span().set_attribute("number", number)
        await asyncio.sleep(0)
        async with span("item.step", number=number):
            await asyncio.sleep(0)
        assert current_name() == "item.handle"

    with span("items.handle"):
        await asyncio.gather(*(handle(number) for number in range(20)))

    handled = {attributes(ended)["number"]: ended for ended in recorded.all if ended.name == "item.handle"}
    steps = [ended for ended in recorded.all if ended.name == "item.step"]
    assert len(handled) == len(steps) == 20
    assert all(child_of(step, handled[attributes(step)["number"]]) for step in steps)
    assert all(child_of(ended, recorded.named("items.handle")) for ended in handled.values())


def test_threads_keep_their_spans_apart(recorded: Recorded) -> None:
    barrier = threading.Barrier(4)

    @traced("item.handle")
    def handle() -> str | None:
        barrier.wait(60)
        with span("item.step"):
            barrier.wait(60)
            return current_name()

    with ThreadPoolExecutor(4) as pool:
        assert [done.result() for done in [pool.submit(handle) for _ in range(4)]] == ["item.step"] * 4

    assert len({ended.context.trace_id for ended in recorded.all if ended.context}) == 4


async def test_a_cancelled_coroutine_leaves_its_span_unset(recorded: Recorded) -> None:
    @traced
    async def wait() -> None:
        await asyncio.sleep(5)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert recorded.all[0].status.status_code is StatusCode.UNSET
    assert exceptions(recorded.all[0]) == []
