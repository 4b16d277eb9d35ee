"""The door for Starlette, inside and outside of the application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.opentelemetry import OpenTelemetryMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

import tracemw
from calls import Answer, ask, carrying, http_scope
from conftest import PARENT_ID, TRACE_ID, TRACEPARENT, Recorded
from servers import uvicorn_serving, wait_until
from tracemw import asgi
from tracemw.starlette import TraceMiddleware

Install = Callable[..., Any]


def inside(app: Starlette, **options: Any) -> Any:
    app.add_middleware(TraceMiddleware, **options)
    return app


def outside(app: Starlette, **options: Any) -> Any:
    return TraceMiddleware(app, **options)


@pytest.fixture(params=[inside, outside])
def install(request: pytest.FixtureRequest) -> Install:
    function: Install = request.param
    return function


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


def sync_hello(request: Request) -> Response:
    with tracemw.span("in thread"):
        return PlainTextResponse("hello")


async def boom(request: Request) -> Response:
    raise ValueError("boom")


async def not_found(request: Request) -> Response:
    raise HTTPException(404)


async def bare(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("bare")(scope, receive, send)


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


def shop(*, readable: bool = False) -> Starlette:
    """An application with routes of every kind; without the opaque function, its tree of routers can be read."""
    return Starlette(
        routes=[
            *([] if readable else [Mount("/bare/{name}", bare)]),
            Route("/", hello),
            Route("/checkout/{order_id}", hello, methods=["GET", "POST"]),
            Route("/files/{path:path}", hello),
            Route("/thread", sync_hello),
            Route("/boom", boom),
            Route("/missing", not_found),
            Mount("/static", StaticFiles(directory="/etc", check_dir=False)),
            Mount(
                "/tenants/{tenant}",
                routes=[
                    Route("/", hello),
                    Route("/orders/{order_id:int}", hello),
                    Mount("/deep/{level}", Starlette(routes=[Route("/end/{leaf}", hello)])),
                ],
            ),
            Mount("/plain", Router([Route("/item/{item}", hello)])),
            WebSocketRoute("/chat/{room}", chat),
            Host(
                "{sub}.api.example", Router([Route("/hosted/{item}", hello), Mount("/m", Router([Route("/x", hello)]))])
            ),
        ]
    )


class TestTheRoute:
    @pytest.mark.parametrize(
        ("path", "route"),
        [
            ("/", "/"),
            ("/checkout/7", "/checkout/{order_id}"),
            ("/files/a/b/c", "/files/{path}"),
            ("/static/hostname", "/static/{path}"),
            ("/static/none", "/static/{path}"),
            ("/tenants/acme/", "/tenants/{tenant}/"),
            ("/tenants/acme/orders/5", "/tenants/{tenant}/orders/{order_id}"),
            ("/tenants/acme/deep/3/end/x", "/tenants/{tenant}/deep/{level}/end/{leaf}"),
            ("/plain/item/1", "/plain/item/{item}"),
            ("/plain/none", "/plain/{path}"),
            ("/tenants/acme/none", "/tenants/{tenant}/{path}"),
            ("/tenants/acme/deep/3/none", "/tenants/{tenant}/deep/{level}/{path}"),
        ],
    )
    @pytest.mark.parametrize("readable", [True, False])
    async def test_is_the_complete_template(
        self, recorded: Recorded, install: Install, path: str, route: str, *, readable: bool
    ) -> None:
        await ask(install(shop(readable=readable)), path)
        assert (recorded.server.attributes or {})["http.route"] == route
        assert recorded.server.name == f"GET {route}"
        assert (recorded.server.attributes or {})["url.path"] == path

    async def test_ends_at_an_application_that_is_not_starlettes(self, recorded: Recorded, install: Install) -> None:
        await ask(install(shop()), "/bare/7/rest")
        assert recorded.server.name == "GET /bare/{name}/{path}"

    @pytest.mark.parametrize(("path", "route"), [("/hosted/1", "/hosted/{item}"), ("/m/x", "/m/x")])
    @pytest.mark.parametrize("readable", [True, False])
    async def test_does_not_hold_the_host(
        self, recorded: Recorded, install: Install, path: str, route: str, *, readable: bool
    ) -> None:
        answer = await ask(
            install(shop(readable=readable)), scope={**http_scope(path), "headers": [(b"host", b"eu.api.example")]}
        )
        assert answer.status == 200
        assert recorded.server.name == f"GET {route}"

    @pytest.mark.parametrize("path", ["/none", "/checkout/7/"])
    async def test_is_left_out_when_nothing_matched_or_the_slash_is_redirected(
        self, recorded: Recorded, install: Install, path: str
    ) -> None:
        app = Starlette(routes=[Route("/checkout/{order_id}", hello)])
        answer = await ask(install(app), path)
        assert answer.status in (307, 404)
        assert recorded.server.name == "GET"
        assert "http.route" not in (recorded.server.attributes or {})
        assert recorded.server.status.status_code is StatusCode.UNSET

    @pytest.mark.parametrize("where", ["/first", "/second/{kind}"])
    async def test_is_right_for_an_application_that_is_mounted_twice(
        self, recorded: Recorded, install: Install, where: str
    ) -> None:
        shared = Starlette(routes=[Route("/items/{item}", hello)])
        app = install(Starlette(routes=[Mount("/first", shared), Mount("/second/{kind}", shared)]))
        await ask(app, where.format(kind="a") + "/items/1")
        assert recorded.server.name == f"GET {where}/items/{{item}}"

    async def test_is_known_for_a_route_or_mount_added_while_serving(
        self, recorded: Recorded, install: Install
    ) -> None:
        app = shop(readable=True)
        traced = install(app)
        await ask(traced, "/late/1")
        app.router.routes.append(Mount("/late", routes=[Route("/{item}", hello)]))
        await ask(traced, "/late/1")
        assert [span.name for span in recorded.all] == ["GET", "GET /late/{item}"]

    async def test_is_complete_for_a_route_added_to_a_mounted_application_while_serving(
        self, recorded: Recorded, install: Install
    ) -> None:
        inner = Starlette(routes=[Route("/old", hello)])
        app = install(Starlette(routes=[Mount("/tenants/{tenant}", inner)]))
        await ask(app, "/tenants/acme/old")
        inner.router.routes.append(Route("/new", hello))
        await ask(app, "/tenants/acme/new")
        assert [span.name for span in recorded.all] == ["GET /tenants/{tenant}/old", "GET /tenants/{tenant}/new"]

    @pytest.mark.parametrize("kind", [Starlette, Router])
    async def test_is_known_in_an_application_that_is_mounted_within_itself(
        self, recorded: Recorded, kind: Any
    ) -> None:
        app = kind(routes=[Route("/item/{item}", hello)])
        app.routes.append(Mount("/again", app))
        assert (await ask(TraceMiddleware(app), "/again/again/item/1")).status == 200
        assert recorded.server.name == "GET /again/again/item/{item}"

    @pytest.mark.parametrize("root", [None, 7, b"/api"])
    @pytest.mark.parametrize("readable", [True, False])
    async def test_survives_a_root_path_of_another_type(
        self, recorded: Recorded, root: object, *, readable: bool
    ) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await shop(readable=readable)({**scope, "root_path": ""}, receive, send)

        assert (await ask(TraceMiddleware(app), scope={**http_scope("/"), "root_path": root})).status == 200
        assert recorded.server.name == "GET"

    async def test_is_the_same_beneath_a_mount_without_a_prefix(self, recorded: Recorded, install: Install) -> None:
        app = Starlette(routes=[Mount("", routes=[Mount("/a", routes=[Route("/b/{item}", hello)])])])
        await ask(install(app), "/a/b/1")
        assert recorded.server.name == "GET /a/b/{item}"

    async def test_is_known_for_a_method_that_is_not_allowed(self, recorded: Recorded, install: Install) -> None:
        answer = await ask(install(shop()), "/checkout/7", method="DELETE")
        assert answer.status == 405
        assert recorded.server.name == "DELETE /checkout/{order_id}"
        assert recorded.server.status.status_code is StatusCode.UNSET

    @pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS"])
    async def test_goes_with_every_method(self, recorded: Recorded, install: Install, method: str) -> None:
        await ask(install(shop()), "/checkout/7", method=method)
        assert recorded.server.name == f"{method} /checkout/{{order_id}}"

    async def test_is_not_known_for_a_preflight_that_cors_answers(self, recorded: Recorded) -> None:
        app = shop()
        app.add_middleware(CORSMiddleware, allow_origins=["*"])
        headers = [(b"origin", b"https://shop.example"), (b"access-control-request-method", b"GET")]
        answer = await ask(TraceMiddleware(app), "/checkout/7", method="OPTIONS", headers=headers)
        assert answer.status == 200
        assert recorded.server.name == "OPTIONS"

    async def test_holds_the_root_path_once(self, recorded: Recorded, install: Install) -> None:
        app = install(shop())
        for path in ("/api/tenants/acme/orders/5", "/api/checkout/7"):
            await ask(app, path, root_path="/api")
        assert [span.name for span in recorded.all] == [
            "GET /api/tenants/{tenant}/orders/{order_id}",
            "GET /api/checkout/{order_id}",
        ]
        assert (recorded.all[1].attributes or {})["url.path"] == "/api/checkout/7"

    def test_holds_the_root_path_of_a_real_server_once(self, recorded: Recorded) -> None:
        with uvicorn_serving(outside(shop()), root_path="/api") as url:
            assert httpx.get(f"{url}/checkout/7").status_code == 200
            wait_until(lambda: recorded.all)
        assert recorded.server.name == "GET /api/checkout/{order_id}"
        assert (recorded.server.attributes or {})["url.path"] == "/api/checkout/7"

    async def test_leaves_out_a_prefix_that_it_cannot_know(self, recorded: Recorded, install: Install) -> None:
        inner = install(Starlette(routes=[Route("/orders/{order_id}", hello)]))
        app = Starlette(routes=[Mount("/tenants/{tenant}", inner)])
        assert (await ask(app, "/tenants/acme/orders/5")).status == 200
        assert recorded.server.name == "GET /orders/{order_id}"

    async def test_leaves_out_what_happens_in_a_copy_of_the_scope(self, recorded: Recorded, install: Install) -> None:
        def copying(app: Any) -> Any:
            async def call(scope: Any, receive: Any, send: Any) -> None:
                await app({**scope}, receive, send)

            return call

        app = Starlette(
            routes=[
                Mount("/tenants/{tenant}", copying(Router([Route("/orders/{order_id}", hello)]))),
            ]
        )
        assert (await ask(install(app), "/tenants/acme/orders/5")).status == 200
        assert recorded.server.name == "GET /tenants/{tenant}/{path}"

    async def test_can_be_read_from_the_scope_by_middleware_outside(self, recorded: Recorded) -> None:
        scope = http_scope("/checkout/7")
        await ask(outside(shop()), scope=scope)
        assert scope["route"].path == "/checkout/{order_id}"
        assert scope["path_params"] == {"order_id": "7"}


class TestErrors:
    async def test_that_nothing_handles_are_one_exception_and_a_500(self, recorded: Recorded, install: Install) -> None:
        answer = Answer()
        with pytest.raises(ValueError, match="boom"):
            await ask(install(shop()), "/boom", answer=answer)
        assert answer.status == 500
        span = recorded.server
        attributes = span.attributes or {}
        assert span.name == "GET /boom"
        assert attributes["http.response.status_code"] == 500
        assert attributes["error.type"] == "500"
        assert span.status.status_code is StatusCode.ERROR
        (event,) = span.events
        assert (event.attributes or {})["exception.type"] == "ValueError"
        assert (event.attributes or {})["exception.message"] == "boom"

    async def test_that_pass_through_http_middleware_are_one_exception(
        self, recorded: Recorded, install: Install
    ) -> None:
        async def passing(request: Request, call_next: Any) -> Any:
            assert tracemw.current_trace_id() == TRACE_ID
            return await call_next(request)

        app = Starlette(
            routes=[Route("/boom", boom)], middleware=[Middleware(BaseHTTPMiddleware, dispatch=passing)] * 2
        )
        with pytest.raises(ValueError, match="boom"):
            await ask(install(app), "/boom", headers=carrying(TRACEPARENT))
        assert recorded.server.name == "GET /boom"
        assert len(recorded.server.events) == 1

    async def test_below_500_are_none(self, recorded: Recorded, install: Install) -> None:
        assert (await ask(install(shop()), "/missing")).status == 404
        assert recorded.server.status.status_code is StatusCode.UNSET
        assert recorded.server.events == ()

    async def test_that_the_application_handles_count_by_their_answer(
        self, recorded: Recorded, install: Install
    ) -> None:
        async def teapot(request: Request, error: Exception) -> Response:
            with tracemw.span("handling"):
                return PlainTextResponse("short and stout", 418)

        app = Starlette(routes=[Route("/boom", boom)], exception_handlers={ValueError: teapot})
        assert (await ask(install(app), "/boom")).status == 418
        assert recorded.server.status.status_code is StatusCode.UNSET
        assert recorded.server.events == ()
        assert recorded.named("handling").context.trace_id == recorded.server.context.trace_id

    @pytest.mark.parametrize(("path", "status"), [("/sub/none", 404), ("/sub/broken/", 503)])
    async def test_that_handlers_outside_of_the_door_answer_are_no_exceptions(
        self, recorded: Recorded, path: str, status: int
    ) -> None:
        async def broken(scope: Any, receive: Any, send: Any) -> None:
            raise HTTPException(503)

        app = Starlette(routes=[Mount("/sub", TraceMiddleware(Router([Mount("/broken", broken)])))])
        assert (await ask(app, path)).status == status
        assert (recorded.server.attributes or {})["http.response.status_code"] == status
        assert recorded.server.status.status_code is (StatusCode.ERROR if status >= 500 else StatusCode.UNSET)
        assert recorded.server.events == ()

    async def test_that_no_handler_outside_of_the_door_answers_are_a_500(self, recorded: Recorded) -> None:
        app = Starlette(routes=[Mount("/sub", TraceMiddleware(Router([Route("/boom", boom)])))])
        with pytest.raises(ValueError, match="boom"):
            await ask(app, "/sub/boom")
        assert (recorded.server.attributes or {})["http.response.status_code"] == 500
        assert (recorded.server.attributes or {})["error.type"] == "500"
        assert len(recorded.server.events) == 1

    async def test_after_the_headers_leave_the_status(self, recorded: Recorded, install: Install) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"half"
            raise ValueError("boom")

        async def stream(request: Request) -> Response:
            return StreamingResponse(chunks())

        with pytest.raises((ValueError, ExceptionGroup)):
            await ask(install(Starlette(routes=[Route("/stream", stream)])), "/stream")
        attributes = recorded.server.attributes or {}
        assert attributes["http.response.status_code"] == 200
        assert recorded.server.status.status_code is StatusCode.ERROR
        assert len(recorded.server.events) == 1


class TestTheSpan:
    async def test_reaches_the_thread_of_a_synchronous_endpoint(self, recorded: Recorded, install: Install) -> None:
        await ask(install(shop()), "/thread")
        parent = recorded.named("in thread").parent
        assert parent is not None
        assert parent.span_id == recorded.server.context.span_id

    async def test_ends_before_background_tasks(self, recorded: Recorded, install: Install) -> None:
        async def mail() -> None:
            assert len(recorded.of_kind(SpanKind.SERVER)) == 1
            with tracemw.span("mail.send"):
                await asyncio.sleep(0)

        async def order(request: Request) -> Response:
            return PlainTextResponse("ordered", background=BackgroundTask(mail))

        await ask(install(Starlette(routes=[Route("/order", order)])), "/order")
        assert recorded.named("mail.send").context.trace_id == recorded.server.context.trace_id

    def test_covers_a_stream_and_what_is_done_for_it(self, recorded: Recorded, install: Install) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for number in range(3):
                with tracemw.span(f"chunk {number}"):
                    yield b"x"
                assert not recorded.of_kind(SpanKind.SERVER)

        async def stream(request: Request) -> Response:
            return StreamingResponse(chunks())

        app = install(Starlette(routes=[Route("/stream", stream)]))
        with uvicorn_serving(app, lifespan="off") as url:
            assert httpx.get(f"{url}/stream").content == b"xxx"
            wait_until(lambda: recorded.of_kind(SpanKind.SERVER))
        assert {span.context.trace_id for span in recorded.all} == {recorded.server.context.trace_id}
        assert len(recorded.all) == 4

    def test_ends_when_the_client_hangs_up_in_a_stream(self, recorded: Recorded, install: Install) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0.01)

        async def stream(request: Request) -> Response:
            return StreamingResponse(chunks())

        with uvicorn_serving(install(Starlette(routes=[Route("/stream", stream)])), lifespan="off") as url:
            with httpx.stream("GET", f"{url}/stream") as response:
                next(response.iter_raw())
            wait_until(lambda: recorded.all)
        assert (recorded.server.attributes or {})["http.response.status_code"] == 200
        assert recorded.server.status.status_code is StatusCode.UNSET

    async def test_of_a_websocket_has_its_route(self, recorded: Recorded, install: Install) -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {**http_scope("/chat/lobby"), "type": "websocket", "scheme": "ws", "subprotocols": []}
        await install(shop())(scope, receive, send)
        assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
        assert recorded.server.name == "GET /chat/{room}"
        assert (recorded.server.attributes or {})["http.response.status_code"] == 101

    async def test_is_never_mixed_up_with_that_of_a_request_beside_it(
        self, recorded: Recorded, install: Install
    ) -> None:
        async def item(request: Request) -> Response:
            number = int(request.path_params["number"])
            await asyncio.sleep(number % 7 / 1000)
            return PlainTextResponse(tracemw.current_trace_id() or "", 200 + number % 300)

        routes = [
            Mount("/{kind}/a", routes=[Route("/x/{number}", item)]),
            Mount("/{kind}/b", routes=[Route("/{number}", item)]),
        ]
        app = install(Starlette(routes=routes))
        await asyncio.gather(
            *(
                ask(
                    app,
                    f"/k{n}/a/x/{n}" if n % 2 else f"/k{n}/b/{n}",
                    headers=carrying(f"00-{n + 1:032x}-{PARENT_ID}-01"),
                )
                for n in range(300)
            )
        )
        spans = recorded.of_kind(SpanKind.SERVER)
        assert len(spans) == 300
        for span in spans:
            number = span.context.trace_id - 1
            assert span.name == ("GET /{kind}/a/x/{number}" if number % 2 else "GET /{kind}/b/{number}")
            assert (span.attributes or {})["http.response.status_code"] == 200 + number % 300


class TestOneSpanPerRequest:
    async def test_when_installed_inside_and_outside(self, recorded: Recorded) -> None:
        app = shop()
        inside(inside(app))
        answer = await ask(outside(app), "/checkout/7")
        assert recorded.server.name == "GET /checkout/{order_id}"
        assert answer.header(b"x-trace-id")

    async def test_when_a_traced_application_is_mounted_in_a_traced_one(
        self, recorded: Recorded, install: Install
    ) -> None:
        inner = inside(outside(inside(Starlette(routes=[Route("/end/{leaf}", hello)]))).app)
        app = Starlette(routes=[Mount("/inner/{level}", outside(inner))])
        await ask(install(app), "/inner/3/end/x")
        assert recorded.server.name == "GET /inner/{level}/end/{leaf}"

    async def test_when_the_plain_door_stands_outside(self, recorded: Recorded) -> None:
        await ask(asgi.TraceMiddleware(inside(shop())), "/checkout/7")
        assert recorded.server.name == "GET /checkout/{order_id}"

    async def test_when_starlettes_own_middleware_stands_inside(self, recorded: Recorded) -> None:
        app = shop()
        app.add_middleware(OpenTelemetryMiddleware)
        app.add_middleware(TraceMiddleware)
        await ask(app, "/checkout/7")
        assert recorded.server.name == "GET /checkout/{order_id}"
        assert recorded.server.instrumentation_scope is not None
        assert recorded.server.instrumentation_scope.name == "tracemw"

    @pytest.mark.parametrize("headers", [[], carrying(TRACEPARENT)])
    async def test_when_starlettes_own_middleware_stands_outside(self, recorded: Recorded, headers: Any) -> None:
        async def annotated(request: Request) -> Response:
            tracemw.annotate(**{"order.id": 7})
            return PlainTextResponse("hello")

        app = Starlette(routes=[Route("/checkout/{order_id}", annotated)])
        app.add_middleware(TraceMiddleware)
        app.add_middleware(OpenTelemetryMiddleware)
        answer = await ask(app, "/checkout/7", headers=headers)
        assert recorded.server.name == "GET /checkout/{order_id}"
        assert (recorded.server.attributes or {})["order.id"] == 7
        assert answer.header(b"x-trace-id") == f"{recorded.server.context.trace_id:032x}".encode()

    @pytest.mark.parametrize("urls", ["^http://nowhere, /checkout/7$", ["nowhere", r"/checkout/\d"]])
    async def test_and_none_for_urls_that_starlettes_own_middleware_excludes(
        self, recorded: Recorded, urls: Any
    ) -> None:
        app = shop()
        app.add_middleware(OpenTelemetryMiddleware, excluded_urls=urls)
        app.add_middleware(TraceMiddleware)
        assert (await ask(app, "/checkout/7")).status == 200
        assert not recorded.all
        await ask(app, "/files/7")
        assert recorded.server.name == "GET /files/{path}"

    async def test_and_none_for_health_checks_beside_starlettes_own_middleware(self, recorded: Recorded) -> None:
        app = Starlette(routes=[Route("/health", hello)])
        app.add_middleware(OpenTelemetryMiddleware)
        app.add_middleware(TraceMiddleware)
        assert (await ask(app, "/health")).status == 200
        assert not recorded.all


def test_the_lifespan_works_with_a_real_server(recorded: Recorded, install: Install) -> None:
    ran: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, int]]:
        ran.append("start")
        yield {"answer": 42}
        ran.append("stop")

    async def state(request: Request) -> Response:
        return PlainTextResponse(str(request.state.answer))

    with uvicorn_serving(install(Starlette(routes=[Route("/", state)], lifespan=lifespan)), lifespan="on") as url:
        response = httpx.get(url)
        assert response.text == "42"
        wait_until(lambda: recorded.all)
    assert ran == ["start", "stop"]
    assert response.headers["x-trace-id"] == f"{recorded.server.context.trace_id:032x}"


def test_a_lifespan_that_fails_keeps_its_message(caplog: pytest.LogCaptureFixture, install: Install) -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if app.routes == []:
            raise ValueError("no database")
        yield

    sent: list[Any] = []

    async def run() -> None:
        async def receive() -> Any:
            return {"type": "lifespan.startup"}

        async def send(message: Any) -> None:
            sent.append(message)

        with pytest.raises(ValueError, match="no database"):
            await install(Starlette(lifespan=lifespan))({"type": "lifespan", "state": {}}, receive, send)

    asyncio.run(run())
    (message,) = sent
    assert message["type"] == "lifespan.startup.failed"
    assert "no database" in message["message"]
