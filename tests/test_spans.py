"""Business spans: what they record, where they are current, and that decorating changes nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import inspect
import threading
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind, StatusCode

import tracemw
from conftest import Recorded
from tracemw import annotate, current_trace_id, keep, span, stage, traced
from tracemw._otel.context import current_context, skipped_context
from tracemw._recording import TracerProvider
from tracemw.asgi import TraceMiddleware


class PaymentError(Exception):
    pass


def attributes(recorded_span: ReadableSpan) -> dict[str, Any]:
    return dict(recorded_span.attributes or {})


def exceptions(recorded_span: ReadableSpan) -> list[str]:
    return [str((event.attributes or {})["exception.type"]) for event in recorded_span.events]


def current_name() -> str | None:
    current = trace.get_current_span()
    return current.name if isinstance(current, ReadableSpan) else None


def child_of(child: ReadableSpan, parent: ReadableSpan) -> bool:
    return child.parent is not None and parent.context is not None and child.parent.span_id == parent.context.span_id


@pytest.fixture(autouse=True)
def _leaves_nothing_behind(caplog: pytest.LogCaptureFixture, recorded: Recorded) -> Iterator[None]:
    """Hold every test to it: the current context is as before, and OpenTelemetry has complained of nothing."""
    before = otel_context.get_current()
    yield
    assert otel_context.get_current() is before
    complaints = [record for record in caplog.records if record.name.startswith(("opentelemetry", "tracemw"))]
    assert [record.getMessage() for record in complaints] == []


# span() around a block.


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


def test_blocks_nest(recorded: Recorded) -> None:
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
    assert exceptions(ended) == ["test_spans.PaymentError"]
    assert attributes(ended) == {"error.type": "test_spans.PaymentError"}
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


# Decorators.


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


def test_span_decorates_too_and_each_call_is_a_span(recorded: Recorded) -> None:
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
    assert exceptions(recorded.all[0]) == ["test_spans.PaymentError"]


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
        barrier.wait(5)
        with span("item.step"):
            barrier.wait(5)
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


# Generators.


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


def test_two_generators_of_one_function_do_not_mix(recorded: Recorded) -> None:
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
    assert exceptions(recorded.all[0]) == ["test_spans.PaymentError"]


# What a body does at each step, and what its consumer does to it; a decorated generator must answer like a bare one.

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


# annotate and current_trace_id.


async def ask(app: Callable[[], Any]) -> httpx.Response:
    """GET / from a small ASGI application behind the tracing door, which runs `app` and answers."""

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await app()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    transport = httpx.ASGITransport(TraceMiddleware(asgi, skip=["/skipped"]))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get("/skipped" if app.__name__ == "skipped" else "/")


async def test_annotations_land_on_the_requests_span_from_any_depth(recorded: Recorded) -> None:
    @traced
    def deep() -> None:
        annotate(**{"order.id": 7}, tags=["a"])

    async def app() -> None:
        async with span("outer"):
            await asyncio.to_thread(deep)
        await asyncio.create_task(shallow())

    async def shallow() -> None:
        annotate(shallow=True)

    await ask(app)

    server = attributes(recorded.server)
    assert server["order.id"] == 7
    assert server["tags"] == ("a",)
    assert server["shallow"] is True
    assert "order.id" not in attributes(recorded.named("deep"))
    assert "order.id" not in attributes(recorded.named("outer"))


def test_outside_a_request_annotations_land_on_the_current_span(recorded: Recorded) -> None:
    annotate(nowhere=1)
    with span("outer"), span("inner"):
        annotate(a=1)

    assert attributes(recorded.named("inner")) == {"a": 1}
    assert attributes(recorded.named("outer")) == {}


async def test_in_a_skipped_request_annotations_land_nowhere(recorded: Recorded) -> None:
    async def skipped() -> None:
        assert current_trace_id() is None
        annotate(a=1)
        with span("inner"):
            annotate(a=1)

    assert (await ask(skipped)).text == "done"
    assert recorded.all == []


async def test_annotations_after_the_end_of_the_request_are_let_go_quietly(recorded: Recorded) -> None:
    ended = asyncio.Event()

    async def background() -> None:
        await ended.wait()
        annotate(late=True)

    tasks = []

    async def app() -> None:
        tasks.append(asyncio.create_task(background()))

    await ask(app)
    ended.set()
    await asyncio.gather(*tasks)

    assert "late" not in attributes(recorded.server)


async def test_the_current_trace_id_is_that_of_the_response_header(recorded: Recorded) -> None:
    seen = []

    async def app() -> None:
        seen.append(current_trace_id())
        with span("inner"):
            seen.append(current_trace_id())

    response = await ask(app)

    assert current_trace_id() is None
    assert seen == [response.headers["x-trace-id"]] * 2
    assert len(response.headers["x-trace-id"]) == 32


# stage.


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


def test_the_innermost_stage_counts(recorded: Recorded) -> None:
    with pytest.raises(PaymentError), span("outer"), stage("order"), span("inner"), stage("payment"):
        raise PaymentError

    assert stages(recorded) == {"inner": "payment", "outer": "payment"}


def test_cancellation_is_not_marked(recorded: Recorded) -> None:
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


async def test_the_mark_travels_across_await_and_threads(recorded: Recorded) -> None:
    def work() -> NoReturn:
        with stage("payment"), span("thread"):
            raise PaymentError

    async def step() -> None:
        async with span("task"):
            await asyncio.to_thread(work)

    with pytest.raises(PaymentError), span("outer"):
        await asyncio.create_task(step())

    assert stages(recorded) == {"thread": None, "task": "payment", "outer": "payment"}


async def test_a_task_groups_own_exception_is_another_one(recorded: Recorded) -> None:
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


def test_the_names_are_those_of_the_package() -> None:
    assert tracemw.span is span
    assert tracemw.traced is traced
    assert tracemw.stage is stage
