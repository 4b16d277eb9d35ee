"""WSGI applications, called as a server calls them, without a server."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.contestants import Burst, cpu, pipelines
from benchmarks.contestants.pipelines import Pipeline

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_BODY = b'{"item": "mug", "quantity": 1}\n'
_ENVIRON: dict[str, Any] = {
    "SCRIPT_NAME": "",
    "SERVER_NAME": "10.1.0.4",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_ACCEPT": "application/json",
    "HTTP_ACCEPT_LANGUAGE": "en-US,en;q=0.5",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
    "HTTP_CONNECTION": "keep-alive",
    "HTTP_COOKIE": "session=eyJ1c2VyIjogNDJ9; theme=dark",
    "HTTP_ORIGIN": "https://shop.example.com",
    "CONTENT_TYPE": "application/json",
    "CONTENT_LENGTH": "31",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}


def _request() -> dict[str, Any]:
    return {
        **_ENVIRON,
        # A server decodes these anew for each request, so they are never the very objects of the request before.
        "REQUEST_METHOD": b"POST".decode(),
        "PATH_INFO": b"/orders/checkout".decode(),
        "QUERY_STRING": b"currency=EUR&step=2".decode(),
        "RAW_URI": b"/orders/checkout?currency=EUR&step=2".decode(),
        "REMOTE_ADDR": b"10.1.22.7".decode(),
        "REMOTE_PORT": b"51344".decode(),
        "HTTP_HOST": b"shop.example.com".decode(),
        "HTTP_USER_AGENT": b"Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0".decode(),
        "wsgi.input": io.BytesIO(_BODY),
    }


def _start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
    return lambda data: None


def _trivial(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Read the request's body and answer, as about any application does."""
    environ["wsgi.input"].read()
    start_response("200 OK", [("content-type", "application/json"), ("content-length", "12")])
    return [b'{"order": 7}']


def _flask() -> Any:
    import flask

    app = flask.Flask("bench")

    @app.post("/orders/<step>")
    def checkout(step: str) -> str:
        return "ok"

    return app


def _driven(app: App, pipeline: Pipeline) -> Burst:
    def serve(operations: int) -> None:
        for _ in range(operations):
            chunks = app(_request(), _start_response)
            for _chunk in chunks:
                pass
            if (close := getattr(chunks, "close", None)) is not None:
                close()
        pipeline.flush()

    return cpu(lambda operations: lambda: serve(operations))


def untraced(*, flask: bool = False) -> Burst:
    return _driven(_flask() if flask else _trivial, pipelines.none())


def ours(*, flask: bool = False) -> Burst:
    pipeline = pipelines.ours()
    if flask:
        import tracemw.flask

        app = _flask()
        tracemw.flask.TraceMiddleware(app)
        return _driven(app, pipeline)
    import tracemw.wsgi

    return _driven(tracemw.wsgi.TraceMiddleware(_trivial), pipeline)


def official(*, flask: bool = False) -> Burst:
    pipeline = pipelines.sdk()
    if flask:
        from opentelemetry.instrumentation.flask import FlaskInstrumentor

        app = _flask()
        instrumentor: Any = FlaskInstrumentor()
        instrumentor.instrument_app(app)
        return _driven(app, pipeline)
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

    return _driven(OpenTelemetryMiddleware(_trivial), pipeline)


def floor(*, flask: bool = False) -> Burst:
    from benchmarks.contestants.floor import Delivery, WsgiMiddleware

    delivery = Delivery(pipelines.sink())
    app = WsgiMiddleware(_flask() if flask else _trivial, delivery)
    return _driven(app, Pipeline(pipelines.none().provider, delivery.flush))
