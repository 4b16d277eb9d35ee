"""An application of one protocol mounted in one of the other: both doors, one request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import flask
import httpx
import pytest
from a2wsgi import ASGIMiddleware, WSGIMiddleware
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.middleware.opentelemetry import OpenTelemetryMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import tracemw
import tracemw.asgi
import tracemw.flask
import tracemw.httpx
import tracemw.starlette
import tracemw.wsgi
from calls import ask, carrying
from conftest import PARENT_ID, TRACE_ID, TRACEPARENT, Meters, Recorded
from servers import uvicorn_serving, wait_until, werkzeug_serving


def legacy(**options: Any) -> flask.Flask:
    app = flask.Flask("legacy")

    @app.get("/order/<int:order_id>")
    def order(order_id: int) -> str:
        tracemw.annotate(**{"order.id": order_id})
        with tracemw.span("order.load"):
            return tracemw.current_trace_id() or ""

    @app.get("/boom")
    def boom() -> str:
        raise ValueError("boom")

    @app.get("/health")
    def health() -> str:
        return "ok"

    tracemw.flask.TraceMiddleware(app, **options)
    return app


def new_fastapi(**options: Any) -> Any:
    fastapi = pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")
    from tracemw.fastapi import TraceMiddleware

    app = fastapi.FastAPI()
    app.add_middleware(TraceMiddleware, **options)
    return app


def in_fastapi(wsgi_app: Any, **options: Any) -> Any:
    app = new_fastapi(**options)
    app.mount("/shops/{shop}", WSGIMiddleware(wsgi_app))
    return app


def mount(path: str, wsgi_app: Any) -> Mount:
    asgi_app: Any = WSGIMiddleware(wsgi_app)
    return Mount(path, asgi_app)


def in_starlette(wsgi_app: Any, **options: Any) -> Any:
    app = Starlette(routes=[mount("/shops/{shop}", wsgi_app)])
    app.add_middleware(tracemw.starlette.TraceMiddleware, **options)
    return app


def in_plain_asgi(wsgi_app: Any, **options: Any) -> Any:
    return tracemw.asgi.TraceMiddleware(Starlette(routes=[mount("/shops/3", wsgi_app)]), **options)


@pytest.fixture(params=[in_fastapi, in_starlette, in_plain_asgi])
def mounted(request: pytest.FixtureRequest) -> Callable[..., Any]:
    function: Callable[..., Any] = request.param
    return function


@pytest.fixture(params=[in_fastapi, in_starlette])
def mounted_at_a_route(request: pytest.FixtureRequest) -> Callable[..., Any]:
    function: Callable[..., Any] = request.param
    return function


class TestFlaskInAnAsgiApplication:
    @pytest.mark.parametrize("headers", [[], carrying(TRACEPARENT)])
    @pytest.mark.parametrize("trust_inbound", [True, False])
    async def test_has_one_server_span(
        self, mounted: Callable[..., Any], recorded: Recorded, headers: Any, trust_inbound: bool
    ) -> None:
        answer = await ask(mounted(legacy(), trust_inbound=trust_inbound), "/shops/3/order/7", headers=headers)
        server, load = recorded.server, recorded.named("order.load")
        assert answer.status == 200
        assert load.parent == server.context
        assert server.attributes is not None
        assert server.attributes["order.id"] == 7
        assert server.attributes["http.response.status_code"] == 200
        trace_id = f"{server.context.trace_id:032x}"
        assert (answer.body.decode(), answer.header(b"x-trace-id")) == (trace_id, trace_id.encode())
        assert (trace_id == TRACE_ID) is (trust_inbound and headers != [])

    async def test_is_named_by_the_whole_route(
        self, mounted_at_a_route: Callable[..., Any], recorded: Recorded
    ) -> None:
        await ask(mounted_at_a_route(legacy()), "/shops/3/order/7")
        assert recorded.server.name == "GET /shops/{shop}/order/<int:order_id>"

    async def test_is_named_by_its_own_route_where_the_other_door_knows_none(self, recorded: Recorded) -> None:
        await ask(in_plain_asgi(legacy()), "/shops/3/order/7")
        assert recorded.server.name == "GET /shops/3/order/<int:order_id>"

    async def test_has_its_exceptions_on_the_one_span(self, mounted: Callable[..., Any], recorded: Recorded) -> None:
        assert (await ask(mounted(legacy()), "/shops/3/boom")).status == 500
        server = recorded.server
        assert server.status.status_code is StatusCode.ERROR
        assert [(event.attributes or {})["exception.type"] for event in server.events] == ["ValueError"]

    async def test_is_measured_once(self, mounted: Callable[..., Any], meters: Meters) -> None:
        app = mounted(legacy(meter_provider=meters.provider), meter_provider=meters.provider)
        await ask(app, "/shops/3/order/7")
        (duration,) = meters.points("http.server.request.duration")
        assert duration.count == 1
        assert duration.attributes["http.route"].endswith("/order/<int:order_id>")
        assert [point.value for point in meters.points("http.server.active_requests")] == [0]

    async def test_is_skipped_with_the_request(self, mounted: Callable[..., Any], recorded: Recorded) -> None:
        assert (await ask(mounted(legacy(), skip="/shops/3/*"), "/shops/3/order/7")).status == 200
        assert not recorded.all

    def test_holds_over_a_real_server(self, mounted_at_a_route: Callable[..., Any], recorded: Recorded) -> None:
        with uvicorn_serving(mounted_at_a_route(legacy())) as url:
            for number in range(20):
                assert len(httpx.get(f"{url}/shops/3/order/{number}").text) == 32
            wait_until(lambda: len(recorded.all) == 40)
        servers = recorded.of_kind(SpanKind.SERVER)
        # The last, empty part of a body may be sent while the client, which has it all, already asks again.
        assert {(span.attributes or {})["order.id"] for span in servers} == set(range(20))
        assert {span.name for span in servers} == {"GET /shops/{shop}/order/<int:order_id>"}


class TestARequestThatTheProcessMakesToItself:
    """Through a transport without a network: the context goes along as it does into a mounted application."""

    @pytest.fixture
    def handler(self) -> Callable[[Any, str], Any]:
        def application(transport: Any, path: str) -> Any:
            def page(request: Request) -> Response:
                with httpx.Client(transport=transport) as client:
                    return PlainTextResponse(client.get(f"http://legacy{path}").text)

            app = Starlette(routes=[Route("/order/7", page)])
            app.add_middleware(tracemw.starlette.TraceMiddleware)
            return app

        return application

    async def test_has_a_span_of_its_own_beneath_the_clients(
        self, handler: Callable[[Any, str], Any], recorded: Recorded
    ) -> None:
        transport = tracemw.httpx.TraceTransport(httpx.WSGITransport(app=legacy()))
        answer = await ask(handler(transport, "/order/7"), "/order/7")
        inner, outer = recorded.of_kind(SpanKind.SERVER)
        assert inner.parent is not None
        assert inner.parent.span_id == recorded.client.context.span_id
        assert inner.context.trace_id == outer.context.trace_id == int(answer.body, 16)

    async def test_has_a_span_of_its_own_when_the_client_is_not_traced(
        self, handler: Callable[[Any, str], Any], recorded: Recorded
    ) -> None:
        await ask(handler(httpx.WSGITransport(app=legacy()), "/order/8"), "/order/7")
        inner, outer = recorded.of_kind(SpanKind.SERVER)
        assert (inner.name, inner.parent) == ("GET /order/<int:order_id>", None)
        assert outer.name == "GET /order/7"


def test_starlettes_own_middleware_stays_silent_in_a_flask_application(recorded: Recorded) -> None:
    inner: Any = Starlette(routes=[Route("/order/{order_id}", lambda _: PlainTextResponse("ok"))])
    inner.add_middleware(OpenTelemetryMiddleware)
    inner.add_middleware(tracemw.starlette.TraceMiddleware)
    wsgi_app: Any = ASGIMiddleware(inner)
    with werkzeug_serving(tracemw.wsgi.TraceMiddleware(wsgi_app)) as url:
        assert httpx.get(f"{url}/order/7").text == "ok"
        wait_until(lambda: bool(recorded.all))
    assert recorded.server.name == "GET /order/{order_id}"
    assert len(recorded.all) == 1


class TestFastAPIInAFlaskApplication:
    @staticmethod
    def application() -> Any:
        async def order(order_id: int) -> str:
            tracemw.annotate(**{"order.id": order_id})
            await asyncio.sleep(0)
            return tracemw.current_trace_id() or ""

        inner = new_fastapi()
        inner.get("/order/{order_id}")(order)
        app = legacy()
        mounts: Any = {"/shops": ASGIMiddleware(inner)}
        app.wsgi_app = DispatcherMiddleware(app.wsgi_app, mounts)  # type: ignore[method-assign]
        return tracemw.wsgi.TraceMiddleware(app)

    def test_has_one_server_span(self, recorded: Recorded) -> None:
        with werkzeug_serving(self.application()) as url:
            answer = httpx.get(f"{url}/shops/order/7", headers={"traceparent": TRACEPARENT})
            wait_until(lambda: bool(recorded.all))
        server = recorded.server
        assert answer.json() == TRACE_ID
        assert server.parent is not None
        assert f"{server.parent.span_id:016x}" == PARENT_ID
        assert server.name == "GET /shops/order/{order_id}"
        assert (server.attributes or {})["order.id"] == 7
