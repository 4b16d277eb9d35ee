"""The flight recorder: failing, slow and wanted requests reach the backend although they were not sampled."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import random
import signal
import sys
import threading
import time
import tracemalloc
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import context as otel_context
from opentelemetry import metrics as otel_metrics
from opentelemetry import trace
from opentelemetry.baggage import get_baggage, set_baggage
from opentelemetry.context import Context
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util._once import Once
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket
from werkzeug.middleware.proxy_fix import ProxyFix

import calls
import tracemw
import tracemw.asgi
import tracemw.httpx
import tracemw.starlette
import tracemw.wsgi
from backend import Backend, backend_serving
from conformance.server_doors import DOORS, ASGIDoor, Door
from conformance.service import Service
from conftest import PARENT_ID, TRACE_ID
from servers import free_port, process, uvicorn_serving, wait_until
from test_cost import asgi_request, fastapi_request, flask_request, mounted_request, starlette_request
from tracemw import bootstrap
from tracemw._otel import guard
from tracemw._recording import keeping
from tracemw._recording.keeping import Books
from tracemw._setup.endings import Endings
from tracemw._setup.installation import Installation
from tracemw.sampling import Rule, Sampling

Spans = list[Span]


class Running:
    """What `init` has set up, and its backend."""

    def __init__(self, tracing: tracemw.Tracing, backend: Backend) -> None:
        self.tracing = tracing
        self._backend = backend

    @property
    def books(self) -> Books:
        """What the flight recorder says has become of the spans of unsampled traces."""
        recorder = self.tracing._recorder
        assert recorder is not None
        return recorder.books

    @property
    def lost(self) -> dict[str, int]:
        return {cause: number for cause, number in self.books.lost.items() if number}

    @property
    def spans(self) -> Spans:
        """All that has arrived so far."""
        assert self.tracing.flush(10)
        return self._backend.spans

    @property
    def names(self) -> list[str]:
        return sorted(span.name for span in self.spans)

    def add(self, processor: SpanProcessor) -> None:
        """Have a span processor of somebody else's see the spans too."""
        provider: Any = self.tracing.provider
        provider.add_span_processor(processor)


@pytest.fixture
def backend() -> Iterator[Backend]:
    with backend_serving() as serving:
        yield serving


Init = Callable[..., Running]


