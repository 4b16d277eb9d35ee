"""One local trace: from the request's local root to whatever happens beneath it, wherever and whenever that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

import calls
import tracemw
import tracemw.asgi
import tracemw.httpx
import tracemw.starlette
from conformance.server_doors import Door
from conformance.service import Service
from conftest import PARENT_ID, TRACE_ID
from recording.local_traces import (
    SECOND,
    Init,
    answer,
    attributes,
    failing,
    kept_for,
    one_that_fails,
    open_children,
    swallow,
)


def test_what_happens_in_other_tasks_and_threads_belongs_to_the_request(init: Init) -> None:
    running = init()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def task(number: int) -> None:
            with tracemw.span(f"task.{number}"):
                await asyncio.to_thread(thread, number)

        def thread(number: int) -> None:
            with tracemw.span(f"thread.{number}"):
                if number == 3:
                    swallow()

        await asyncio.gather(*(task(number) for number in range(5)))
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    assert len(running.spans) == 12
    assert {kept_for(span) for span in running.spans} == {"error"}


def test_an_application_that_is_mounted_in_another_has_no_trace_of_its_own(init: Init) -> None:
    running = init()

    def failing_page(request: Request) -> Response:
        swallow()
        return PlainTextResponse("ok")

    inner = Starlette(routes=[Route("/items/{item}", failing_page)])
    inner.add_middleware(tracemw.starlette.TraceMiddleware)
    outer = Starlette(routes=[Mount("/shops/{shop}", inner)])
    outer.add_middleware(tracemw.starlette.TraceMiddleware)
    asyncio.run(calls.ask(outer, "/shops/3/items/7"))
    server = next(span for span in running.spans if span.kind == Span.SPAN_KIND_SERVER)
    assert running.names == ["GET /shops/{shop}/items/{item}", "swallowed"]
    assert attributes(server)["http.route"] == "/shops/{shop}/items/{item}"
    assert attributes(server)["url.path"] == "/shops/3/items/7"


def test_a_request_that_a_process_makes_to_itself_is_a_local_trace_within_the_same_trace(init: Init) -> None:
    running = init()
    app = tracemw.asgi.TraceMiddleware(failing)

    async def work() -> None:
        transport = tracemw.httpx.AsyncTraceTransport(httpx.ASGITransport(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://self.example") as client:
            with tracemw.span("outer"):
                await client.get("/")

    asyncio.run(work())
    assert running.names == ["GET", "GET", "child", "outer"]
    assert running.stats.kept["error"] == 2
    assert len({span.trace_id for span in running.spans}) == 1


def test_a_door_beneath_a_local_span_begins_a_local_trace(init: Init) -> None:
    running = init()
    with tracemw.span("runner"):
        asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(failing)))
    assert running.names == ["GET", "child"]


@pytest.mark.parametrize("state", ["", "ot=th:8;rv:00000000000001,vendor=x"])
def test_an_unsampled_caller_is_told_nothing_and_its_request_is_kept_here(init: Init, state: str) -> None:
    running = init(1.0)
    sent: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(500)

    transport = tracemw.httpx.AsyncTraceTransport(httpx.MockTransport(refuse))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with httpx.AsyncClient(transport=transport) as client:
            await client.get("http://stock.example/")
        await answer(send)

    headers = [(b"traceparent", f"00-{TRACE_ID}-{PARENT_ID}-00".encode()), (b"tracestate", state.encode())]
    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app), headers=headers))
    spans = running.spans
    assert len(spans) == 2
    assert {kept_for(span) for span in spans} == {"error"}
    assert {span.trace_id.hex() for span in spans} == {TRACE_ID}
    server = next(span for span in spans if span.kind == Span.SPAN_KIND_SERVER)
    assert server.parent_span_id.hex() == PARENT_ID
    assert {span.trace_state for span in spans} == ({"ot=rv:00000000000001,vendor=x"} if state else {""})
    (request,) = sent
    assert request.headers["traceparent"].endswith("-00")
    assert request.headers.get("tracestate", "") == state  # the caller's own, as it is for every caller


def test_downstream_the_flag_is_zero_and_there_is_no_threshold(init: Init) -> None:
    running = init()
    sent: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    transport = tracemw.httpx.TraceTransport(httpx.MockTransport(respond))
    with httpx.Client(transport=transport) as client, tracemw.span("job"):
        client.get("http://stock.example/")
        swallow()
    assert running.names == ["GET", "job", "swallowed"]
    assert sent[0].headers["traceparent"][-2:] in ("00", "02")
    assert "tracestate" not in sent[0].headers


def test_nothing_is_held_beneath_a_local_span_that_does_not_record(init: Init) -> None:
    running = init()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tracemw.keep("in vain")
        swallow()
        await answer(send, 500)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app), "/health"))
    parent = NonRecordingSpan(SpanContext(7, 8, is_remote=False))
    assert not trace.get_tracer("x").start_span("beneath", trace.set_span_in_context(parent, Context())).is_recording()
    assert running.spans == []
    assert running.holds_nothing()


class Wrapper(trace.Span):
    """A span as some instrumentations hand it out: their own, which passes on what it does not do itself."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def __getattr__(self, name: str) -> Any:
        return getattr(self._span, name)

    def get_span_context(self) -> SpanContext:
        return self._span.get_span_context()

    def is_recording(self) -> bool:
        return self._span.is_recording()

    def end(self, *arguments: Any) -> None:
        self._span.end(*arguments)

    def set_attribute(self, *arguments: Any) -> None:
        self._span.set_attribute(*arguments)

    def set_attributes(self, *arguments: Any) -> None:
        self._span.set_attributes(*arguments)

    def add_event(self, *arguments: Any, **more: Any) -> None:
        self._span.add_event(*arguments, **more)

    def update_name(self, *arguments: Any) -> None:
        self._span.update_name(*arguments)

    def set_status(self, *arguments: Any) -> None:
        self._span.set_status(*arguments)

    def record_exception(self, *arguments: Any, **more: Any) -> None:
        self._span.record_exception(*arguments, **more)


