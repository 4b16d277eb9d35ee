"""The door for Falcon."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import falcon
import falcon.asgi
import falcon.inspect
import falcon.testing
import httpx
import pytest
from a2wsgi import WSGIMiddleware
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import tracemw
import tracemw.asgi
import tracemw.starlette
import tracemw.wsgi
from backend import backend_serving
from conftest import PARENT_ID, TRACE_ID, TRACEPARENT, Recorded
from servers import answers, free_port, process, uvicorn_serving, wait_until
from tracemw.falcon import TraceMiddleware


class Lost(Exception):  # noqa: N818
    """An error of the application's own."""


class Endpoint:
    """A resource that does the same on ASGI and on WSGI."""

    def __init__(self, answer: Callable[[Any], str]) -> None:
        self._answer = answer

    def on_get(self, req: Any, resp: Any, **params: Any) -> None:
        resp.text = self._answer(req)


class AsyncEndpoint(Endpoint):
    async def on_get(self, req: Any, resp: Any, **params: Any) -> None:  # type: ignore[override]
        resp.text = self._answer(req)

    async def on_websocket(self, req: Any, ws: Any, **params: Any) -> None:
        await ws.accept()
        text = await ws.receive_text()
        if text == "boom":
            raise Lost(text)
        await ws.send_text(text)


def order(req: Any) -> str:
    with tracemw.span("order.find"):
        return tracemw.current_trace_id() or ""


def raising(error: Exception) -> Callable[[Any], str]:
    def answer(req: Any) -> str:
        raise error

    return answer


ROUTES: dict[str, Callable[[Any], str]] = {
    "/": lambda req: "start",
    "/order/{number:int}": order,
    "/shops/{shop}/pages/{lang}.{page}": lambda req: "page",
    "/files/{rest:path}": lambda req: "file",
    "/boom": raising(Lost("boom")),
    "/denied": raising(falcon.HTTPUnauthorized()),
    "/unavailable": raising(falcon.HTTPServiceUnavailable()),
    "/moved": raising(falcon.HTTPMovedPermanently("/order/7")),
}


def asgi_shop(prefix: str = "", **config: Any) -> Any:
    app: Any = falcon.asgi.App(**config)
    for template, answer in ROUTES.items():
        app.add_route(prefix + template, AsyncEndpoint(answer))
    return app


def wsgi_shop(**config: Any) -> Any:
    app: Any = falcon.App(**config)
    for template, answer in ROUTES.items():
        app.add_route(template, Endpoint(answer))
    return app


def traced(app: Any, **options: Any) -> Any:
    TraceMiddleware(app, **options)
    return app


def told(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(name)


def handling(app: Any, kind: type[Exception], handle: Callable[[Any], None]) -> None:
    """Add a handler of errors to an application of either protocol."""

    async def on_asgi(req: Any, resp: Any, error: Exception, params: Any) -> None:
        handle(resp)

    def on_wsgi(req: Any, resp: Any, error: Exception, params: Any) -> None:
        handle(resp)

    app.add_error_handler(kind, on_asgi if isinstance(app, falcon.asgi.App) else on_wsgi)


@pytest.fixture(params=[asgi_shop, wsgi_shop], ids=["asgi", "wsgi"])
def shop(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def ask(recorded: Recorded) -> Callable[..., tuple[Any, ReadableSpan]]:
    """Make one request with Falcon's test client, and return the answer with the one SERVER span."""

    def once(app: Any, path: str, method: str = "GET", **request: Any) -> tuple[Any, ReadableSpan]:
        answer = falcon.testing.simulate_request(app, method, path, **request)
        return answer, recorded.server

    return once


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("/order/7", "/order/{number:int}"),
        ("/shops/b/pages/en.tea", "/shops/{shop}/pages/{lang}.{page}"),
        ("/files/a/b.txt", "/files/{rest:path}"),
    ],
)
def test_the_route_is_the_whole_template_as_the_application_has_given_it(
    ask: Any, shop: Any, path: str, route: str
) -> None:
    answer, span = ask(traced(shop()), path)
    assert answer.status_code == 200
    assert (span.name, told(span, "http.route")) == (f"GET {route}", route)


@pytest.mark.parametrize(("path", "status"), [("/none", 404), ("/order/x", 404)])
def test_a_request_that_nothing_matches_has_a_span_without_a_route(ask: Any, shop: Any, path: str, status: int) -> None:
    answer, span = ask(traced(shop()), path)
    assert answer.status_code == status
    assert (span.name, told(span, "http.route")) == ("GET", None)
    assert span.status.status_code is StatusCode.UNSET


def test_a_method_that_the_resource_has_not_keeps_the_route_of_the_resource(ask: Any, shop: Any) -> None:
    answer, span = ask(traced(shop()), "/order/7", "DELETE")
    assert answer.status_code == 405
    assert span.name == "DELETE /order/{number:int}"


