"""An interrupt between any two steps of a door leaves nothing behind: no context, no request counted, no span held.

KeyboardInterrupt stands for all that is raised from outside of the code that runs: by a signal's handler, as gunicorn's
of its timeout, by another thread, or by a greenlet's timeout.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest
from opentelemetry import context as otel_context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import tracemw
import tracemw.asgi
import tracemw.flask
import tracemw.httpx
import tracemw.requests
import tracemw.starlette
import tracemw.wsgi
from calls import WSGIServer, ask, in_a_thread
from conftest import Meters
from interrupting import Interrupter
from tracemw._http.metrics import _instruments_of
from tracemw._recording import FlightRecorder, TracerProvider


class Traced:
    """What a request or a call leaves behind."""

    def __init__(self, sampler: Any) -> None:
        self.kept: list[Any] = []
        self.recorder = FlightRecorder(self.kept.append, is_on=True, slow=5, rate=100)
        provider = TracerProvider(sampler, Resource({}), shutdown_on_exit=False, recorder=self.recorder)
        self.meters = Meters()
        self.options: Any = {"tracer_provider": provider, "meter_provider": self.meters.provider}

    def serving(self) -> int:
        """Count the requests being served, at less cost than collecting metrics."""
        return len(made._serving) if (made := _instruments_of(self.meters.provider).get("server")) else 0

    def active(self) -> int:
        return sum(point.value for point in self.meters.points("http.server.active_requests"))


def asgi(traced: Traced) -> Callable[[], None]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    return _asking(tracemw.asgi.TraceMiddleware(app, **traced.options))


def asgi_with_children(traced: Traced) -> Callable[[], None]:
    tracer = traced.options["tracer_provider"].get_tracer("a library")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner"):
            pass
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    return _asking(tracemw.asgi.TraceMiddleware(app, **traced.options))


def asgi_failing(traced: Traced) -> Callable[[], None]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("boom")

    return _asking(tracemw.asgi.TraceMiddleware(app, **traced.options))


def asgi_skipped(traced: Traced) -> Callable[[], None]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    return _asking(tracemw.asgi.TraceMiddleware(app, **traced.options), "/health")


def _asking(app: Any, path: str = "/") -> Callable[[], None]:
    # By hand: a KeyboardInterrupt would take an event loop along.
    def run() -> None:
        coroutine = ask(app, path)
        try:
            coroutine.send(None)
        except StopIteration:
            pass
        except ValueError:
            pass

    return run


def wsgi(traced: Traced) -> Callable[[], None]:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        return iter([b"a", b"b"])

    door = tracemw.wsgi.TraceMiddleware(app, **traced.options)

    def run() -> None:
        WSGIServer().ask(door, "/")

    return run


def wsgi_failing(traced: Traced) -> Callable[[], None]:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "4")])
        yield b"half"
        raise ValueError("boom")

    door = tracemw.wsgi.TraceMiddleware(app, **traced.options)

    def run() -> None:
        try:
            WSGIServer().ask(door, "/")
        except ValueError:
            pass

    return run


def starlette_failing(traced: Traced) -> Callable[[], None]:
    async def order(request: Any) -> Any:
        raise ValueError("boom")

    app = Starlette(routes=[Route("/order/{order}", order)])
    app.add_middleware(tracemw.starlette.TraceMiddleware, **traced.options)
    return _asking(app, "/order/7")


def starlette_with_a_trail(traced: Traced) -> Callable[[], None]:
    async def order(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("ok")(scope, receive, send)

    app = Starlette(routes=[Mount("/order/{order}", order)])
    return _asking(tracemw.starlette.TraceMiddleware(app, **traced.options), "/order/7")


def fastapi(traced: Traced) -> Callable[[], None]:
    made = pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test").FastAPI()
    door: Any = importlib.import_module("tracemw.fastapi").TraceMiddleware

    async def order(order: int) -> str:
        return "ok"

    made.add_api_route("/order/{order}", order)
    made.add_middleware(door, **traced.options)
    return _asking(made, "/order/7")


def fastapi_with_a_trail(traced: Traced) -> Callable[[], None]:
    made = pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test").FastAPI()
    door: Any = importlib.import_module("tracemw.fastapi").TraceMiddleware

    async def order(order: int) -> None:
        raise ValueError("boom")

    made.add_api_route("/order/{order}", order)
    return _asking(door(Starlette(routes=[Mount("/shop", made)]), **traced.options), "/shop/order/7")


def flask_failing(traced: Traced) -> Callable[[], None]:
    app = flask.Flask("shop")
    app.add_url_rule("/order/<int:order>", "order", lambda order: str(1 // 0))
    app.logger.disabled = True
    tracemw.flask.TraceMiddleware(app, **traced.options)

    def run() -> None:
        WSGIServer().ask(app, "/order/7")

    return run


CASES = [asgi, asgi_with_children, asgi_failing, asgi_skipped, wsgi, wsgi_failing]
DOORS = [
    (starlette_failing, "starlette/"),
    (starlette_with_a_trail, "starlette/"),
    (fastapi, "fastapi.py"),
    (fastapi_with_a_trail, "fastapi.py"),
    (flask_failing, "flask.py"),
]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF], ids=["sampled", "unsampled"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="newer Pythons trace too few instructions to tell anything")
@in_a_thread
def test_an_interrupt_between_any_two_steps_leaves_nothing_behind(
    case: Callable[[Traced], Callable[[], None]], sampler: Any
) -> None:
    assert_interrupts_leave_nothing_behind(Traced(sampler), case, of=500)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize(("case", "within"), DOORS)
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="newer Pythons trace too few instructions to tell anything")
@in_a_thread
def test_an_interrupt_between_any_two_steps_of_a_frameworks_own_door_leaves_nothing_behind(
    case: Callable[[Traced], Callable[[], None]], within: str
) -> None:
    assert_interrupts_leave_nothing_behind(Traced(ALWAYS_OFF), case, within, of=50)


def assert_interrupts_leave_nothing_behind(
    traced: Traced, case: Callable[[Traced], Callable[[], None]], within: str = "", *, of: int
) -> None:
    """Interrupt the request of a case before each of its instructions; there are more than `of` of them."""
    request = case(traced)
    request()
    with Interrupter(within=within) as counting:
        request()
    assert len(counting.steps) > of
    before = otel_context.get_current()
    interrupted = 0
    for at in counting.steps:
        with Interrupter(at, within) as interrupter:
            try:
                request()
            except KeyboardInterrupt:
                interrupted += 1
        left = (otel_context.get_current() is not before, traced.serving())
        assert (interrupter.where, *left) == (interrupter.where, False, 0)
        books = traced.recorder.books
        assert min(books.held, books.held_bytes, books.fragments) >= 0, interrupter.where
    assert interrupted > of
    assert traced.active() == 0
