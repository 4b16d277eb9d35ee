"""The door for Litestar."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import litestar
import pytest
from litestar import Controller, Litestar, Router, WebSocket
from litestar.exceptions import NotAuthorizedException, ServiceUnavailableException
from litestar.static_files import create_static_files_router
from litestar.testing import TestClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import tracemw
import tracemw.asgi
import tracemw.starlette
from backend import backend_serving
from conftest import PARENT_ID, TRACE_ID, TRACEPARENT, Recorded
from servers import answers, free_port, process, uvicorn_serving, wait_until
from tracemw.litestar import TraceMiddleware


class Lost(Exception):  # noqa: N818
    """An error of the application's own."""


@litestar.get("/")
async def start() -> str:
    return tracemw.current_trace_id() or ""


@litestar.get("/order/{number:int}")
async def order() -> str:
    with tracemw.span("order.find"):
        return tracemw.current_trace_id() or ""


@litestar.get("/boom")
async def boom() -> str:
    raise Lost("boom")


@litestar.get("/denied")
async def denied() -> str:
    raise NotAuthorizedException


@litestar.get("/unavailable")
async def unavailable() -> str:
    raise ServiceUnavailableException


@litestar.get("/files/{rest:path}")
async def files() -> str:
    return "file"


class Pages(Controller):
    path = "/pages/{lang:str}"

    @litestar.get("/{page:str}")
    async def page(self) -> str:
        return "page"


@litestar.websocket("/echo/{room:str}")
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    text = await socket.receive_text()
    if text == "boom":
        raise Lost(text)
    await socket.send_text(text)


def shop(*more: Any, **config: Any) -> Litestar:
    router = Router("/shops/{shop:str}", route_handlers=[Pages])
    routes = [start, order, boom, denied, unavailable, files, echo, router, *more]
    return Litestar(routes, openapi_config=None, logging_config=None, **config)


def mounting(path: str, app: Any, *, copy_scope: bool = True) -> Litestar:
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return Litestar(
        [litestar.asgi(path, is_mount=True, copy_scope=copy_scope)(mounted)], openapi_config=None, logging_config=None
    )


def traced(app: Litestar, **options: Any) -> Litestar:
    TraceMiddleware(app, **options)
    return app


def told(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(name)


@pytest.fixture
def ask(recorded: Recorded) -> Callable[..., tuple[httpx.Response, ReadableSpan]]:
    """Make one request to an application, and return the answer with the one SERVER span."""

    async def get(app: Any, path: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            return await client.get(f"http://shop.example{path}")

    return lambda app, path: (asyncio.run(get(app, path)), recorded.server)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("/order/7", "/order/{number}"),
        ("//order//7/", "/order/{number}"),
        ("/shops/b/pages/en/tea", "/shops/{shop}/pages/{lang}/{page}"),
        ("/files/a/b.txt", "/files/{rest}"),
    ],
)
def test_the_route_is_the_whole_template_without_the_types_of_its_parameters(ask: Any, path: str, route: str) -> None:
    answer, span = ask(traced(shop()), path)
    assert answer.status_code == 200
    assert (span.name, told(span, "http.route")) == (f"GET {route}", route)


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/none", "GET", 404), ("/order/x", "GET", 404), ("/order/7", "DELETE", 405)]
)
def test_a_request_that_nothing_matches_has_a_span_without_a_route(
    recorded: Recorded, path: str, method: str, status: int
) -> None:
    with TestClient(traced(shop())) as client:
        assert client.request(method, path).status_code == status
    assert (recorded.server.name, told(recorded.server, "http.route")) == (method, None)
    assert recorded.server.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("copy_scope", [True, False])
@pytest.mark.parametrize("inner", [shop, lambda: traced(shop())], ids=["plain", "traced"])
@pytest.mark.parametrize("mount", ["/inner", "/two/parts"])
def test_a_mounted_application_has_one_span_that_never_holds_a_path(
    ask: Any, inner: Callable[[], Litestar], mount: str, copy_scope: bool
) -> None:
    app = inner()
    answer, span = ask(traced(mounting(mount, app, copy_scope=copy_scope)), f"{mount}/order/7")
    assert answer.status_code == 200
    is_told = not copy_scope or type(app.asgi_handler).__module__ == "tracemw.litestar"
    assert told(span, "http.route") == mount + ("/order/{number}" if is_told else "/{path}")


@pytest.mark.parametrize("path", ["/inner", "/inner/", "/inner/none"])
def test_a_mount_without_a_route_beneath_is_named_as_a_mount(ask: Any, path: str) -> None:
    inner = Litestar([boom], openapi_config=None, logging_config=None)
    answer, span = ask(traced(mounting("/inner", traced(inner))), path)
    assert answer.status_code == 404
    assert told(span, "http.route") == "/inner/{path}"


def test_the_route_begins_with_the_template_of_a_starlette_mount_around(ask: Any) -> None:
    inner: Any = traced(shop())
    app = Starlette(routes=[Mount("/tenants/{tenant}", inner)])
    app.add_middleware(tracemw.starlette.TraceMiddleware)
    answer, span = ask(app, "/tenants/7/order/7")
    assert answer.status_code == 200
    assert told(span, "http.route") == "/tenants/{tenant}/order/{number}"
    assert told(span, "url.path") == "/tenants/7/order/7"