@pytest.fixture
def init(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> Iterator[Init]:
    """`tracemw.init` as in a process of its own, sampling nothing unless told to."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(Endings, "take_signals", lambda self: None)
    monkeypatch.setattr(bootstrap, "IN_THIS_PROCESS", Installation())
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "65536")  # what is lost on the way out is no matter of the recorder
    running: list[tracemw.Tracing] = []

    def start(ratio: float | None = 0.0, *, rules: tuple[Rule, ...] = (), more: Any = None, **sampling: Any) -> Running:
        tracemw.shutdown()
        wanted = Sampling(ratio=ratio, rules=rules, **sampling)
        running.append(tracemw.init("shop", endpoint=backend.url, sampling=wanted, **(more or {})))
        return Running(running[-1], backend)

    yield start
    for tracing in running:
        tracing.shutdown()


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> Door:
    return DOORS[request.param]()


def attributes(span: Span) -> dict[str, Any]:
    return {pair.key: value_of(pair.value) for pair in span.attributes}


def value_of(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def kept_for(span: Span) -> Any:
    return attributes(span).get("tracemw.kept")


def swallow(name: str = "swallowed") -> None:
    """Fail within a span, and let nobody else know."""
    try:
        with tracemw.span(name):
            raise ValueError("swallowed")
    except ValueError:
        pass


def one_that_fails(name: str = "child") -> None:
    with tracemw.span(name) as span:
        span.set_status(StatusCode.ERROR)


# What is kept, and why.


def test_a_failing_request_is_kept_with_all_of_its_local_trace(door: Door, init: Init) -> None:
    running, service = init(), Service()
    service.endpoints["/fail"] = lambda incoming: (service.child(incoming), service.status(incoming))[1]
    service.endpoints["/fail/{code}"] = service.endpoints.pop("/fail")
    traced = door.traced(service)
    for _ in range(3):
        door.ask(traced, "/child")
    door.ask(traced, "/fail/500")
    spans = running.spans
    assert sorted(span.name for span in spans if span.kind != Span.SPAN_KIND_SERVER) == ["child.ours", "child.theirs"]
    assert len(spans) == 3
    assert {kept_for(span) for span in spans} == {"error"}
    assert len({span.trace_id for span in spans}) == 1
    assert {span.trace_state for span in spans} == {""}
    assert running.books.kept == {"error": 1, "manual": 0, "slow": 0}
    assert (running.books.unsampled, running.books.held, running.books.fragments) == (9, 0, 0)
    assert running.lost == {}


def test_an_exception_that_escapes_is_kept_with_its_event(door: Door, init: Init) -> None:
    running = init()
    door.ask(door.traced(Service()), "/boom")
    (span,) = running.spans
    assert kept_for(span) == "error"
    assert [event.name for event in span.events] == ["exception"]
    assert attributes(span)["error.type"] in ("500", "conformance.service.Boom")
    assert attributes(span)["url.path"] == "/boom"


def test_an_exception_that_is_swallowed_is_not_lost(door: Door, init: Init) -> None:
    running, service = init(), Service()

    def swallowing(incoming: Any) -> Any:
        swallow()
        return service.ok(incoming)

    service.endpoints["/swallow"] = swallowing
    assert door.ask(door.traced(service), "/swallow").status == 200
    spans = running.spans
    assert len(spans) == 2
    assert {kept_for(span) for span in spans} == {"error"}
    server = next(span for span in spans if span.kind == Span.SPAN_KIND_SERVER)
    assert server.status.code == 0
    assert attributes(server)["http.response.status_code"] == 200


def test_a_stream_that_breaks_is_kept(door: Door, init: Init) -> None:
    running = init()
    door.ask(door.traced(Service()), "/broken-stream")
    assert [kept_for(span) for span in running.spans] == ["error"]


@pytest.mark.parametrize("code", [200, 302, 404, 422, 429])
def test_a_request_that_does_not_fail_is_dropped(door: Door, init: Init, code: int) -> None:
    running = init()
    door.ask(door.traced(Service()), f"/status/{code}")
    assert running.spans == []
    assert running.books.unsampled == 1


def test_a_request_is_kept_when_the_application_asks_for_it(door: Door, init: Init) -> None:
    running, service = init(), Service()

    def wanted(incoming: Any) -> Any:
        with tracemw.span("refund"):
            tracemw.keep("refund over limit")
        return service.child(incoming)

    service.endpoints["/wanted"] = wanted
    door.ask(door.traced(service), "/wanted")
    spans = {span.name: span for span in running.spans}
    assert len(spans) == 4
    assert {kept_for(span) for span in spans.values()} == {"manual"}
    assert [name for name, span in spans.items() if "tracemw.keep.reason" in attributes(span)] == ["refund"]
    assert attributes(spans["refund"])["tracemw.keep.reason"] == "refund over limit"


def test_a_failure_is_the_reason_when_there_are_others(init: Init) -> None:
    running = init(keep_slow=0.0)
    with tracemw.span("job"):
        tracemw.keep("because")
        swallow()
    assert {kept_for(span) for span in running.spans} == {"error"}
    with tracemw.span("other"):
        tracemw.keep("because")
    assert kept_for(running.spans[-1]) == "manual"


def test_a_span_without_a_request_is_a_local_trace_too(init: Init) -> None:
    running = init()
    with tracemw.span("job.fine"), tracemw.span("step"):
        pass
    with pytest.raises(ValueError, match="no"), tracemw.span("job.failed"), tracemw.span("step"):
        raise ValueError("no")
    assert running.names == ["job.failed", "step"]


def test_no_reason_keeps_anything_without_keep_errors(door: Door, init: Init) -> None:
    running, service = init(keep_errors=False, keep_slow=0.0), Service()
    seen: list[bool] = []

    def fail(incoming: Any) -> Any:
        tracemw.keep("in vain")
        seen.append(trace.get_current_span().is_recording())
        swallow()
        return service.boom(incoming)

    service.endpoints["/fail"] = fail
    door.ask(door.traced(service), "/fail")
    assert running.spans == []
    assert seen == [False]
    assert running.books.unsampled == 2


@pytest.mark.parametrize("sampler", ["always_off", "parentbased_always_off"])
def test_always_off_keeps_nothing(init: Init, monkeypatch: pytest.MonkeyPatch, sampler: str) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    running = init(None)
    swallow()
    assert running.spans == []


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
def test_a_ratio_of_nothing_keeps_failures(init: Init, monkeypatch: pytest.MonkeyPatch, sampler: str) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    running = init(None)
    swallow()
    assert [kept_for(span) for span in running.spans] == ["error"]


def test_a_sampled_trace_is_as_it_is_without_the_recorder(init: Init) -> None:
    running = init(rules=(Rule("/sampled", 1.0),))
    app = tracemw.asgi.TraceMiddleware(failing)
    for path in ("/sampled", "/unsampled"):
        asyncio.run(calls.ask(app, path))
    by_path = {attributes(span).get("url.path"): span for span in running.spans}
    assert kept_for(by_path["/sampled"]) is None
    assert by_path["/sampled"].trace_state == "ot=th:0"
    assert kept_for(by_path["/unsampled"]) == "error"
    assert running.books.kept["error"] == 1
    assert len(running.spans) == 4


async def failing(scope: Any, receive: Any, send: Any) -> None:
    """Answer 500, with a child."""
    with tracemw.span("child"):
        pass
    await answer(send, 500)


async def answer(send: Any, status: int = 200, body: bytes = b"ok") -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize(
    ("setting", "error", "remedy"),
    [
        ({"keep_errors": "no"}, TypeError, "keep_errors takes True or False, not 'no'"),
        ({"keep_slow": "5s"}, TypeError, "keep_slow takes a number, not '5s'"),
        ({"keep_slow": True}, TypeError, "keep_slow takes a number, not True"),
        ({"keep_slow": -1}, ValueError, "keep_slow=-1 is not accepted: a number that is 0 or more"),
        ({"keep_slow": float("inf")}, ValueError, "keep_slow=inf is not accepted"),
        ({"keep_rate": None}, TypeError, "keep_rate takes a number, not None"),
        ({"keep_rate": float("nan")}, ValueError, "keep_rate=nan is not accepted"),
    ],
)
def test_a_setting_that_cannot_be_right_is_an_error(setting: Any, error: type[Exception], remedy: str) -> None:
    with pytest.raises(error, match=remedy):
        Sampling(**setting)


@pytest.mark.parametrize("setting", [{"keep_slow": 1e308}, {"keep_rate": 1e-300}, {"keep_rate": 1e308}])
def test_a_setting_at_the_edge_works(init: Init, setting: dict[str, float]) -> None:
    running = init(**setting)
    swallow()
    assert running.names == ["swallowed"]


# A refusal by another service is no failure by itself.


def call_answered(status: int, *, old: bool = False, error: Exception | None = None) -> None:
    tracer = trace.get_tracer("a client")
    with tracer.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes={"a": 1}) as span:
        span.set_attribute("http.status_code" if old else "http.response.status_code", status)
        if error is not None:
            span.record_exception(error)
        span.set_status(StatusCode.ERROR)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(("status", "is_kept"), [(400, False), (404, False), (499, False), (500, True), (399, True)])
def test_a_client_span_counts_unless_all_that_failed_was_a_refusal(
    init: Init, status: int, old: bool, is_kept: bool
) -> None:
    running = init()
    with tracemw.span("job"):
        call_answered(status, old=old)
    assert bool(running.spans) is is_kept
    call_answered(status, old=old)
    assert len(running.spans) == (3 if is_kept else 0)


def test_a_refusal_whose_body_breaks_off_is_a_failure(init: Init) -> None:
    running = init()
    with tracemw.span("job"):
        call_answered(404, error=ConnectionResetError())
    assert running.names == ["GET", "job"]


def test_a_refusal_that_the_caller_makes_an_error_of_is_kept_whole(init: Init) -> None:
    running = init()
    transport = tracemw.httpx.TraceTransport(httpx.MockTransport(lambda request: httpx.Response(404)))
    with httpx.Client(transport=transport) as client:
        with tracemw.span("job"):
            client.get("http://stock.example/7")
        assert running.spans == []
        with pytest.raises(httpx.HTTPStatusError), tracemw.span("job"):
            client.get("http://stock.example/7").raise_for_status()
    call = next(span for span in running.spans if span.kind == Span.SPAN_KIND_CLIENT)
    assert running.names == ["GET", "job"]
    assert attributes(call)["url.full"] == "http://stock.example/7"
    assert attributes(call)["http.response.status_code"] == 404


# Slow is slow to the first byte.

SLOW = 0.15


async def slow_to_begin(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(SLOW)
    await answer(send)


async def slow_to_end(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await asyncio.sleep(SLOW)
    await send({"type": "http.response.body", "body": b"b"})


def wsgi_slow_to_begin(environ: Any, start_response: Any) -> Any:
    time.sleep(SLOW)
    start_response("200 OK", [])
    return [b"ok"]


def wsgi_slow_to_its_first_chunk(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b""
    time.sleep(SLOW)
    yield b"ok"


def wsgi_slow_to_end(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"a"
    time.sleep(SLOW)
    yield b"b"


def wsgi_slow_to_be_sent(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](io.BytesIO(b"content"))


@pytest.mark.parametrize(("app", "is_kept"), [(slow_to_begin, True), (slow_to_end, False)])
def test_an_asgi_request_is_slow_by_the_time_to_its_first_byte(init: Init, app: Any, is_kept: bool) -> None:
    running = init(keep_slow=SLOW / 2)
    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    assert [kept_for(span) for span in running.spans] == ["slow"] * is_kept


@pytest.mark.parametrize(
    ("app", "is_kept"),
    [(wsgi_slow_to_begin, True), (wsgi_slow_to_its_first_chunk, True), (wsgi_slow_to_end, False)],
)
def test_a_wsgi_request_is_slow_by_the_time_to_the_first_byte_of_its_body(init: Init, app: Any, is_kept: bool) -> None:
    running = init(keep_slow=SLOW / 2)
    calls.WSGIServer().ask(tracemw.wsgi.TraceMiddleware(app))
    assert [kept_for(span) for span in running.spans] == ["slow"] * is_kept


def test_a_file_that_takes_its_time_to_be_sent_is_not_slow(init: Init) -> None:
    from wsgiref.util import FileWrapper

    running = init(keep_slow=SLOW / 2)
    app = tracemw.wsgi.TraceMiddleware(wsgi_slow_to_be_sent)
    environ = {**calls.environ(), "wsgi.file_wrapper": FileWrapper}
    body: Any = app(environ, calls.WSGIServer().start_response)
    time.sleep(SLOW)
    body.close()
    assert running.spans == []
    assert running.books.unsampled == 1


def test_what_is_written_is_the_first_byte_too(init: Init) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        write(b"")
        if environ["PATH_INFO"] == "/slow":
            time.sleep(SLOW)
        write(b"first")
        time.sleep(SLOW)
        write(b"second")
        return []

    running = init(keep_slow=SLOW / 2)
    for path in ("/slow", "/fast"):
        assert calls.WSGIServer().ask(tracemw.wsgi.TraceMiddleware(app), path).body == b"firstsecond"
    assert [attributes(span)["url.path"] for span in running.spans] == ["/slow"]


def test_neither_is_a_stream_whose_span_somebody_else_has_started(init: Init) -> None:
    running = init(keep_slow=SLOW / 2)
    native = trace.get_tracer("native").start_as_current_span("GET /native", kind=SpanKind.SERVER)
    app = tracemw.asgi.TraceMiddleware(slow_to_end)

    async def served(scope: Any, receive: Any, send: Any) -> None:
        with native:
            await app(scope, receive, send)

    asyncio.run(calls.ask(served))
    assert running.spans == []
    assert running.books.unsampled == 1


def test_slow_is_five_seconds_unless_told_otherwise_and_never_with_none(init: Init) -> None:
    tracer = trace.get_tracer("test")
    second = 10**9
    for options, expected in (({}, ["5 s"]), ({"keep_slow": None}, []), ({"keep_slow": 4.5}, ["4.999 s", "5 s"])):
        running = init(**options)
        before = len(running.spans)
        for name, lasted in (("5 s", 5 * second), ("4.999 s", 4_999_000_000), ("4 s", 4 * second)):
            span = tracer.start_span(name, start_time=second)
            span.end(second + lasted)
        assert sorted(span.name for span in running.spans[before:]) == expected


def test_a_websocket_is_never_slow_and_is_kept_when_it_fails(init: Init) -> None:
    from websockets.sync.client import connect

    running = init(keep_slow=SLOW / 2)

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        if await socket.receive_text() == "fail":
            raise RuntimeError("told to")
        await socket.close()

    app = Starlette(routes=[WebSocketRoute("/talk/{word}", talk)])
    app.add_middleware(tracemw.starlette.TraceMiddleware)
    with uvicorn_serving(app) as url:
        for word in ("fine", "fail"):
            with connect(f"{url.replace('http', 'ws', 1)}/talk/{word}") as socket:
                time.sleep(SLOW)
                socket.send(word)
                try:
                    socket.recv()
                except Exception:
                    pass
        wait_until(lambda: running.books.unsampled + running.books.kept["error"] == 2)
        (span,) = running.spans
    assert (span.name, kept_for(span)) == ("GET /talk/{word}", "error")
    assert attributes(span)["url.path"] == "/talk/fail"


def test_a_websocket_is_not_slow_where_everything_else_is(init: Init) -> None:
    running = init(keep_slow=0.0)

    async def talk(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        pass

    scope = {"type": "websocket", "path": "/talk", "headers": [], "query_string": b""}
    asyncio.run(tracemw.asgi.TraceMiddleware(talk)(scope, receive, send))
    assert running.spans == []
    assert running.books.unsampled == 1


# What a kept span says is what it would say sampled.


def comparable(spans: Spans) -> list[Any]:
    """All that two recordings of the same request have in common, and nothing of when and by which ids."""
    names = {span.span_id: span.name for span in spans}
    return sorted(
        (
            span.name,
            span.kind,
            sorted((key, repr(value)) for key, value in attributes(span).items() if key != "tracemw.kept"),
            [(event.name, sorted(map(str, event.attributes))) for event in span.events],
            [(link.trace_id, link.span_id, sorted(map(str, link.attributes))) for link in span.links],
            (span.status.code, span.status.message),
            (span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count),
            names.get(span.parent_span_id, span.parent_span_id.hex()),
        )
        for span in spans
    )


def both_ways(init: Init, backend: Backend, work: Callable[[], object], **more: Any) -> tuple[Spans, Spans]:
    """Do the same sampled, and unsampled and kept."""
    found: list[Spans] = []
    for sampling in ({"ratio": 1.0}, {"ratio": 0.0, "keep_slow": 0.0}):
        running = init(**sampling, **more)
        before = len(backend.spans)
        work()
        found.append(running.spans[before:])
    sampled, kept = found
    assert all(kept_for(span) is None for span in sampled)
    assert all(kept_for(span) in ("error", "slow", "manual") for span in kept)
    assert len({kept_for(span) for span in kept}) == 1
    assert comparable(kept) == comparable(sampled)
    return sampled, kept


PATHS = [
    "/ok",
    "/child",
    "/order/7",
    "/shops/3/items/7",
    "/status/204",
    "/status/404",
    "/status/503",
    "/nowhere",
    "/boom",
    "/broken-stream",
    "/stream/2",
    "/baggage",
    "/kinds",
    "/own-header",
    "/file",
]
HEADERS = [
    ("user-agent", "curl/8"),
    ("x-team", "a"),
    ("x-forwarded-for", "198.51.100.7"),
    ("x-forwarded-proto", "https"),
    ("baggage", "tenant.id=7"),
]


@pytest.mark.parametrize("root", ["", "/root"])
@pytest.mark.parametrize("path", PATHS)
def test_a_kept_request_says_what_a_sampled_one_says(
    door: Door, init: Init, backend: Backend, path: str, root: str
) -> None:
    def work() -> None:
        traced = door.traced(
            Service(),
            capture_request_headers=["x-team", "accept"],
            capture_response_headers=["x-kind", "content-type"],
            trusted_proxies="192.0.2.0/24",
        )
        headers = [*HEADERS, ("accept", "text/html"), ("accept", "*/*")]
        door.ask(traced, path, query=b"a=1&sig=secret", headers=headers, root=root)

    sampled, _ = both_ways(init, backend, work, more={"baggage": ("tenant.id",)})
    assert sampled


@pytest.mark.parametrize("method", ["GET", "BREW"])
@pytest.mark.parametrize("metrics", [False, True])
def test_so_it_does_with_hooks_a_public_edge_and_metrics(
    door: Door, init: Init, backend: Backend, method: str, metrics: bool
) -> None:
    class Silent(otel_metrics.MeterProvider):
        def get_meter(self, *arguments: Any, **more: Any) -> otel_metrics.Meter:
            return otel_metrics.NoOpMeter("silent")

    def on_request(span: Any, facts: Any) -> None:
        span.set_attributes({"hook.request": facts.path, "url.scheme": "gopher"})

    def on_response(span: Any, facts: Any, status: int | None) -> None:
        span.set_attribute("hook.response", f"{status} {span.attributes['url.path']} {facts.headers.get('x-team')}")

    def work() -> None:
        traced = door.traced(
            Service(),
            on_request=on_request,
            on_response=on_response,
            span_name=lambda facts, route: f"{facts.method} of {route}",
            trust_inbound=False,
            **({"meter_provider": Silent()} if metrics else {}),
        )
        headers = [*HEADERS, ("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01")]
        door.ask(traced, "/order/7", method=method, headers=headers)

    sampled, _ = both_ways(init, backend, work)
    assert [attributes(span)["url.scheme"] for span in sampled] == ["gopher"]
    assert len(sampled[0].links) == 1


def rich() -> None:
    """Use a span in every way that there is."""
    tracer = trace.get_tracer("rich", "1")
    other = SpanContext(7, 8, is_remote=True)
    with tracer.start_as_current_span("first", attributes={"a": 1, "b": (1, 2)}, links=[Link(other, {"x": 1})]) as span:
        span.update_name("renamed")
        span.set_attribute("list", ["a", "b"])
        span.set_attribute("a", "again")
        span.set_attributes({"c": 1.5, "d": True, "e": b"bytes", "": "no key", "f": None})
        odd: Any = {1: "no key", "odd": object()}
        span.set_attributes(odd)
        span.add_event("event", {"g": 1})
        span.add_link(SpanContext(9, 10, is_remote=True))
        span.record_exception(ValueError("noted"))
        span.set_status(Status(StatusCode.OK))
        for number in range(20):
            span.set_attribute(f"many.{number}", "x" * number)


LIMITS = [
    {},
    {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "12"},
    {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "4"},
    {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0"},
    {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "3"},
    {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "5", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "7"},
    {"OTEL_SPAN_EVENT_COUNT_LIMIT": "1", "OTEL_SPAN_LINK_COUNT_LIMIT": "1"},
]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.filterwarnings("ignore")
def test_whatever_is_done_to_a_span_limits_included(
    init: Init, backend: Backend, monkeypatch: pytest.MonkeyPatch, limits: dict[str, str]
) -> None:
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    logging.disable(logging.WARNING)
    try:
        both_ways(init, backend, rich)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            span: Any = trace.get_current_span()
            span.set_attributes({"own": [1, 2], "": 1, "url.path": "/rewritten"})
            for number in range(6):
                tracemw.annotate(**{f"n.{number}": "x" * number})
            rich()
            await answer(send)

        both_ways(init, backend, lambda: asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app), query=b"a=1")))
    finally:
        logging.disable(logging.NOTSET)


def test_an_application_that_reads_the_attributes_during_the_request_finds_all_of_them(init: Init) -> None:
    init()
    seen: list[Mapping[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        span: Any = trace.get_current_span()
        span.set_attribute("before", 1)
        seen.append(dict(span.attributes))
        span.set_attribute("url.path", "/mine")
        span.set_attribute("after", 2)
        seen.append(dict(span.attributes))
        seen.append(json.loads(span.to_json())["attributes"])
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app), "/seven"))
    assert seen[0].items() >= {"before": 1, "url.path": "/seven", "http.request.method": "GET"}.items()
    assert seen[1] == seen[2] == {**seen[0], "url.path": "/mine", "after": 2}


@pytest.mark.parametrize("reads", [False, True])
def test_a_request_of_which_attributes_cannot_be_made_is_kept_without_them(
    init: Init, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    monkeypatch.setattr(guard, "reraise_own_faults", False)
    monkeypatch.setattr(guard, "faults", Counter())
    running = init()
    seen: list[Mapping[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        span: Any = trace.get_current_span()
        span.set_attribute("own", 1)
        if reads:
            seen.append(dict(span.attributes))
        await failing(scope, receive, send)

    scope = {**calls.http_scope("/x"), "query_string": "a=1"}  # a str, as from no server
    answered = asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app), scope=scope))
    assert answered.status == 500
    assert seen == [{"own": 1}] * reads
    assert running.names == ["GET", "child"]
    server = next(span for span in running.spans if span.kind == Span.SPAN_KIND_SERVER)
    assert attributes(server) == {
        "own": 1,
        "http.response.status_code": 500,
        "error.type": "500",
        "tracemw.kept": "error",
    }
    assert guard.faults == {"tracing failed in HeldSpan.settle; the request is not affected": 1}
    assert running.tracing.stats().ended == 2


# Frameworks and middleware change what the server gave; the span says what came.


class Rewriting:
    """Middleware within the door that makes the request another one, as far as the application can see."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["client"], scope["scheme"], scope["server"] = ("198.51.100.9", 1), "https", ("inner.example", 443)
        scope["query_string"], scope["http_version"], scope["method"] = b"rewritten", "9", "POST"
        scope["headers"][:] = [(b"host", b"inner.example"), (b"user-agent", b"inner"), (b"x-team", b"inner")]
        scope["root_path"], scope["path"] = "/inner", "/inner/rewritten"
        await self._app(scope, receive, send)


@pytest.mark.parametrize("kind", [name for name, kind in DOORS.items() if issubclass(kind, ASGIDoor)])
def test_a_scope_that_is_changed_within_the_door_changes_nothing_of_what_the_span_says(
    init: Init, backend: Backend, kind: str
) -> None:
    door = DOORS[kind]()
    assert isinstance(door, ASGIDoor)

    def work() -> None:
        app = door.wrap(Rewriting(door.application(Service())), capture_request_headers=["x-team"])
        door.ask(app, "/order/7", query=b"a=1", headers=[("x-team", "outer")])

    _, (kept,) = both_ways(init, backend, work)
    said = attributes(kept)
    assert (said["url.path"], said["url.query"], said["url.scheme"]) == ("/order/7", "a=1", "http")
    assert (said["client.address"], said["server.address"]) == ("192.0.2.7", "shop.example")
    assert said["http.request.header.x-team"] == ["outer"]


@pytest.mark.parametrize("kind", ["wsgi", "flask"])
def test_nor_does_an_environ(init: Init, backend: Backend, kind: str) -> None:
    door = DOORS[kind]()

    def work() -> None:
        inner = ProxyFix(door.application(Service()), x_for=1, x_proto=1, x_host=1, x_prefix=1)
        headers = [*HEADERS, ("x-forwarded-host", "inner.example"), ("x-forwarded-prefix", "/inner")]
        door.ask(door.wrap(inner), "/order/7", headers=headers)

    _, (kept,) = both_ways(init, backend, work)
    said = attributes(kept)
    assert (said["url.path"], said["url.scheme"]) == ("/order/7", "http")
    assert (said["client.address"], said["server.address"]) == ("192.0.2.7", "shop.example")


# One local trace: from the request's local root to whatever happens beneath it, wherever that runs.


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
    assert running.books.kept["error"] == 2
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
    assert running.books.held == running.books.fragments == 0


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
def test_a_wrapper_around_a_span_cuts_nothing_out(init: Init, depth: int) -> None:
    running = init()
    root, (child,) = open_children()
    for span in (root, child):
        wrapped = span
        for _ in range(depth):
            wrapped = Wrapper(wrapped)
        with trace.use_span(wrapped):
            swallow("beneath")
    assert running.books.held == 2
    child.end()
    root.end()
    assert running.names == ["beneath", "beneath", "child", "root"]
    assert {kept_for(span) for span in running.spans} == {"error"}
    root, _ = open_children(0)
    with trace.use_span(Wrapper(root)):
        tracemw.keep("because")
    root.end()
    assert running.books.kept["manual"] == 1


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
    assert running.books.kept["error"] == bool(expected)
    assert running.books.unsampled == 3 - len(expected)


def open_children(number: int = 1) -> tuple[Any, list[Any]]:
    tracer = trace.get_tracer("test")
    root: Any = tracer.start_span("root", Context())
    beneath = trace.set_span_in_context(root, Context())
    return root, [tracer.start_span("child", beneath) for _ in range(number)]


SECOND = 10**9


@pytest.mark.parametrize("is_kept", [True, False])
def test_spans_that_end_later_follow_for_thirty_seconds(init: Init, is_kept: bool) -> None:
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
    assert running.books.unsampled == (0 if is_kept else 5)


def test_a_span_that_begins_beneath_a_root_that_was_dropped_is_not_recorded(init: Init) -> None:
    running = init()
    root, (child,) = open_children()
    root.end()
    for parent in (root, child):
        later = trace.get_tracer("x").start_span("later", trace.set_span_in_context(parent, Context()))
        assert not later.is_recording()
    child.end()
    assert running.books.unsampled == 4


def test_a_failure_after_the_end_does_not_change_the_decision(init: Init) -> None:
    running = init()
    root, (child,) = open_children()
    root.end()
    child.set_status(StatusCode.ERROR)
    child.end()
    assert running.spans == []
    assert running.books.unsampled == 2


def test_to_end_a_root_twice_decides_once(init: Init, caplog: pytest.LogCaptureFixture) -> None:
    running = init()
    root, _ = open_children()
    root.set_status(StatusCode.ERROR)
    root.end()
    root.end()
    assert running.names == ["root"]
    assert running.books.kept["error"] == 1


@pytest.mark.parametrize("is_kept", [True, False])
def test_each_span_is_delivered_or_counted_once_however_its_end_meets_that_of_the_root(
    init: Init, is_kept: bool
) -> None:
    running = init(keep_rate=1e9, more=None)
    rounds, workers, each = 150, 8, 6
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(workers + 1) as pool:
            for _ in range(rounds):
                root, children = open_children(workers * each)
                if is_kept:
                    root.set_status(StatusCode.ERROR)
                start = threading.Barrier(workers + 1)

                def end(spans: list[Any], start: threading.Barrier = start) -> None:
                    start.wait()
                    for span in spans:
                        span.end()

                shares = [children[number::workers] for number in range(workers)]
                list(pool.map(end, [*shares, [root]]))
                running.tracing.flush()
    finally:
        sys.setswitchinterval(interval)
    total = rounds * (workers * each + 1)
    books = running.books
    del root, children
    gc.collect()
    assert (books.held, books.fragments, running.lost) == (0, 0, {})
    assert books.unsampled == (0 if is_kept else total)
    assert len(running.spans) == (total if is_kept else 0)
    assert len({span.span_id for span in running.spans}) == len(running.spans)


def test_so_it_is_where_limits_bite(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "TRACES", 3)
    monkeypatch.setattr(keeping, "SPANS", 20)
    monkeypatch.setattr(keeping, "SPANS_PER_TRACE", 8)
    running = init(keep_rate=1e9)
    rounds, workers, each = 60, 8, 10
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def serve(number: int) -> None:
        for _ in range(rounds):
            root, children = open_children(each)
            for child in children:
                child.end()
            if number % 2:
                root.set_status(StatusCode.ERROR)
            root.end()
        running.tracing.flush()

    try:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(serve, range(workers)))
    finally:
        sys.setswitchinterval(interval)
    gc.collect()
    books = running.books
    assert (books.held, books.fragments) == (0, 0)
    assert len({span.span_id for span in running.spans}) == len(running.spans)
    assert len(running.spans) + books.unsampled + sum(books.lost.values()) == rounds * workers * (each + 1)
    assert running.names.count("root") == books.kept["error"] == rounds * workers / 2


