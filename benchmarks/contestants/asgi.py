"""ASGI applications, called as a server calls them, without a server."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from opentelemetry import trace

from benchmarks.contestants import Burst, cpu, pipelines
from benchmarks.contestants.pipelines import Pipeline

Scope = dict[str, Any]
Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]
Requests = Callable[[], Scope]

_HEADERS = b"""\
host: shop.example.com\r
user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0\r
accept: application/json\r
accept-language: en-US,en;q=0.5\r
accept-encoding: gzip, deflate, br\r
connection: keep-alive\r
cookie: session=eyJ1c2VyIjogNDJ9; theme=dark\r
content-type: application/json\r
content-length: 31\r
origin: https://shop.example.com"""
_TRACEPARENT = b"\r\ntraceparent: 00-%032x-%016x-01"
_TURN = 20
_numbers = itertools.count(1)


def _request(path: bytes, query: bytes, port: int, headers: bytes = _HEADERS) -> Scope:
    # A server parses each request anew, so none of its strings is the very object of the request before: a cache that
    # is looked up by value has to hash them again, here as there.
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": b"1.1".decode(),
        "method": b"POST".decode(),
        "scheme": "http",
        "path": path.decode(),
        "raw_path": path,
        "query_string": query[:],
        "root_path": "",
        "headers": [tuple(line.split(b": ", 1)) for line in headers.split(b"\r\n")],
        "client": (b"10.1.22.7".decode(), port),
        "server": (b"10.1.0.4".decode(), 8000),
        "state": {},
    }


def _plain() -> Scope:
    return _request(b"/orders/checkout", b"currency=EUR&step=2", 51344)


def _traceparent() -> Scope:
    number = next(_numbers)
    return _request(
        b"/orders/checkout", b"currency=EUR&step=2", 51344, _HEADERS + _TRACEPARENT % (number << 64 | 7, number)
    )


def _unique() -> Scope:
    number = next(_numbers)
    return _request(b"/orders/%d/checkout" % number, b"item=%d&step=2" % number, number % 64511 + 1024)


def _health() -> Scope:
    return _request(b"/health", b"", 51344)


REQUESTS: dict[str, Requests] = {"plain": _plain, "traceparent": _traceparent, "unique": _unique, "health": _health}
_START = {"type": "http.response.start", "status": 200}
_BODY = {"type": "http.response.body", "body": b'{"order": 7}'}


async def _trivial(scope: Any, receive: Any, send: Any) -> None:
    """Read the request's body and answer, as about any application does."""
    await receive()
    await send({**_START, "headers": [(b"content-type", b"application/json"), (b"content-length", b"12")]})
    await send({**_BODY})


async def receive() -> Message:
    """Return a body, whole."""
    return {"type": "http.request", "body": b'{"item": "mug", "quantity": 1}\n', "more_body": False}


async def send(message: Message) -> None:
    """Send nothing."""