def test_static_files_have_the_route_of_their_router(ask: Any) -> None:
    router = create_static_files_router(path="/static", directories=[Path(__file__).parent])
    answer, span = ask(traced(shop(router)), "/static/test_litestar.py")
    assert answer.status_code == 200
    assert told(span, "http.route") == "/static/{file_path}"


def test_behind_a_real_server_the_span_continues_the_callers_trace_and_tells_its_id(recorded: Recorded) -> None:
    with uvicorn_serving(traced(shop())) as url:
        answer = httpx.get(f"{url}/order/7", headers={"traceparent": TRACEPARENT})
        wait_until(lambda: len(recorded.all) == 2)
    assert (answer.text, answer.headers["x-trace-id"]) == (TRACE_ID, TRACE_ID)
    assert recorded.server.name == "GET /order/{number}"
    assert recorded.server.parent is not None
    assert f"{recorded.server.parent.span_id:016x}" == PARENT_ID
    assert recorded.named("order.find").parent == recorded.server.context


def test_an_exception_that_nothing_handles_is_recorded_once_with_the_500(ask: Any) -> None:
    answer, span = ask(traced(shop()), "/boom")
    assert answer.status_code == 500
    assert (told(span, "error.type"), told(span, "http.response.status_code")) == ("500", 500)
    assert [event.attributes["exception.type"] for event in span.events] == [f"{__name__}.Lost"]


@pytest.mark.parametrize("key", [500, Exception])
def test_an_exception_with_a_page_for_all_errors_is_recorded_too(ask: Any, key: Any) -> None:
    app = shop(exception_handlers={key: lambda request, error: litestar.Response("sorry", status_code=500)})
    answer, span = ask(traced(app), "/boom")
    assert answer.text == "sorry"
    assert len(span.events) == 1


def test_an_exception_that_the_application_handles_counts_by_its_answer(ask: Any) -> None:
    app = shop(exception_handlers={Lost: lambda request, error: litestar.Response("gone", status_code=410)})
    answer, span = ask(traced(app), "/boom")
    assert answer.status_code == 410
    assert (span.status.status_code, span.events) == (StatusCode.UNSET, ())


@pytest.mark.parametrize(("path", "status"), [("/denied", 401), ("/unavailable", 503)])
def test_an_exception_that_is_raised_as_an_answer_is_no_exception(ask: Any, path: str, status: int) -> None:
    answer, span = ask(traced(shop()), path)
    assert answer.status_code == told(span, "http.response.status_code") == status
    assert told(span, "error.type") == (None if status < 500 else str(status))
    assert span.events == ()


def test_an_exception_of_a_middleware_is_recorded_as_one_of_a_handler(ask: Any) -> None:
    def failing(app: Any) -> Any:
        async def middleware(scope: Any, receive: Any, send: Any) -> None:
            raise Lost("on the way")

        return middleware

    _, span = ask(traced(shop(middleware=[failing])), "/order/7")
    assert (span.name, told(span, "error.type")) == ("GET /order/{number}", "500")
    assert len(span.events) == 1


@pytest.mark.parametrize("text", ["tea", "boom"])
def test_a_websocket_is_one_span_and_its_exception_an_error(recorded: Recorded, text: str) -> None:
    with uvicorn_serving(traced(shop())) as url:
        with connect(url.replace("http", "ws") + "/echo/7") as client:
            client.send(text)
            if text == "tea":
                assert client.recv() == "tea"
            with pytest.raises(ConnectionClosed):
                client.recv()
        wait_until(lambda: recorded.all)
    assert recorded.server.name == "GET /echo/{room}"
    assert told(recorded.server, "http.response.status_code") == 101
    assert told(recorded.server, "error.type") == (f"{__name__}.Lost" if text == "boom" else None)


def test_a_second_door_changes_nothing(ask: Any) -> None:
    app: Any = traced(traced(shop()), response_header="x-other")
    answer, span = ask(tracemw.asgi.TraceMiddleware(app), "/order/7")
    assert "x-other" not in answer.headers
    assert span.name == "GET /order/{number}"
    assert len(app.after_exception) == 1


@pytest.mark.parametrize("options", [{"unknown": 1}, {"span_name": "GET"}])
@pytest.mark.parametrize("make", [shop, lambda: traced(shop())], ids=["first", "second"])
def test_a_wrong_option_is_an_error_of_the_line_that_gives_it(make: Callable[[], Litestar], options: Any) -> None:
    with pytest.raises(TypeError, match=next(iter(options))):
        TraceMiddleware(make(), **options)


def test_anything_but_an_application_is_an_error() -> None:
    with pytest.raises(TypeError, match="takes a Litestar application, not Router"):
        TraceMiddleware(Router("/", route_handlers=[order]))  # type: ignore[arg-type]


SERVED = """
import litestar, tracemw, tracemw.litestar

@litestar.get("/order/{number:int}")
async def order() -> str:
    return "tea"

tracemw.init("shop")
app = litestar.Litestar([order], openapi_config=None)
tracemw.litestar.TraceMiddleware(app)
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