def test_static_files_and_sinks_have_a_span_without_a_route(ask: Any, recorded: Recorded) -> None:
    async def sink(req: Any, resp: Any) -> None:
        resp.text = "sunk"

    app = traced(asgi_shop())
    app.add_static_route("/static", Path(__file__).parent)
    app.add_sink(sink, "/sink")
    for path in ("/static/test_falcon.py", "/sink/7"):
        recorded.clear()
        answer, span = ask(app, path)
        assert (answer.status_code, span.name) == (200, "GET")


def test_routes_that_are_added_later_are_traced(ask: Any) -> None:
    app = traced(asgi_shop())
    app.add_route("/late/{number}", AsyncEndpoint(order))
    assert ask(app, "/late/7")[1].name == "GET /late/{number}"


@pytest.mark.parametrize("independent", [True, False])
def test_a_middleware_that_answers_before_the_router_has_a_span_without_a_route(
    ask: Any, shop: Any, independent: bool
) -> None:
    class Answering:
        async def process_request_async(self, req: Any, resp: Any) -> None:
            self.process_request(req, resp)

        def process_request(self, req: Any, resp: Any) -> None:
            resp.complete = True

    app = shop(middleware=[Answering()], independent_middleware=independent)
    answer, span = ask(traced(app), "/order/7")
    assert (answer.status_code, span.name) == (200, "GET")