@pytest.mark.parametrize("depth", [1, 2])
def test_spans_beneath_a_wrapped_span_belong_to_its_local_trace(init: Init, depth: int) -> None:
    running = init()
    root, (child,) = open_children()
    for span in (root, child):
        wrapped = span
        for _ in range(depth):
            wrapped = Wrapper(wrapped)
        with trace.use_span(wrapped):
            swallow("beneath")
    assert running.stats.held == 2
    child.end()
    root.end()
    assert running.names == ["beneath", "beneath", "child", "root"]
    assert {kept_for(span) for span in running.spans} == {"error"}
    root, _ = open_children(0)
    with trace.use_span(Wrapper(root)):
        tracemw.keep("because")
    root.end()
    assert running.stats.kept["manual"] == 1


def test_work_that_is_handed_the_ids_of_the_request_belongs_to_it(door: Door, init: Init) -> None:
    running, service = init(), Service()

    def handing_over(incoming: Any) -> Any:
        ids = NonRecordingSpan(trace.get_current_span().get_span_context())
        with trace.use_span(ids):
            swallow()
        other = NonRecordingSpan(SpanContext(7, 8, is_remote=False))
        with trace.use_span(other), tracemw.span("of another trace") as span:
            assert not span.is_recording()
        return service.ok(incoming)

    service.endpoints["/swallow"] = handing_over
    assert door.ask(door.traced(service), "/swallow").status == 200
    assert len(running.spans) == 2
    assert "swallowed" in running.names
    assert {kept_for(span) for span in running.spans} == {"error"}


# After the end of the root.


def streaming(background: Callable[[], None], status: int = 200) -> Any:
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("", status, background=BackgroundTask(background)))])
    app.add_middleware(tracemw.starlette.TraceMiddleware)
    return app


@pytest.mark.parametrize(("status", "expected"), [(500, ["GET /", "after", "after"]), (200, [])])
def test_background_work_shares_the_fate_of_its_request(init: Init, status: int, expected: list[str]) -> None:
    running = init()

    def work() -> None:
        one_that_fails("after")
        with tracemw.span("after"):
            tracemw.keep("too late")

    asyncio.run(calls.ask(streaming(work, status)))
    assert running.names == expected
    assert {kept_for(span) for span in running.spans} <= {"error"}
    assert running.stats.kept["error"] == bool(expected)
    assert running.stats.unsampled == 3 - len(expected)


@pytest.mark.parametrize("is_kept", [True, False])
def test_spans_that_end_after_their_root_share_its_fate_for_thirty_seconds(init: Init, is_kept: bool) -> None:
    running = init()
    root, (before, at_once, late, too_late) = open_children(4)
    before.end()
    if is_kept:
        root.set_status(StatusCode.ERROR)
    root.end()
    at_once.end()
    late.end(root.end_time + 30 * SECOND)
    too_late.end(root.end_time + 30 * SECOND + 1)
    assert running.names == (["child"] * 3 + ["root"]) * is_kept
    assert running.lost == ({"late": 1} if is_kept else {})
    assert running.stats.unsampled == (0 if is_kept else 5)


def test_a_span_that_begins_beneath_a_root_that_was_dropped_is_not_recorded(init: Init) -> None:
    running = init()
    root, (child,) = open_children()
    root.end()
    for parent in (root, child):
        later = trace.get_tracer("x").start_span("later", trace.set_span_in_context(parent, Context()))
        assert not later.is_recording()
    child.end()
    assert running.stats.unsampled == 4


def test_a_failure_after_the_end_does_not_change_the_decision(init: Init) -> None:
    running = init()
    root, (child,) = open_children()
    root.end()
    child.set_status(StatusCode.ERROR)
    child.end()
    assert running.spans == []
    assert running.stats.unsampled == 2


def test_a_root_that_ends_twice_is_judged_once(init: Init, caplog: pytest.LogCaptureFixture) -> None:
    running = init()
    root, _ = open_children()
    root.set_status(StatusCode.ERROR)
    root.end()
    root.end()
    assert running.names == ["root"]
    assert running.stats.kept["error"] == 1