def _starlette(routes: int = 1) -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def checkout(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    others = [Route(f"/other{other}/{{step}}", checkout) for other in range(routes - 1)]
    return Starlette(routes=[*others, Route("/orders/{step}", checkout, methods=["POST"])])


async def _once(app: App, scope: Scope) -> None:
    await app(scope, receive, send)


def driven(app: App, pipeline: Pipeline, request: str) -> Burst:
    """Serve requests of one kind."""
    make = REQUESTS[request]
    loop = asyncio.new_event_loop()

    async def serve(operations: int) -> None:
        for _ in range(operations):
            await app(make(), receive, send)

    def work(operations: int) -> None:
        loop.run_until_complete(serve(operations))
        pipeline.flush()

    return cpu(lambda operations: lambda: work(operations))


def untraced(*, request: str = "plain", starlette: bool = False) -> Burst:
    return driven(_starlette() if starlette else _trivial, pipelines.none(), request)


def ours(
    *,
    request: str = "plain",
    starlette: bool = False,
    sampling: float = 1.0,
    keep_errors: bool = True,
    metrics: bool = False,
) -> Burst:
    import tracemw.asgi
    import tracemw.starlette

    pipeline = pipelines.ours(sampling=sampling, keep_errors=keep_errors, metrics=metrics)
    if starlette:
        app = _starlette()
        app.add_middleware(tracemw.starlette.TraceMiddleware)
        return driven(app, pipeline, request)
    if request == "health":
        _check_that_children_are_suppressed(tracemw.asgi.TraceMiddleware(_with_child))
    burst = driven(tracemw.asgi.TraceMiddleware(_trivial), pipeline, request)
    return _with_memo(burst) if request == "unique" else burst


def routes(*, number: int) -> Burst:
    """Take what tracing adds to a request for the last of so many routes.

    The traced application and the untraced one take turns in this process: the look-ups of 300 routes cost more than
    tracing does, and not the same in every process, since strings hash differently.
    """
    import tracemw.starlette

    pipelines.ours()
    untraced, traced = _starlette(number), _starlette(number)
    traced.add_middleware(tracemw.starlette.TraceMiddleware)
    loop = asyncio.new_event_loop()

    async def serve(app: App, operations: int) -> float:
        started = time.process_time()
        for _ in range(operations):
            await app(_plain(), receive, send)
        return time.process_time() - started

    def burst(operations: int) -> dict[str, float]:
        gc.collect()
        added = 0.0
        for _ in range(max(operations // _TURN, 1)):
            added -= loop.run_until_complete(serve(untraced, _TURN))
            added += loop.run_until_complete(serve(traced, _TURN))
        return {"us": added / (max(operations // _TURN, 1) * _TURN) * 1e6}

    return burst


def official(
    *,
    request: str = "plain",
    one_span: bool = False,
    sampling: float = 1.0,
    metrics: bool = False,
    processor: str = "batch",
) -> Burst:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    pipeline = pipelines.sdk(sampling=sampling, metrics=metrics, processor=processor)
    app = OpenTelemetryMiddleware(
        _trivial,
        exclude_spans=["receive", "send"] if one_span else None,
        excluded_urls="health" if request == "health" else None,
    )
    return driven(app, pipeline, request)


def starlettes_own(*, request: str = "plain") -> Burst:
    from starlette.middleware.opentelemetry import OpenTelemetryMiddleware

    pipeline = pipelines.sdk()
    app = _starlette()
    app.add_middleware(OpenTelemetryMiddleware)
    return driven(app, pipeline, request)


def floor(*, request: str = "plain", starlette: bool = False) -> Burst:
    from benchmarks.contestants.floor import Delivery, Middleware

    delivery = Delivery(pipelines.sink())
    app = Middleware(_starlette() if starlette else _trivial, delivery)
    return driven(app, Pipeline(trace.get_tracer_provider(), delivery.flush), request)


def memory(*, pause: float = 0.002) -> Burst:
    """Watch this process's resident memory while it serves, at a pace that the delivery keeps up with.

    Every request has another path, query and port: what remembers values is full, too, when it does not grow.
    """
    import tracemw
    import tracemw.asgi

    tracing = tracemw.init("memory", endpoint=pipelines.sink(), sampling=1.0)
    app = tracemw.asgi.TraceMiddleware(_trivial)
    statm, page = Path("/proc/self/statm"), os.sysconf("SC_PAGE_SIZE") / 2**20

    def resident() -> float:
        return int(statm.read_text().split()[1]) * page

    async def serve(operations: int) -> list[float]:
        readings: list[float] = []
        for number in range(1, operations + 1):
            await app(_unique(), receive, send)
            if not number % 256:
                while tracing.stats().queued > 512:  # noqa: ASYNC110  nobody tells when it is less
                    await asyncio.sleep(pause)
            if not number % 1000:
                readings.append(resident())
        return readings

    def burst(operations: int) -> dict[str, float]:
        started = time.perf_counter()
        readings = asyncio.run(serve(operations))
        tracing.flush(60)
        if lost := tracing.stats().ended - tracing.stats().exported:
            raise RuntimeError(f"{lost} spans were lost")
        settled = readings[9:] or readings
        tail = sorted(settled[-max(len(settled) // 10, 1) :])
        return {
            "MB": tail[len(tail) // 2] - settled[0],
            "after 10,000": settled[0],
            "highest": max(settled),
            "requests/s": operations / (time.perf_counter() - started),
        }

    return burst


async def _with_child(scope: Any, receive: Any, send: Any) -> None:
    with trace.get_tracer("child").start_as_current_span("child") as span:
        if span.is_recording():
            raise RuntimeError("a span inside a skipped request is recorded")
    await _trivial(scope, receive, send)


def _check_that_children_are_suppressed(app: App) -> None:
    asyncio.run(_once(app, _health()))


def _with_memo(burst: Burst) -> Burst:
    """Add to the samples how many of a span's attributes our encoder still remembered."""
    import tracemw.asgi
    from benchmarks.contestants.recording import memo_misses

    counted: list[int] = []
    app = tracemw.asgi.TraceMiddleware(
        _trivial, on_response=lambda span, facts, status: counted.append(len(getattr(span, "attributes", ())))
    )
    asyncio.run(_once(app, _unique()))

    def told(operations: int) -> dict[str, float]:
        before = memo_misses()
        sample = burst(operations)
        after = memo_misses()
        if after is not None:
            sample["% of attributes remembered"] = 100 * (1 - (after - (before or 0)) / operations / counted[0])
        return sample

    return told