@pytest.mark.parametrize("fate", ["abandoned", "dropped"])
def test_at_no_instant_does_a_span_count_twice_or_not_at_all(init: Init, fate: str) -> None:
    running = init()
    ended = 0  # of which each has been counted
    begun = 0  # of which each may be
    stop = threading.Event()

    def work() -> None:
        nonlocal ended, begun
        while not stop.is_set():
            root, children = open_children(5)
            begun += 5 + (fate == "dropped")
            for child in children:
                child.end()
            if fate == "dropped":
                root.end()
            del root, children, child
            ended = begun

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    worker = threading.Thread(target=work)
    worker.start()
    try:
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            at_least = ended
            counted = running.tracing.stats().ended
            assert at_least <= counted <= begun
    finally:
        stop.set()
        worker.join()
        sys.setswitchinterval(interval)
    assert running.tracing.stats().ended == ended > 0


def test_a_signal_handler_that_raises_in_the_midst_of_a_release_loses_no_count(init: Init) -> None:
    class InterruptedAtWorkError(Exception):
        pass

    running = init()
    interrupted = ended = 0

    def interrupt(number: int, frame: Any) -> None:
        if frame.f_code.co_name == "_release":
            raise InterruptedAtWorkError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        deadline = time.monotonic() + 60
        while interrupted < 40 and time.monotonic() < deadline:
            root, children = open_children(500)
            for child in children:
                child.end()
            ended += 501
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 3e-4))
            try:
                root.end()
            except InterruptedAtWorkError:
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            del root, children, child
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    gc.collect()
    books = running.books
    assert interrupted >= 40
    assert (books.held, books.fragments) == (0, 0)
    assert running.tracing.stats().ended == ended


