"""Durations come from a monotonic clock: a wall clock that is set back or forth meanwhile changes none."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace import export as sdk_export
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import SpanKind

import tracemw.asgi
import tracemw.httpx
import tracemw.wsgi
from calls import WSGIServer, ask
from conftest import Meters
from tracemw._recording import FlightRecorder, TracerProvider

HOUR = 3_600_000_000_000
SECOND = 1_000_000_000
STEPS = pytest.mark.parametrize("step", [-HOUR, HOUR, -10 * 365 * 24 * HOUR], ids=["back", "forth", "far back"])


class Clocks:
    """A wall clock to be set, and a monotonic one that goes on by a millisecond each time that it is looked at."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000 * SECOND
        self.monotonic = 5 * HOUR

    def time_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        self.pass_by(1_000_000)
        return self.monotonic

    def pass_by(self, nanoseconds: int) -> None:
        self.wall += nanoseconds
        self.monotonic += nanoseconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    for module in [module for name, module in sys.modules.items() if name.startswith("tracemw.")]:
        for name in ("time_ns", "monotonic_ns"):
            if vars(module).get(name) is getattr(time, name):
                monkeypatch.setattr(module, name, getattr(made, name))
    return made


class Ended(SpanProcessor):
    def __init__(self) -> None:
        self.spans: dict[str, ReadableSpan] = {}

    def on_end(self, span: ReadableSpan) -> None:
        self.spans[span.name] = span

    def seconds(self, name: str) -> float:
        span = self.spans[name]
        assert span.start_time is not None
        assert span.end_time is not None
        return (span.end_time - span.start_time) / SECOND


def provided(kind: type[SdkTracerProvider] = TracerProvider) -> tuple[SdkTracerProvider, Ended]:
    provider, ended = kind(ALWAYS_ON, shutdown_on_exit=False), Ended()
    provider.add_span_processor(ended)
    return provider, ended


@STEPS
def test_a_span_lasts_as_long_as_it_does_though_the_wall_clock_is_set(clocks: Clocks, step: int) -> None:
    provider, ended = provided()
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("root") as root:
        began = clocks.wall
        clocks.pass_by(SECOND)
        clocks.wall += step
        with tracer.start_as_current_span("child") as child:
            clocks.pass_by(SECOND)
            child.add_event("event")
            clocks.wall += step
            root.record_exception(ValueError("v"))
    assert ended.seconds("child") == pytest.approx(1, abs=0.1)
    assert ended.seconds("root") == pytest.approx(2, abs=0.1)
    whole, part = ended.spans["root"], ended.spans["child"]
    assert whole.start_time == pytest.approx(began, abs=0.1 * SECOND)
    assert whole.start_time < part.start_time < part.events[0].timestamp < part.end_time < whole.end_time  # type: ignore[operator]
    assert whole.start_time < whole.events[0].timestamp < whole.end_time  # type: ignore[operator]


@STEPS
def test_the_next_root_begins_by_the_wall_clock_as_it_is_then(clocks: Clocks, step: int) -> None:
    provider, ended = provided()
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("first") as first:
        clocks.wall += step
    began = clocks.wall
    with tracer.start_as_current_span("second"), trace.use_span(first):
        tracer.start_span("beneath one that has ended").end()
    for name in ("second", "beneath one that has ended"):
        assert ended.spans[name].start_time == pytest.approx(began, abs=0.1 * SECOND)


def test_an_explicit_end_is_never_before_the_start() -> None:
    provider, ended = provided()
    tracer: Any = provider.get_tracer("test")
    for name, start, end in [("both", 100, 50), ("end", None, 1), ("odd", "now", "later"), ("float", 1.5e9, 2e9)]:
        tracer.start_span(name, start_time=start).end(end)
    for span in ended.spans.values():
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time
    assert ended.seconds("float") == pytest.approx(0.5)


