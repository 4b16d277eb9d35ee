"""Exceptions that the application handles, and that end no span, are events of the span that was current."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any

import flask
import httpx
import pytest
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import tracemw
import tracemw.flask
import tracemw.starlette
from backend import Backend
from recording.local_traces import Init, Running, value_of
from servers import uvicorn_serving, werkzeug_serving
from test_bootstrap import run
from tracemw._otel import guard

needs_monitoring = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="Python tells of handled exceptions from version 3.12 on"
)
monitoring: Any = getattr(sys, "monitoring", None)


class OutOfStock(Exception):  # noqa: N818
    """An error of the application."""


@pytest.fixture
def watching(init: Init) -> Running:
    return init(1.0, more={"swallowed": True})


def fail() -> None:
    raise OutOfStock("secret")  # raised


def swallow() -> None:
    try:
        fail()
    except KeyError:  # handled
        pass
    except OutOfStock:
        pass


def line_of(mark: str, function: Callable[..., Any]) -> int:
    """Return the number of the line of a function that ends in the comment `# mark`."""
    lines, first = inspect.getsourcelines(function)
    return next(first + at for at, line in enumerate(lines) if line.rstrip().endswith(f"# {mark}"))


def told(spans: list[Span], name: str = "tracemw.swallowed") -> list[dict[str, Any]]:
    """Return the attributes of each such event, with the name of its span."""
    return [
        {"span": span.name, **{pair.key: value_of(pair.value) for pair in event.attributes}}
        for span in spans
        for event in span.events
        if event.name == name
    ]


@contextmanager
def starlette_serving(work: Callable[[], object], *, in_thread: bool) -> Iterator[str]:
    async def in_task(request: Request) -> Response:
        work()
        return PlainTextResponse("ok")

    def of_a_thread(request: Request) -> Response:
        work()
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/work", of_a_thread if in_thread else in_task)])
    app.add_middleware(tracemw.starlette.TraceMiddleware)
    with uvicorn_serving(app) as url:
        yield url


@contextmanager
def flask_serving(work: Callable[[], object]) -> Iterator[str]:
    app = flask.Flask("shop")

    @app.get("/work")
    def endpoint() -> str:
        work()
        return "ok"

    tracemw.flask.TraceMiddleware(app)
    with werkzeug_serving(app) as url:
        yield url


SERVING: dict[str, Any] = {
    "a task of Starlette": functools.partial(starlette_serving, in_thread=False),
    "a thread of Starlette": functools.partial(starlette_serving, in_thread=True),
    "a thread of Flask": flask_serving,
}


@needs_monitoring
@pytest.mark.parametrize("ratio", [1.0, 0.0])
@pytest.mark.parametrize("door", SERVING)
def test_a_request_tells_where_an_exception_was_raised_and_where_it_was_swallowed(
    init: Init, door: str, ratio: float
) -> None:
    running = init(ratio, more={"swallowed": True})

    def work() -> None:
        for _ in range(3):
            swallow()
        tracemw.keep("test")

    with SERVING[door](work) as url:
        assert httpx.get(f"{url}/work").status_code == 200

    assert told(running.spans) == [
        {
            "span": "GET /work",
            "exception.type": f"{__name__}.OutOfStock",
            "code.file.path": __file__,
            "code.line.number": line_of("raised", fail),
            "code.function.name": "fail",
            "tracemw.handled.file.path": __file__,
            "tracemw.handled.line.number": line_of("handled", swallow),
            "tracemw.handled.function.name": "swallow",
            "tracemw.swallowed.count": 3,
        }
    ]
    assert running.stats.swallowed == 3


def in_one_span_of_two() -> None:
    with tracemw.span("before"):
        pass
    with tracemw.span("work"):
        swallow()


def by_suppress() -> None:
    with tracemw.span("work"), suppress(OutOfStock):
        fail()


def left_by_way_of_finally_and_with() -> None:
    def work() -> None:
        with open_for_a_while():
            try:
                fail()
            finally:
                len("done")

    with tracemw.span("work"):
        try:
            work()
        except OutOfStock:
            pass


@contextmanager
def open_for_a_while() -> Iterator[None]:
    try:
        yield
    finally:
        len("closed")


def out_of_a_stage() -> None:
    with tracemw.span("work"):
        try:
            with tracemw.stage("reserve"):
                fail()
        except OutOfStock:
            pass


def in_an_awaited_function() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        fail()

    async def swallowing() -> None:
        with tracemw.span("work"):
            try:
                await work()
            except OutOfStock:
                pass

    asyncio.run(swallowing())


def another_in_its_place() -> None:
    def replace() -> None:
        try:
            fail()
        except OutOfStock as error:
            raise LookupError from error

    with tracemw.span("work"):
        try:
            replace()
        except LookupError:
            pass


SWALLOWED = [in_one_span_of_two, by_suppress, left_by_way_of_finally_and_with, out_of_a_stage]
SWALLOWED += [in_an_awaited_function, another_in_its_place]


@needs_monitoring
@pytest.mark.parametrize("work", SWALLOWED, ids=lambda work: work.__name__)
def test_an_exception_is_told_once_on_the_span_in_which_it_was_swallowed(
    watching: Running, work: Callable[[], None]
) -> None:
    work()
    (event,) = told(watching.spans)
    assert (event["span"], event["tracemw.swallowed.count"]) == ("work", 1)
    assert event["tracemw.handled.function.name"].split(".")[0] == work.__name__.replace(
        "in_one_span_of_two", "swallow"
    )
    assert watching.stats.swallowed == 1


def in_a_span_of_its_own() -> None:
    with tracemw.span("outer"):
        try:
            with tracemw.span("inner"):
                fail()
        except OutOfStock:
            pass


def raised_again() -> None:
    with suppress(OutOfStock), tracemw.span("work"):
        try:
            fail()
        except OutOfStock:
            raise


def raised_again_later() -> None:
    with suppress(OutOfStock), tracemw.span("work"):
        latest = None
        for _ in range(2):
            try:
                if latest is None:
                    fail()
            except OutOfStock as error:
                latest = error
        assert latest is not None
        raise latest


def raised_as_the_cause_of_another() -> None:
    with suppress(LookupError), tracemw.span("work"):
        try:
            fail()
        except OutOfStock as error:
            raise LookupError from error


def raised_in_a_group() -> None:
    with suppress(ExceptionGroup), tracemw.span("work"):
        errors = []
        try:
            fail()
        except OutOfStock as error:
            errors.append(error)
        raise ExceptionGroup("several", errors)


def recorded_by_the_application() -> None:
    with tracemw.span("work"):
        try:
            fail()
        except OutOfStock as error:
            trace.get_current_span().record_exception(error)


def passed_by() -> None:
    def work() -> None:
        try:
            fail()
        except KeyError:
            pass
        finally:
            len("done")

    with suppress(OutOfStock), tracemw.span("work"):
        work()


def handled_by_a_library() -> None:
    with tracemw.span("work"):
        assert asyncio.run(gathered())


async def gathered() -> Any:
    async def failing() -> None:
        fail()

    return await asyncio.gather(failing(), return_exceptions=True)


def not_an_error() -> None:
    def endless() -> Iterator[int]:
        try:
            yield 1
        except GeneratorExit:
            return

    with tracemw.span("work"):
        for kind in (StopIteration, StopAsyncIteration, asyncio.CancelledError, CancelledError, KeyboardInterrupt):
            try:
                raise kind
            except BaseException:
                pass
        numbers = endless()
        next(numbers)
        numbers.close()  # type: ignore[attr-defined]


def outside_of_spans() -> None:
    swallow()


def after_the_end_of_the_span() -> None:
    span = trace.get_tracer("test").start_span("work")
    with trace.use_span(span):
        span.end()
        swallow()


NOT_SWALLOWED = [in_a_span_of_its_own, raised_again, raised_again_later, raised_as_the_cause_of_another]
NOT_SWALLOWED += [raised_in_a_group, recorded_by_the_application, passed_by, handled_by_a_library, not_an_error]
NOT_SWALLOWED += [outside_of_spans, after_the_end_of_the_span]


@needs_monitoring
@pytest.mark.parametrize("work", NOT_SWALLOWED, ids=lambda work: work.__name__)
def test_an_exception_that_ends_a_span_or_is_no_error_of_the_applications_is_not_swallowed(
    watching: Running, work: Callable[[], None]
) -> None:
    work()
    assert told(watching.spans) == []
    assert watching.stats.swallowed == 0


@needs_monitoring
def test_a_span_tells_twenty_places_and_how_many_exceptions_there_were_at_others(watching: Running) -> None:
    source = "".join(
        f"def work_{number}():\n    try:\n        fail()\n    except Exception:\n        pass\n" for number in range(25)
    )
    names: dict[str, Any] = {"fail": fail}
    exec(compile(source, __file__, "exec"), names)
    with tracemw.span("work"):
        for number in range(25):
            names[f"work_{number}"]()
            names[f"work_{number}"]()
    events = told(watching.spans)
    assert [event["tracemw.handled.function.name"] for event in events] == [f"work_{number}" for number in range(20)]
    assert {event["tracemw.swallowed.count"] for event in events} == {2}
    assert told(watching.spans, "tracemw.swallowed.more") == [{"span": "work", "tracemw.swallowed.count": 10}]
    assert watching.stats.swallowed == 50


@needs_monitoring
def test_places_that_an_exception_only_passes_by_take_no_room_from_others(watching: Running) -> None:
    def deep(levels: int) -> None:
        try:
            if not levels:
                fail()
            deep(levels - 1)
        finally:
            len("done")

    with tracemw.span("work"):
        for levels in range(30):
            with suppress(OutOfStock):
                deep(levels)
        swallow()
    assert len(told(watching.spans)) == 2
    assert watching.stats.swallowed == 31


@needs_monitoring
def test_an_exception_that_was_swallowed_holds_nothing_that_cannot_be_pickled(watching: Running) -> None:
    swallowed = []
    with tracemw.span("work"):
        try:
            fail()
        except OutOfStock as error:
            swallowed.append(error)
    assert len(told(watching.spans)) == 1
    assert b"tracemw._otel" not in pickle.dumps(swallowed[0])


class Odd(Exception):  # noqa: N818
    """One whose fields cannot be read."""

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        raise RuntimeError("no fields")


@needs_monitoring
def test_an_exception_whose_fields_cannot_be_read_is_the_applications_alone(
    watching: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "reraise_own_faults", False)
    with tracemw.span("work"):
        try:
            raise Odd
        except Odd:
            pass
    with suppress(Odd), tracemw.span("failing"):
        raise Odd
    assert watching.names == ["failing", "work"]
    assert told(watching.spans) == []


@needs_monitoring
def test_a_shutdown_frees_the_tool_id_and_a_second_init_watches_again(init: Init) -> None:
    for _ in range(2):
        running = init(1.0, more={"swallowed": True})
        assert monitoring.get_tool(4) == "tracemw"
        with tracemw.span("work"):
            swallow()
        assert running.stats.swallowed == 1
        running.tracing.shutdown()
        assert monitoring.get_tool(4) is None
        swallow()
    assert running.stats.swallowed == 1


@needs_monitoring
def test_without_being_asked_for_nothing_is_watched(init: Init) -> None:
    running = init(1.0)
    assert monitoring.get_tool(4) is None
    with tracemw.span("work"):
        swallow()
    assert told(running.spans) == []


@needs_monitoring
@pytest.mark.parametrize("taken", [(4,), (3, 4)])
def test_a_tool_id_that_another_tool_has_stays_with_that_tool(
    init: Init, caplog: pytest.LogCaptureFixture, taken: tuple[int, ...]
) -> None:
    for tool in taken:
        monitoring.use_tool_id(tool, f"tool {tool}")
    try:
        running = init(1.0, more={"swallowed": True})
        with tracemw.span("work"):
            swallow()
        assert len(told(running.spans)) == (len(taken) == 1)
        running.tracing.shutdown()
        assert [monitoring.get_tool(tool) for tool in taken] == [f"tool {tool}" for tool in taken]
    finally:
        for tool in taken:
            monitoring.free_tool_id(tool)
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [line for line in warned if "4 by tool 4 and 3 by tool 3" in line] == (warned if len(taken) == 2 else [])


@needs_monitoring
def test_the_environment_turns_it_on_and_the_argument_wins(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEMW_SWALLOWED", "true")
    init(1.0)
    assert monitoring.get_tool(4) == "tracemw"
    init(1.0, more={"swallowed": False})
    assert monitoring.get_tool(4) is None


def test_a_value_that_is_neither_true_nor_false_is_refused(init: Init) -> None:
    with pytest.raises(TypeError, match="swallowed takes True or False, not 'yes'"):
        init(1.0, more={"swallowed": "yes"})


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python tells of handled exceptions")
def test_python_3_11_says_that_nothing_is_watched(init: Init, caplog: pytest.LogCaptureFixture) -> None:
    running = init(1.0, more={"swallowed": True})
    with tracemw.span("work"):
        swallow()
    assert told(running.spans) == []
    (line,) = [record.getMessage() for record in caplog.records if "swallowed" in record.getMessage()]
    assert line == "swallowed=True does nothing on Python 3.11: swallowed exceptions are seen from Python 3.12 on"


@needs_monitoring
def test_a_forked_process_tells_what_it_swallows_and_counts_only_that(backend: Backend) -> None:
    ended = run(
        "import os, tracemw\n"
        "tracing = tracemw.init('shop', swallowed=True)\n"
        "def swallow():\n"
        "    try: int('x')\n"
        "    except ValueError: pass\n"
        "with tracemw.span('parent'):\n"
        "    swallow()\n"
        "    swallow()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    with tracemw.span('child'): swallow()\n"
        "    count = tracing.stats().swallowed\n"
        "    tracing.shutdown()\n"
        "    os._exit(count)\n"
        "code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "print(code, tracing.stats().swallowed)\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
    )
    assert ended.stdout == "1 2\n"
    events = told(backend.spans)
    assert {(event["span"], event["tracemw.swallowed.count"]) for event in events} == {("parent", 2), ("child", 1)}