def test_a_root_that_is_never_ended_leaves_nothing_but_a_count(init: Init) -> None:
    running = init()
    root, children = open_children(3)
    for child in children[:2]:
        child.end()
    assert (running.books.held, running.books.fragments) == (2, 1)
    del root, children, child
    gc.collect()
    assert (running.books.held, running.books.fragments) == (0, 0)
    assert running.lost == {"abandoned": 2}
    assert running.spans == []


# The limits.


def test_a_local_trace_holds_so_many_spans(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SPANS_PER_TRACE", 5)
    running = init()
    with tracemw.span("job"):
        for _ in range(7):
            with tracemw.span("step"):
                pass
        swallow()
    assert running.names == ["job", *["step"] * 4, "swallowed"]  # what has been held for longest gives way
    assert running.lost == {"held_spans_per_trace": 3}
    assert running.books.held == 0


def test_what_has_failed_counts_though_it_has_given_way(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SPANS_PER_TRACE", 2)
    running = init()
    with tracemw.span("job"):
        swallow()
        for _ in range(3):
            with tracemw.span("step"):
                pass
    assert running.names == ["job", "step", "step"]
    assert {kept_for(span) for span in running.spans} == {"error"}


def test_a_span_that_ends_while_its_trace_gives_way_is_counted_with_it(
    init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "TRACES", 1)
    running = init()
    (one, (first, second, third)), (other, (elsewhere,)) = open_children(3), open_children()
    first.end()
    measured = keeping.Fragment.__len__

    def length(fragment: Any) -> int:  # where the interpreter may change threads
        monkeypatch.setattr(keeping.Fragment, "__len__", measured)
        thread = threading.Thread(target=elsewhere.end)
        thread.start()
        thread.join()
        return measured(fragment)

    monkeypatch.setattr(keeping.Fragment, "__len__", length)
    second.end()
    assert running.lost == {"held_traces": 2}
    third.end()
    one.set_status(StatusCode.ERROR)
    one.end()
    other.end()
    assert running.names == ["child", "root"]
    assert running.lost == {"held_traces": 3}
    assert running.books.held == 0


def test_so_many_spans_are_held_in_all(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SPANS", 3)
    running = init()
    (one, some), (other, others) = open_children(2), open_children(2)
    for child in (*some, *others):
        child.end()
    assert running.books.held == 2
    for root in (one, other):
        root.set_status(StatusCode.ERROR)
        root.end()
    assert running.names == ["child"] * 2 + ["root"] * 2  # room is made by what has been held for longest
    assert running.lost == {"held_spans": 2}
    assert running.books.held == 0


def test_so_many_local_traces_hold_spans(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "TRACES", 2)
    running = init()
    inflight = [open_children() for _ in range(3)]
    for _, (child,) in inflight:
        child.end()
    for root, _ in inflight:
        root.set_status(StatusCode.ERROR)
        root.end()
    assert running.names == ["child"] * 2 + ["root"] * 3
    assert running.lost == {"held_traces": 1}
    # They have ended, though somebody still has them: there is room again.
    root, (child,) = open_children()
    child.end()
    assert running.lost == {"held_traces": 1}
    del root, child, inflight


@pytest.mark.parametrize("limit", ["TRACES", "SPANS"])
def test_connections_that_last_do_not_take_the_room_of_requests(
    init: Init, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(keeping, limit, 10)
    running = init(keep_rate=1e9)
    connections = [open_children() for _ in range(10)]
    for _, (child,) in connections:
        child.end()
    for _ in range(100):
        root, children = open_children(3)
        for child in children:
            child.end()
        root.set_status(StatusCode.ERROR)
        root.end()
    assert Counter(running.names) == {"child": 300, "root": 100}
    assert set(running.lost) == {f"held_{limit.lower()}"}
    assert sum(running.lost.values()) <= 10
    assert len(running.books._by_age) < 30
    del connections


def test_so_many_are_kept_in_a_second(init: Init) -> None:
    running = init(keep_rate=0.001)
    for _ in range(5):
        with tracemw.span("job"):
            swallow()
    assert running.names == ["job", "swallowed"]
    assert running.lost == {"keep_rate": 8}
    running = init(keep_rate=0)
    swallow()
    assert running.names == ["job", "swallowed"]
    assert running.lost == {"keep_rate": 1}


def test_slow_ones_leave_half_of_the_rate_to_errors_and_to_what_is_asked_for(init: Init) -> None:
    running = init(keep_slow=5.0, keep_rate=100)
    for _ in range(1000):
        slow = trace.get_tracer("test").start_span("slow", start_time=time.time_ns() - 6 * SECOND)
        slow.end()
    for _ in range(20):
        with tracemw.span("wanted"):
            tracemw.keep("because")
        swallow()
    found = Counter(running.names)
    assert (found["wanted"], found["swallowed"]) == (20, 20)
    assert 50 <= found["slow"] < 100
    assert running.lost == {"keep_rate": 1000 - found["slow"]}


@pytest.mark.parametrize("rate", [0.001, 1, 2])
def test_a_low_rate_keeps_a_slow_one(init: Init, rate: float) -> None:
    running = init(keep_slow=0.0, keep_rate=rate)
    for _ in range(2):
        with tracemw.span("slow"):
            pass
    assert running.names == ["slow"]
    assert running.lost == {"keep_rate": 1}


class Clock:
    """A clock of the flight recorder's that goes on when it is told to."""

    now = 1000 * SECOND

    def monotonic_ns(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(keeping, "time", clock)
    return clock


def test_the_rate_is_that_of_every_second(init: Init, clock: Clock) -> None:
    running = init(keep_rate=3)
    kept = []
    for _ in range(4):
        before = running.books.kept["error"]
        for _ in range(10):
            swallow()
        kept.append(running.books.kept["error"] - before)
        clock.now += SECOND
    assert kept == [3, 3, 3, 3]
    clock.now += 60 * SECOND
    for _ in range(10):
        swallow()
    assert running.books.kept["error"] == 15


def fails(running: Running, method: str = "GET", **attributes: Any) -> bool:
    """Have a request fail; tell whether it is kept."""
    before = running.books.kept["error"]
    more = {"http.request.method": method, **attributes}
    span = trace.get_tracer("test").start_span(method, kind=SpanKind.SERVER, attributes=more)
    if "http.route" in attributes:
        span.update_name(f"{method} {attributes['http.route']}")
    span.set_status(StatusCode.ERROR)
    span.end()
    return running.books.kept["error"] > before


@pytest.mark.parametrize("rate", [10, 100, 1000])
@pytest.mark.parametrize("noisy", [1, 2, 5])
def test_noisy_routes_leave_room_for_a_quiet_one(init: Init, clock: Clock, rate: int, noisy: int) -> None:
    running = init(keep_rate=rate)
    kept: Counter[str] = Counter()
    for moment in range(4000):  # four seconds, in which the noisy ones ask ten times the rate
        clock.now += SECOND // 1000
        for number in range(noisy):
            for _ in range(max(10 * rate // 1000, 1)):
                kept["noisy"] += fails(running, **{"http.route": f"/noisy/{number}"})
        quietly = moment >= 1000 and moment % (10 * 1000 // rate or 1) == 0
        if quietly:  # a tenth of the rate
            kept["quiet"] += fails(running, **{"http.route": "/quiet"})
            kept["quiet in all"] += 1
    assert kept["quiet"] >= 0.9 * kept["quiet in all"] > 0
    assert 3.5 * rate <= kept["noisy"] + kept["quiet"] <= 5 * rate + 1


def test_a_burst_of_a_quiet_route_finds_room_beside_noisy_ones(init: Init, clock: Clock) -> None:
    running = init(keep_rate=100)
    for _ in range(2000):
        clock.now += SECOND // 1000
        fails(running, **{"http.route": "/upload/{name}"})
        fails(running, **{"http.route": "/import"})
    kept = 0
    for _ in range(60):  # within three quarters of a second
        clock.now += SECOND // 80
        fails(running, **{"http.route": "/upload/{name}"})
        kept += fails(running, **{"http.route": "/checkout"})
    assert kept >= 54


def test_one_route_alone_has_the_whole_rate(init: Init, clock: Clock) -> None:
    running = init(keep_rate=100)
    kept = 0
    for _ in range(4000):
        clock.now += SECOND // 1000
        kept += fails(running, **{"http.route": "/only"})
    assert 450 <= kept <= 501  # those of a second at once, half a second for others to find room, and 100 in each


def test_a_method_is_a_route_of_its_own(init: Init, clock: Clock) -> None:
    running = init(keep_rate=10)
    for _ in range(100):
        fails(running, **{"http.route": "/cart"})
    clock.now += SECOND // 2
    for _ in range(100):
        fails(running, **{"http.route": "/cart"})
    clock.now += SECOND // 10
    fails(running, **{"http.route": "/cart"})
    assert fails(running, "POST", **{"http.route": "/cart"})


def test_paths_without_a_route_are_all_one(init: Init, clock: Clock) -> None:
    running = init(keep_rate=100)
    numbers = iter(range(10**6))
    for _ in range(2000):
        clock.now += SECOND // 1000
        for _ in range(3):
            fails(running, **{"url.path": f"/{next(numbers)}"})
    kept = 0
    for _ in range(60):
        clock.now += SECOND // 80
        fails(running, **{"url.path": f"/{next(numbers)}"})
        kept += fails(running, **{"http.route": "/checkout"})
    assert kept == 60


def test_routes_that_are_made_up_are_few_and_cost_no_more_than_others(init: Init, clock: Clock) -> None:
    running = init(keep_rate=10_000)
    recorder = running.tracing._recorder
    assert recorder is not None
    for number in range(30_000):
        if number % 100 == 0:
            clock.now += SECOND // 1000
        swallow(f"job {number}")
        assert len(recorder._shares._owing_until) <= 101  # what is too many is one
    assert running.books.kept["error"] + running.lost["keep_rate"] == 30_000
    assert running.tracing.stats().kept["error"] == running.books.kept["error"]


# The life of a process.


def test_a_new_init_keeps_by_its_own_settings_and_what_was_held_before_is_counted(init: Init) -> None:
    first = init()
    root, (held, later) = open_children(2)
    held.end()
    second = init(keep_slow=0.0)
    later.end()
    root.end()
    gc.collect()
    assert second.names == ["child", "root"]
    assert {kept_for(span) for span in second.spans} == {"slow"}
    assert first.lost == {"abandoned": 1}
    assert (first.books.held, first.books.fragments) == (0, 0)
    assert (second.books.held, second.books.fragments) == (0, 0)
    third = init(1.0)
    swallow()
    assert kept_for(third.spans[-1]) is None
    fourth = init()
    swallow()
    assert kept_for(fourth.spans[-1]) == "error"


def test_a_forked_child_keeps_what_it_records_itself_and_leaves_its_parents_to_the_parent(backend: Backend) -> None:
    code = (
        "import os, tracemw\n"
        "from tracemw.sampling import Sampling\n"
        "tracing = tracemw.init('shop', sampling=Sampling(ratio=0.0))\n"
        "with tracemw.span('root'):\n"
        "    with tracemw.span('before'): pass\n"
        "    pid = os.fork()\n"
        "    who = 'parent' if pid else 'child'\n"
        "    with tracemw.span(who): tracemw.keep(who)\n"
        "if not pid:\n"
        "    with tracemw.span('own'), tracemw.span('beneath'): tracemw.keep('own')\n"
        "books = tracing._recorder.books\n"
        "tracing.flush()\n"
        "if pid: os.waitpid(pid, 0)\n"
        "print(who, books.held, books.fragments, books.kept['manual'], flush=True)\n"
    )
    with process("-W", "error", "-c", code, env={"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}) as running:
        output, _ = running.communicate(timeout=30)
    assert sorted(output.splitlines()) == ["child 0 0 2", "parent 0 0 1"]
    assert Counter(backend.names) == {"root": 2, "before": 1, "child": 1, "parent": 1, "own": 1, "beneath": 1}


def test_a_forked_child_that_ends_a_root_of_its_parents_delivers_its_own_copy_only(backend: Backend) -> None:
    code = (
        "import os, tracemw\n"
        "from tracemw.sampling import Sampling\n"
        "tracing = tracemw.init('shop', sampling=Sampling(ratio=0.0))\n"
        "with tracemw.span('root'):\n"
        "    with tracemw.span('before'): tracemw.keep('both')\n"
        "    pid = os.fork()\n"
        "tracing.flush()\n"
        "if pid: os.waitpid(pid, 0)\n"
        "stats = tracing.stats()\n"
        "print('parent' if pid else 'child', stats.ended, stats.held, stats.exported, flush=True)\n"
    )
    with process("-W", "error", "-c", code, env={"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}) as running:
        output, _ = running.communicate(timeout=30)
    assert sorted(output.splitlines()) == ["child 1 0 1", "parent 2 0 2"]
    assert Counter(backend.names) == {"root": 2, "before": 1}


def test_a_forked_child_has_a_rate_of_its_own(backend: Backend) -> None:
    code = (
        "import os, tracemw\n"
        "from tracemw.sampling import Sampling\n"
        "tracing = tracemw.init('shop', sampling=Sampling(ratio=0.0, keep_rate=0.001))\n"
        "def keep(name):\n"
        "    with tracemw.span(name): tracemw.keep('because')\n"
        "keep('before')\n"
        "pid = os.fork()\n"
        "keep('parent' if pid else 'child')\n"
        "tracing.flush()\n"
        "if pid: os.waitpid(pid, 0)\n"
    )
    with process("-W", "error", "-c", code, env={"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}) as running:
        running.communicate(timeout=30)
    assert Counter(backend.names) == {"before": 1, "child": 1}


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_span_that_somebody_holds_on_to_does_not_hold_the_request(init: Init, is_kept: bool) -> None:
    class Input(io.BytesIO):
        pass

    running = init()
    spans = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        spans.append(trace.get_current_span())
        if is_kept:
            tracemw.keep("because")
        start_response("200 OK", [])
        return [b"ok"]

    given = Input()
    more: Any = {"wsgi.input": given}
    calls.WSGIServer().ask(tracemw.wsgi.TraceMiddleware(app), **more)
    ref = weakref.ref(given)
    del given, more
    gc.collect()
    assert ref() is None
    assert len(running.spans) == is_kept
    assert len(spans) == 1


# Other people's span processors.


class Theirs(SpanProcessor):
    """Sees spans, and changes them as some do."""

    def __init__(self, *, replaces: bool = False) -> None:
        self.started: list[tuple[str, dict[str, Any], bool, bool]] = []
        self.ended: list[ReadableSpan] = []
        self.said: list[dict[str, Any]] = []
        self._replaces = replaces

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        recording, sampled = span.is_recording(), span.get_span_context().trace_flags.sampled
        self.started.append((span.name, dict(span.attributes or {}), recording, sampled))
        span.set_attribute("theirs.start", "yes")

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)
        self.said.append(dict(span.attributes or {}))
        if self._replaces:
            span._attributes = {**(span.attributes or {}), "theirs.end": "yes", "url.path": "[Scrubbed]"}


@pytest.mark.parametrize("replaces", [False, True])
def test_other_span_processors_see_unsampled_spans_start_and_end_with_all_their_attributes_when_asked_to(
    door: Door, init: Init, replaces: bool
) -> None:
    running, theirs = init(show_unsampled=True), Theirs(replaces=replaces)
    running.add(theirs)
    traced = door.traced(Service())
    for path in ("/status/200", "/status/500"):
        door.ask(traced, path)
    assert [(recording, sampled) for _, _, recording, sampled in theirs.started] == [(True, False)] * 2
    assert [known["url.path"] for _, known, _, _ in theirs.started] == ["/status/200", "/status/500"]
    assert [said["http.response.status_code"] for said in theirs.said] == [200, 500]
    assert [said["url.path"] for said in theirs.said] == ["/status/200", "/status/500"]
    assert {said["theirs.start"] for said in theirs.said} == {"yes"}
    (kept,) = running.spans
    assert kept_for(kept) == "error"
    assert attributes(kept)["theirs.start"] == "yes"
    assert attributes(kept).get("theirs.end") == ("yes" if replaces else None)
    assert attributes(kept)["url.path"] == ("[Scrubbed]" if replaces else "/status/500")
    # What they hold is theirs: it does not change under their hands.
    assert all("tracemw.kept" not in (span.attributes or {}) for span in theirs.ended)


class Exporting(SpanProcessor):
    """Exports whatever ends, and keeps track of what is open, as Sentry's does."""

    def __init__(self) -> None:
        self.open: dict[int, Any] = {}
        self.log: list[tuple[str, str]] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        assert span.is_recording()
        self.open[span.get_span_context().span_id] = span
        self.log.append(("start", span.name))
        span.set_attribute("theirs.start", str(get_baggage("tenant", parent_context)))

    def on_end(self, span: ReadableSpan) -> None:
        assert span.context is not None
        del self.open[span.context.span_id]
        self.log.append(("end", span.name))
        self.ended.append(span)


def test_long_values_of_spans_that_are_held_take_little_memory(init: Init) -> None:
    init()
    root, children = open_children(40)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number, child in enumerate(children):
            child.set_attribute("text", f"{number}" + "x" * 1_000_000)
            child.set_attribute("list", [f"{number}" + "x" * 1_000_000])
            child.add_event("event", {"text": f"{number}" + "x" * 1_000_000})
            child.update_name(f"{number}" + "x" * 1_000_000)
            child.end()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held < 40 * 5 * 32_768
    root.end()


class Enriching(SpanProcessor):
    """Only looks at starts."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        span.set_attribute("enriched", span.name)


def request_for(tenant: str, *, fails: bool) -> None:
    token = otel_context.attach(set_baggage("tenant", tenant))
    try:
        with tracemw.span("root"):
            with tracemw.span("child"):
                pass
            with tracemw.span("other") as other:
                if fails:
                    other.set_status(StatusCode.ERROR)
    finally:
        otel_context.detach(token)


def test_an_exporting_processor_of_somebody_else_gets_only_what_is_sampled_or_kept(init: Init) -> None:
    running, theirs = init(), Exporting()
    running.add(theirs)
    running.add(Enriching())
    for _ in range(3):
        request_for("fine", fails=False)
    assert (theirs.log, theirs.open) == ([], {})
    request_for("acme", fails=True)
    starts = [("start", name) for name in ("root", "child", "other")]
    ends = [("end", name) for name in ("child", "other", "root")]
    assert theirs.log == starts + ends
    assert theirs.open == {}
    for span in theirs.ended:
        assert dict(span.attributes or {}).items() >= {"tracemw.kept": "error", "theirs.start": "acme"}.items()
    spans = running.spans
    assert sorted(span.name for span in spans) == ["child", "other", "root"]
    for sent in spans:
        known = attributes(sent)
        assert (known["tracemw.kept"], known["theirs.start"], known["enriched"]) == ("error", "acme", sent.name)
        assert sent.start_time_unix_nano < sent.end_time_unix_nano
    stats = running.tracing.stats()
    assert (stats.exported, stats.unsampled, stats.ended, stats.processor_errors) == (3, 9, 12, 0)


def test_an_exporting_processor_hears_of_a_span_that_ends_after_its_request_too(init: Init) -> None:
    running, theirs = init(), Exporting()
    running.add(theirs)
    root, (child,) = open_children()
    root.set_status(StatusCode.ERROR)
    root.end()
    assert theirs.log == [("start", "root"), ("end", "root")]
    child.end()
    assert theirs.log[2:] == [("start", "child"), ("end", "child")]
    assert running.names == ["child", "root"]


def test_an_exporting_processor_gets_what_is_sampled_as_it_comes(init: Init) -> None:
    running, theirs = init(1.0), Exporting()
    running.add(theirs)
    request_for("acme", fails=False)
    assert theirs.log[:2] == [("start", "root"), ("start", "child")]
    assert len(running.spans) == 3


@pytest.mark.parametrize("hook", ["on_start", "_on_ending", "on_end"])
@pytest.mark.parametrize("ratio", [0.0, 1.0])
@pytest.mark.parametrize("shows", [True, False])
def test_a_processor_that_raises_is_counted_and_costs_no_span(init: Init, hook: str, ratio: float, shows: bool) -> None:
    class Raising(Exporting):
        pass

    def fail(*args: Any, **more: Any) -> None:
        raise RuntimeError("theirs")

    setattr(Raising, hook, fail)
    running, others = init(ratio, show_unsampled=shows), Theirs()
    running.add(Raising())
    running.add(others)
    request_for("acme", fails=True)
    assert running.names == ["child", "other", "root"]
    assert len(others.ended) == 3
    stats = running.tracing.stats()
    assert stats.processor_errors >= 3
    assert (stats.exported, stats.ended) == (3, 3)


@pytest.mark.parametrize("kind", [SimpleSpanProcessor, BatchSpanProcessor])
def test_other_exporters_get_no_unsampled_span(init: Init, kind: Any) -> None:
    running, exporter = init(rules=(Rule("/sampled", 1.0),)), InMemorySpanExporter()
    running.add(kind(exporter))
    app = tracemw.asgi.TraceMiddleware(failing)
    for path in ("/unsampled", "/sampled"):
        asyncio.run(calls.ask(app, path))
    provider: Any = running.tracing.provider
    provider.force_flush()
    theirs = exporter.get_finished_spans()
    assert [(span.attributes or {}).get("url.path") for span in theirs if span.name == "GET"] == ["/sampled"]
    assert len(theirs) == 2
    assert len(running.spans) == 4


def test_a_processor_that_raises_takes_no_span_from_the_recorder(init: Init) -> None:
    class Raising(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise RuntimeError("theirs")

    running = init()
    running.add(Raising())
    root, (child,) = open_children()
    child.set_status(StatusCode.ERROR)
    for span in (child, root):
        span.end()
    assert running.names == ["child", "root"]
    stats = running.tracing.stats()
    assert (stats.processor_errors, stats.exported, stats.ended) == (2, 2, 2)


def test_a_root_that_a_processor_makes_unfit_takes_nothing_along(init: Init) -> None:
    class Breaking(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            if span.name == "root":
                broken: Any = 5
                span._attributes = broken

    running = init()
    running.add(Breaking())
    root, (child,) = open_children()
    child.set_status(StatusCode.ERROR)
    child.end()
    root.end()
    assert running.names == ["child", "root"]
    assert running.books.held == running.books.fragments == 0


# keep().


def test_to_keep_finds_the_request_where_the_current_span_does_not_record(init: Init) -> None:
    running = init()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with trace.use_span(trace.INVALID_SPAN):  # as hides what a noisy library does
            tracemw.keep("refund")
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    (span,) = running.spans
    assert kept_for(span) == "manual"
    assert attributes(span)["tracemw.keep.reason"] == "refund"


def test_to_keep_in_a_skipped_request_keeps_nothing_around_it(init: Init) -> None:
    running = init()

    async def skipped(scope: Any, receive: Any, send: Any) -> None:
        tracemw.keep("in vain")
        await answer(send)

    inner = tracemw.asgi.TraceMiddleware(skipped)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await calls.ask(inner, "/health")  # a request of its own, that the process makes to itself
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    assert running.spans == []


def test_to_keep_a_sampled_trace_tells_the_reason_and_no_more(init: Init) -> None:
    running = init(1.0)
    with tracemw.span("job"):
        tracemw.keep("because")
    (span,) = running.spans
    assert attributes(span)["tracemw.keep.reason"] == "because"
    assert kept_for(span) is None


def test_to_keep_nothing_does_nothing(init: Init) -> None:
    tracemw.keep("before any init")
    running = init()
    tracemw.keep("outside")
    root, _ = open_children()
    root.end()
    with trace.use_span(root):
        tracemw.keep("ended")
    assert running.spans == []


# Hooks, metrics, real servers.


def test_metrics_count_requests_that_are_dropped_with_their_routes(init: Init, meters: Any) -> None:
    running = init()
    app = Starlette(routes=[Route("/items/{item}", lambda _: PlainTextResponse("ok"))])
    app.add_middleware(tracemw.starlette.TraceMiddleware, meter_provider=meters.provider)
    asyncio.run(calls.ask(app, "/items/7"))
    (point,) = meters.points("http.server.request.duration")
    assert point.attributes["http.route"] == "/items/{item}"
    assert point.attributes["http.response.status_code"] == 200
    assert point.count == 1
    assert [point.value for point in meters.points("http.server.active_requests")] == [0]
    assert running.spans == []
    assert running.books.unsampled == 1


@pytest.mark.parametrize(
    "request_to",
    [starlette_request, mounted_request, fastapi_request, flask_request, lambda _: asgi_request(plain_app(), "/")],
)
def test_an_unsampled_request_leaves_nothing_of_tracemw_to_the_garbage_collector(
    init: Init, request_to: Callable[[int], Callable[[], None]]
) -> None:
    running = init()
    request = request_to(3)
    request()
    gc.collect()
    gc.disable()
    gc.freeze()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        request()
        gc.collect()
        left = [type(found) for found in gc.garbage if type(found).__module__.startswith("tracemw")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()
    assert left == []
    assert running.books.unsampled >= 2


def plain_app() -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with tracemw.span("child"):
            await answer(send)

    return tracemw.asgi.TraceMiddleware(app)


SERVICE = """
import tracemw
from tracemw.sampling import Sampling

tracemw.init("shop", sampling=Sampling(ratio=0.01, keep_rate=1e6))


def work(number):
    with tracemw.span("step.one"):
        pass
    try:
        with tracemw.span("step.two"):
            if number % 100 == 2:
                raise ValueError("swallowed")
    except ValueError:
        pass
    return 500 if number % 50 == 1 else 200
"""
SERVICES = {
    "uvicorn": """
from fastapi import FastAPI, Response
from tracemw.fastapi import TraceMiddleware
app = FastAPI()
app.add_middleware(TraceMiddleware)
@app.get("/items/{number}")
def item(number: int):
    return Response("x", work(number))
""",
    "gunicorn": """
import flask
from tracemw.flask import TraceMiddleware
app = flask.Flask(__name__)
TraceMiddleware(app)
@app.get("/items/<int:number>")
def item(number):
    return "x", work(number)
""",
}
COMMANDS = {
    "uvicorn": ("-m", "uvicorn", "--port", "{port}", "--log-level", "error", "service:app"),
    "gunicorn": (
        *("-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "critical", "--preload"),
        *("--workers", "2", "--threads", "4", "service:app"),
    ),
}


@pytest.mark.parametrize("server", COMMANDS)
def test_with_a_ratio_of_one_percent_every_failing_request_arrives_whole(
    backend: Backend, tmp_path: Path, server: str
) -> None:
    if server == "uvicorn":
        pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")
    (tmp_path / "service.py").write_text(SERVICE + SERVICES[server])
    port, requests = free_port(), 1000
    command = [part.format(port=port) for part in COMMANDS[server]]
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "PYTHONPATH": str(tmp_path)}
    with process(*command, env=environment, cwd=tmp_path) as running:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

            def answers() -> bool:
                try:
                    return client.get("/health").status_code == 404
                except httpx.TransportError:
                    return False

            wait_until(answers, 20)
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda number: client.get(f"/items/{number}"), range(requests)))
        running.terminate()
        running.wait(20)
    by_trace: dict[bytes, Spans] = {}
    for span in backend.spans:
        by_trace.setdefault(span.trace_id, []).append(span)
    paths: dict[str, Spans] = {}
    for spans in by_trace.values():
        (root,) = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
        paths[attributes(root)["url.path"]] = spans
    wanted = {f"/items/{number}" for number in range(requests) if number % 50 == 1 or number % 100 == 2}
    assert len(wanted) == 30
    assert wanted <= paths.keys()
    for path, spans in paths.items():
        assert sorted(span.name for span in spans if span.kind != Span.SPAN_KIND_SERVER) == ["step.one", "step.two"]
        is_sampled = spans[0].trace_state != ""
        assert {kept_for(span) for span in spans} == ({None} if is_sampled else {"error"})
        assert is_sampled or path in wanted
    assert len(paths) < 30 + 40