@pytest.mark.parametrize("kind", [TracerProvider, SdkTracerProvider])
@pytest.mark.parametrize("measured", [True, False])
@STEPS
def test_a_request_and_its_calls_last_as_long_in_spans_as_in_metrics_though_the_wall_clock_is_set(
    clocks: Clocks, step: int, kind: type[SdkTracerProvider], measured: bool
) -> None:
    provider, ended = provided(kind)
    meters = Meters()
    options: dict[str, Any] = {"tracer_provider": provider}
    if measured:
        options["meter_provider"] = meters.provider

    def answer(request: httpx.Request) -> httpx.Response:
        clocks.pass_by(SECOND)
        clocks.wall += step
        return httpx.Response(200)

    transport = tracemw.httpx.AsyncTraceTransport(httpx.MockTransport(answer), **options)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with httpx.AsyncClient(transport=transport) as client:
            await client.post("http://other/")
        await send({"type": "http.response.start", "status": 500, "headers": []})
        clocks.pass_by(SECOND)
        clocks.wall += step
        await send({"type": "http.response.body", "body": b""})
        clocks.pass_by(HOUR)  # background work

    asyncio.run(ask(tracemw.asgi.TraceMiddleware(app, **options), "/"))
    assert ended.seconds("GET") == pytest.approx(2, abs=0.2)
    assert ended.seconds("POST") == pytest.approx(1, abs=0.2)
    if measured:
        (server,) = meters.points("http.server.request.duration")
        (client,) = meters.points("http.client.request.duration")
        assert server.sum == pytest.approx(ended.seconds("GET"), abs=1e-9)
        assert client.sum == pytest.approx(ended.seconds("POST"), abs=1e-9)


@pytest.mark.parametrize("kind", [TracerProvider, SdkTracerProvider])
@STEPS
def test_the_exception_of_a_call_lies_within_its_span_though_the_wall_clock_is_set(
    clocks: Clocks, step: int, kind: type[SdkTracerProvider]
) -> None:
    provider, ended = provided(kind)

    def fail(request: httpx.Request) -> httpx.Response:
        clocks.pass_by(SECOND)
        clocks.wall += step
        raise httpx.ConnectError("no")

    transport = tracemw.httpx.TraceTransport(httpx.MockTransport(fail), tracer_provider=provider)
    with httpx.Client(transport=transport) as client, pytest.raises(httpx.ConnectError):
        client.get("http://other/")
    span = ended.spans["GET"]
    (event,) = span.events
    assert (span.start_time or 0) <= event.timestamp <= (span.end_time or 0)
    assert ended.seconds("GET") == pytest.approx(1, abs=0.2)


@STEPS
def test_a_wsgi_request_lasts_as_long_as_it_does_though_the_wall_clock_is_set(clocks: Clocks, step: int) -> None:
    provider, ended = provided()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        clocks.pass_by(SECOND)
        clocks.wall += step
        yield b"ok"

    WSGIServer().ask(tracemw.wsgi.TraceMiddleware(app, tracer_provider=provider), "/")
    assert ended.seconds("GET") == pytest.approx(1, abs=0.1)


@STEPS
def test_setting_the_wall_clock_makes_no_request_slow(clocks: Clocks, step: int) -> None:
    kept: list[ReadableSpan] = []
    recorder = FlightRecorder(kept.append, is_on=True, slow=5.0, rate=100)
    provider = TracerProvider(ALWAYS_OFF, shutdown_on_exit=False, recorder=recorder)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        clocks.wall += step
        if scope["path"] == "/slow":
            clocks.pass_by(6 * SECOND)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        clocks.wall += step
        await send({"type": "http.response.body", "body": b""})

    traced = tracemw.asgi.TraceMiddleware(app, tracer_provider=provider)
    for path in ("/quick", "/slow"):
        asyncio.run(ask(traced, path))
    assert [dict(span.attributes or {})["url.path"] for span in kept] == ["/slow"]


def test_the_sdks_exporters_see_the_same(clocks: Clocks) -> None:
    exporter = InMemorySpanExporter()
    provider, _ = provided()
    provider.add_span_processor(sdk_export.SimpleSpanProcessor(exporter))
    span = provider.get_tracer("test").start_span("x", kind=SpanKind.SERVER)
    clocks.wall -= HOUR
    span.end()
    (seen,) = exporter.get_finished_spans()
    assert seen.start_time is not None
    assert seen.end_time is not None
    assert 0 < seen.end_time - seen.start_time < SECOND