async def get(app: Any, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        return await client.get(f"http://shop.example{path}")


@pytest.mark.parametrize("outer", [True, False])
def test_a_mount_of_an_asgi_application_is_in_falcons_own_templates(recorded: Recorded, outer: bool) -> None:
    app = Starlette(routes=[Mount("/tenants/{tenant}", traced(asgi_shop("/tenants/{tenant:int}")))])
    if outer:
        app.add_middleware(tracemw.starlette.TraceMiddleware)
    assert asyncio.run(get(app, "/tenants/7/order/7")).status_code == 200
    assert told(recorded.server, "http.route") == "/tenants/{tenant:int}/order/{number:int}"
    assert told(recorded.server, "url.path") == "/tenants/7/order/7"


def test_a_mount_that_a_middleware_cuts_from_the_path_is_in_the_route(recorded: Recorded) -> None:
    class Cutting:
        async def process_request(self, req: Any, resp: Any) -> None:
            req.path = req.path.removeprefix(req.root_path)

    inner = traced(asgi_shop(middleware=[Cutting()]))
    app = Starlette(routes=[Mount("/tenants/{tenant}", inner)])
    app.add_middleware(tracemw.starlette.TraceMiddleware)
    assert asyncio.run(get(app, "/tenants/7/order/7")).status_code == 200
    assert told(recorded.server, "http.route") == "/tenants/{tenant}/order/{number:int}"


@pytest.mark.parametrize(("path", "route"), [("/order/7", "/order/{number:int}"), ("/none", "/{path}")])
def test_a_wsgi_application_in_an_asgi_one_has_one_span_with_the_whole_route(
    recorded: Recorded, path: str, route: str
) -> None:
    mounted: Any = WSGIMiddleware(traced(wsgi_shop()))
    app = Starlette(routes=[Mount("/tenants/{tenant}", mounted)])
    app.add_middleware(tracemw.starlette.TraceMiddleware)
    asyncio.run(get(app, f"/tenants/7{path}"))
    assert told(recorded.server, "http.route") == f"/tenants/{{tenant}}{route}"


def test_behind_a_real_server_the_span_continues_the_callers_trace_and_tells_its_id(recorded: Recorded) -> None:
    with uvicorn_serving(traced(asgi_shop())) as url:
        answer = httpx.get(f"{url}/order/7", headers={"traceparent": TRACEPARENT})
        wait_until(lambda: len(recorded.all) == 2)
    assert (answer.text, answer.headers["x-trace-id"]) == (TRACE_ID, TRACE_ID)
    assert recorded.server.name == "GET /order/{number:int}"
    assert recorded.server.parent is not None
    assert f"{recorded.server.parent.span_id:016x}" == PARENT_ID
    assert recorded.named("order.find").parent == recorded.server.context


def test_an_exception_that_nothing_handles_is_recorded_once_with_the_500(ask: Any, shop: Any) -> None:
    answer, span = ask(traced(shop()), "/boom")
    assert answer.status_code == 500
    assert (told(span, "error.type"), told(span, "http.response.status_code")) == ("500", 500)
    assert [event.attributes["exception.type"] for event in span.events] == [f"{__name__}.Lost"]


@pytest.mark.parametrize("is_later", [True, False])
def test_an_exception_with_a_page_for_all_errors_is_recorded_too(ask: Any, shop: Any, is_later: bool) -> None:
    def sorry(resp: Any) -> None:
        resp.status, resp.text = 500, "sorry"

    app = traced(shop()) if is_later else shop()
    handling(app, Exception, sorry)
    answer, span = ask(traced(app), "/boom")
    assert answer.text == "sorry"
    assert len(span.events) == 1


def test_an_exception_that_the_application_handles_counts_by_its_answer(ask: Any, shop: Any) -> None:
    def gone(resp: Any) -> None:
        resp.status = 410

    app = traced(shop())
    handling(app, Lost, gone)
    answer, span = ask(app, "/boom")
    assert answer.status_code == 410
    assert (span.status.status_code, span.events) == (StatusCode.UNSET, ())


def test_an_exception_that_its_handler_raises_again_is_recorded_once(recorded: Recorded, shop: Any) -> None:
    def again(resp: Any) -> None:
        raise sys.exception() or AssertionError

    app = traced(shop())
    handling(app, Exception, again)
    with pytest.raises(Lost, match="boom"):
        falcon.testing.simulate_get(app, "/boom")
    assert (told(recorded.server, "http.response.status_code"), len(recorded.server.events)) == (500, 1)


@pytest.mark.parametrize(("path", "status"), [("/denied", 401), ("/unavailable", 503), ("/moved", 301)])
def test_an_exception_that_is_raised_as_an_answer_is_no_exception(ask: Any, shop: Any, path: str, status: int) -> None:
    answer, span = ask(traced(shop()), path)
    assert answer.status_code == told(span, "http.response.status_code") == status
    assert told(span, "error.type") == (None if status < 500 else str(status))
    assert span.events == ()


def test_an_exception_of_a_middleware_is_recorded_as_one_of_a_responder(ask: Any, shop: Any) -> None:
    class Failing:
        async def process_response_async(self, *_: Any) -> None:
            raise Lost("on the way")

        def process_response(self, *_: Any) -> None:
            raise Lost("on the way")

    _, span = ask(traced(shop(middleware=[Failing()])), "/order/7")
    assert (span.name, told(span, "error.type")) == ("GET /order/{number:int}", "500")
    assert len(span.events) == 1


@pytest.mark.parametrize("text", ["tea", "boom"])
def test_a_websocket_is_one_span_and_its_exception_an_error(recorded: Recorded, text: str) -> None:
    with uvicorn_serving(traced(asgi_shop())) as url:
        with connect(url.replace("http", "ws") + "/order/7") as client:
            client.send(text)
            if text == "tea":
                assert client.recv() == "tea"
            with pytest.raises(ConnectionClosed) as closed:
                client.recv()
        wait_until(lambda: recorded.all)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == (1000 if text == "tea" else 1011)
    assert recorded.server.name == "GET /order/{number:int}"
    assert told(recorded.server, "http.response.status_code") == 101
    assert told(recorded.server, "error.type") == (f"{__name__}.Lost" if text == "boom" else None)


def test_a_second_door_changes_nothing(ask: Any, shop: Any) -> None:
    app = traced(traced(shop()), response_header="x-other")
    wrap = tracemw.asgi if isinstance(app, falcon.asgi.App) else tracemw.wsgi
    answer, span = ask(app, "/order/7")
    assert "x-other" not in answer.headers
    assert span.name == "GET /order/{number:int}"
    assert len(falcon.inspect.inspect_middleware(app).middleware_classes) == 1
    assert isinstance(wrap.TraceMiddleware(app), wrap.TraceMiddleware)


def test_the_application_stays_what_it_is(shop: Any) -> None:
    class Shop(type(shop())):  # type: ignore[misc]  # has a __dict__, as a Falcon application has not
        pass

    app = Shop()
    app.stock = 7
    before = falcon.inspect.inspect_app(app).to_string()
    TraceMiddleware(app)
    assert (type(app).__name__, isinstance(app, Shop), app.stock) == ("Shop", True, 7)
    assert before.splitlines()[0] == falcon.inspect.inspect_app(app).to_string().splitlines()[0]


@pytest.mark.parametrize("options", [{"unknown": 1}, {"span_name": "GET"}])
@pytest.mark.parametrize("make", [asgi_shop, lambda: traced(wsgi_shop())], ids=["first", "second"])
def test_a_wrong_option_is_an_error_of_the_line_that_gives_it(make: Callable[[], Any], options: Any) -> None:
    with pytest.raises(TypeError, match=next(iter(options))):
        TraceMiddleware(make(), **options)


def test_anything_but_an_application_is_an_error() -> None:
    with pytest.raises(TypeError, match="takes a Falcon application, not Endpoint"):
        TraceMiddleware(Endpoint(order))  # type: ignore[arg-type]


SERVED = """
import falcon.asgi, tracemw, tracemw.falcon

class Order:
    async def on_get(self, req, resp, number):
        resp.text = "tea"

tracemw.init("shop")
app = falcon.asgi.App()
app.add_route("/order/{number}", Order())
tracemw.falcon.TraceMiddleware(app)
"""


def test_the_spans_arrive_when_a_server_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(SERVED)
    port = free_port()
    with backend_serving() as backend:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
        with process("-m", "uvicorn", "--port", str(port), "served:app", env=environment, cwd=tmp_path) as running:
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/order/7"))
            running.send_signal(signal.SIGTERM)
            running.wait(60)
        assert [span.name for span in backend.spans] == ["GET /order/{number}"]
