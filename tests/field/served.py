"""The application as a foreign server imports it: `FIELD_AROUND` names what stands around it, or `asgi`.

What the door has recorded is asked for at `/recorded`, which is outside of the door.
"""

from __future__ import annotations

import functools
import io
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import flask
from opentelemetry import baggage, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

import tracemw
import tracemw.asgi
import tracemw.flask
import tracemw.wsgi
from tracemw._recording import TracerProvider


class Boom(Exception):  # noqa: N818  what a test makes happen is no Error of ours
    """The application's own error."""


exporter = InMemorySpanExporter()
provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
reader = InMemoryMetricReader()
OPTIONS: Any = {"meter_provider": MeterProvider([reader], shutdown_on_exit=False)}


def recorded() -> bytes:
    """Tell which SERVER spans have ended, by path, and how many requests are being served."""
    spans = [
        {
            **{name: value for name, value in (span.attributes or {}).items() if not isinstance(value, tuple)},
            "exceptions": [str((event.attributes or {}).get("exception.type")) for event in span.events],
            "seconds": ((span.end_time or 0) - (span.start_time or 0)) / 1e9,
        }
        for span in exporter.get_finished_spans()
    ]
    data = reader.get_metrics_data()
    active = sum(
        point.value
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "http.server.active_requests"
        for point in metric.data.data_points
        if hasattr(point, "value")
    )
    return json.dumps({"spans": spans, "active": active}).encode()


def seen() -> bytes:
    """Tell what of the OpenTelemetry context the application sees."""
    return json.dumps({"baggage": dict(baggage.get_all()), "trace": tracemw.current_trace_id()}).encode()


# WSGI.


def plain(environ: Any, start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path in ("/up", "/health", "/other"):
        if path != "/other":
            while environ["wsgi.input"].read(65536):
                pass
        body = seen()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    if path == "/boom":
        raise Boom("boom")
    if path == "/late":
        start_response("200 OK", [("Content-Type", "text/plain")])
        raise Boom("late")
    if path == "/later":
        return _later(start_response)
    if path == "/midway":
        return _midway(start_response)
    if path == "/closing":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Closing([b"closing"])
    if path == "/closing-empty":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Closing()
    if path == "/silent":
        return []
    if path == "/restart":
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            raise Boom("restart")
        except Boom as error:
            start_response("503 Later", [("Content-Length", "5")], (Boom, error, error.__traceback__))
        return [b"later"]
    if path == "/empty":
        start_response("204 No Content", [])
        return []
    if path == "/written":
        write = start_response("200 OK", [("Content-Length", "7")])
        write(b"written")
        return []
    if path == "/file":
        start_response("200 OK", [("Content-Length", "4")])
        wrapper = environ.get("wsgi.file_wrapper", lambda file: iter([file.read()]))
        wrapped: Iterable[bytes] = wrapper(io.BytesIO(b"file"))
        return wrapped
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (chunk for chunk in (b"a", b"b", b"c"))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


class Closing(list[bytes]):
    def close(self) -> None:
        raise Boom("closing")


def _later(start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b""
    raise Boom("later")


def _midway(start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"half"
    raise Boom("midway")


def in_flask() -> Any:
    app = flask.Flask("field")

    @app.route("/up", methods=["GET", "POST"])
    @app.route("/health", methods=["GET", "POST"])
    def upload() -> bytes:
        flask.request.get_data()
        return seen()

    @app.get("/other")
    def other() -> bytes:
        return seen()

    @app.get("/boom")
    def boom() -> str:
        raise Boom("boom")

    @app.get("/late")
    def late() -> str:
        return "late"

    @app.teardown_request
    def teardown(_: BaseException | None) -> None:
        if flask.request.path == "/late":
            raise Boom("late")

    @app.get("/later")
    def later() -> Any:
        return flask.Response(_chunks(b"", Boom("later")))

    @app.get("/midway")
    def midway() -> Any:
        return flask.Response(_chunks(b"half", Boom("midway")))

    @app.get("/closing")
    def closing() -> Any:
        response = flask.Response(b"closing")
        response.call_on_close(functools.partial(_raise, Boom("closing")))
        return response

    @app.get("/empty")
    def empty() -> tuple[str, int]:
        return "", 204

    @app.get("/file")
    def file() -> Any:
        return flask.send_file(io.BytesIO(b"file"), mimetype="text/plain")

    @app.get("/stream")
    def stream() -> Any:
        return flask.Response(_chunks(b"a", b"b", b"c"))

    @app.get("/ok")
    def ok() -> str:
        return "ok"

    tracemw.flask.TraceMiddleware(app, **OPTIONS)
    return app


def _chunks(*chunks: bytes | Exception) -> Iterator[bytes]:
    for chunk in chunks:
        if isinstance(chunk, Exception):
            raise chunk
        yield chunk


def _raise(error: Exception) -> None:
    raise error


def wsgi_app() -> Any:
    """Make an application with both doors; the header `X-Door` says which one a request goes through."""
    doors = {"flask": in_flask(), "wsgi": tracemw.wsgi.TraceMiddleware(plain, **OPTIONS)}

    def outside(environ: Any, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] not in ("/recorded", "/outside"):
            answer: Iterable[bytes] = doors[environ["HTTP_X_DOOR"]](environ, start_response)
            return answer
        body = recorded() if environ["PATH_INFO"] == "/recorded" else seen()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    return outside


# ASGI.


async def bare(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (kind := (await receive())["type"]) != "lifespan.shutdown":
            await send({"type": f"{kind}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    path = scope["path"]
    if path == "/boom":
        raise Boom("boom")
    if path == "/silent":
        return
    if path in ("/up", "/health"):
        while (await receive()).get("more_body"):
            pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    if path == "/late":
        raise Boom("late")
    if path == "/midway":
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise Boom("midway")
    await send({"type": "http.response.body", "body": recorded() if path == "/recorded" else seen()})


def asgi_app() -> Any:
    traced = tracemw.asgi.TraceMiddleware(bare, **OPTIONS)

    async def outside(scope: Any, receive: Any, send: Any) -> None:
        await (bare if scope.get("path") in ("/recorded", "/outside") else traced)(scope, receive, send)

    return outside


def made(around: str) -> Any:
    if around == "asgi":
        return asgi_app()
    app = wsgi_app()
    if around == "asgiref":
        from asgiref.wsgi import WsgiToAsgi

        return WsgiToAsgi(app)  # type: ignore[no-untyped-call]
    if around == "a2wsgi":
        from a2wsgi import WSGIMiddleware

        return WSGIMiddleware(app)
    if around == "uvicorn":
        import warnings

        from uvicorn.middleware.wsgi import _WSGIMiddleware

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return _WSGIMiddleware(app)
    return app


app = made(os.environ.get("FIELD_AROUND", ""))
