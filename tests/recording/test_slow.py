"""A request is slow by the time to its first byte, and a connection never is."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

import calls
import tracemw.asgi
import tracemw.starlette
import tracemw.wsgi
from recording.local_traces import Init, answer, attributes, kept_for
from servers import uvicorn_serving, wait_until

SLOW = 0.6
LIMIT = 0.5
"""Seconds from which a request counts as slow: a busy machine needs some for what is fast."""


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
    running = init(keep_slow=LIMIT)
    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    assert [kept_for(span) for span in running.spans] == ["slow"] * is_kept


@pytest.mark.parametrize(
    ("app", "is_kept"),
    [(wsgi_slow_to_begin, True), (wsgi_slow_to_its_first_chunk, True), (wsgi_slow_to_end, False)],
)
def test_a_wsgi_request_is_slow_by_the_time_to_the_first_byte_of_its_body(init: Init, app: Any, is_kept: bool) -> None:
    running = init(keep_slow=LIMIT)
    calls.WSGIServer().ask(tracemw.wsgi.TraceMiddleware(app))
    assert [kept_for(span) for span in running.spans] == ["slow"] * is_kept


def test_a_file_that_takes_its_time_to_be_sent_is_not_slow(init: Init) -> None:
    from wsgiref.util import FileWrapper

    running = init(keep_slow=LIMIT)
    app = tracemw.wsgi.TraceMiddleware(wsgi_slow_to_be_sent)
    environ = {**calls.environ(), "wsgi.file_wrapper": FileWrapper}
    body: Any = app(environ, calls.WSGIServer().start_response)
    time.sleep(SLOW)
    body.close()
    assert running.spans == []
    assert running.stats.unsampled == 1


def test_a_wsgi_request_that_writes_is_slow_by_the_time_to_the_first_byte_written(init: Init) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        write(b"")
        if environ["PATH_INFO"] == "/slow":
            time.sleep(SLOW)
        write(b"first")
        time.sleep(SLOW)
        write(b"second")
        return []

    running = init(keep_slow=LIMIT)
    for path in ("/slow", "/fast"):
        assert calls.WSGIServer().ask(tracemw.wsgi.TraceMiddleware(app), path).body == b"firstsecond"
    assert [attributes(span)["url.path"] for span in running.spans] == ["/slow"]


def test_a_stream_whose_span_somebody_else_has_started_is_not_slow(init: Init) -> None:
    running = init(keep_slow=LIMIT)
    native = trace.get_tracer("native").start_as_current_span("GET /native", kind=SpanKind.SERVER)
    app = tracemw.asgi.TraceMiddleware(slow_to_end)

    async def served(scope: Any, receive: Any, send: Any) -> None:
        with native:
            await app(scope, receive, send)

    asyncio.run(calls.ask(served))
    assert running.spans == []
    assert running.stats.unsampled == 1


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

    running = init(keep_slow=LIMIT)

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
        wait_until(lambda: running.stats.unsampled + running.stats.kept["error"] == 2)
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
    assert running.stats.unsampled == 1
