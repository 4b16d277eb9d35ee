"""WebSockets of other frameworks: the exception by which each tells its handler of the end is no error."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import flask
import flask_socketio
import pytest
import socketio
from opentelemetry.trace import StatusCode
from websockets.sync.client import ClientConnection, connect
from werkzeug.serving import make_server

import tracemw.asgi
import tracemw.falcon
import tracemw.flask
import tracemw.litestar
from conftest import Recorded
from field.leaving import flask_app
from servers import socketserver_serving, uvicorn_serving, wait_until


def fastapi_app() -> Any:
    fastapi = pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")
    app = fastapi.FastAPI()

    async def echo(websocket: Any) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text(await websocket.receive_text())

    echo.__annotations__["websocket"] = fastapi.WebSocket
    app.add_api_websocket_route("/echo", echo)
    app.add_middleware(tracemw.fastapi.TraceMiddleware)
    return app


def task_group_app() -> Any:
    """Two tasks of one handler, whose exceptions come as a group."""
    starlette = pytest.importorskip("starlette.applications")
    from starlette.routing import WebSocketRoute

    async def echo(websocket: Any) -> None:
        await websocket.accept()

        async def both() -> None:
            while True:
                await websocket.send_text(await websocket.receive_text())

        async with asyncio.TaskGroup() as group:
            group.create_task(both())
            group.create_task(asyncio.Event().wait())

    return tracemw.asgi.TraceMiddleware(starlette.Starlette(routes=[WebSocketRoute("/echo", echo)]))


def litestar_app() -> Any:
    import litestar

    async def echo(socket: litestar.WebSocket) -> None:  # type: ignore[type-arg]
        await socket.accept()
        while True:
            await socket.send_text(await socket.receive_text())

    echo.__annotations__["socket"] = litestar.WebSocket
    app = litestar.Litestar([litestar.websocket("/echo")(echo)], openapi_config=None, logging_config=None)
    tracemw.litestar.TraceMiddleware(app)
    return app


def falcon_app() -> Any:
    import falcon.asgi

    class Echo:
        async def on_websocket(self, request: Any, ws: Any) -> None:
            await ws.accept()
            while True:
                await ws.send_text(await ws.receive_text())

    app: Any = falcon.asgi.App()
    app.add_route("/echo", Echo())
    tracemw.falcon.TraceMiddleware(app)
    return app


def quart_app() -> Any:
    import quart

    app: Any = quart.Quart("echo")

    @app.websocket("/echo")  # type: ignore[untyped-decorator]
    async def echo() -> None:
        while True:
            await quart.websocket.send(await quart.websocket.receive())

    return tracemw.asgi.TraceMiddleware(app)


def channels_app() -> Any:
    from django.conf import settings

    if not settings.configured:
        settings.configure(INSTALLED_APPS=["channels"], DATABASES={}, USE_TZ=True, LOGGING_CONFIG=None)
        import django

        django.setup()
    from channels.generic.websocket import AsyncWebsocketConsumer

    class Echo(AsyncWebsocketConsumer):  # type: ignore[misc]
        async def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
            await self.send(text_data)

    return tracemw.asgi.TraceMiddleware(Echo.as_asgi())


def bare_app() -> Any:
    """An application without a framework, which goes on sending until the server says that nobody is there."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        while True:
            await send({"type": "websocket.send", "text": message["text"]})
            await asyncio.sleep(0.001)

    return tracemw.asgi.TraceMiddleware(app)


def vanish(client: ClientConnection) -> None:
    client.socket.shutdown(socket.SHUT_RDWR)


def close(client: ClientConnection) -> None:
    client.close()


APPS = [fastapi_app, task_group_app, litestar_app, falcon_app, quart_app, channels_app]


@pytest.mark.parametrize(
    ("make", "leave"),
    [
        *((make, leave) for make in APPS for leave in (close, vanish)),
        (bare_app, close),  # older versions of uvicorn do not tell who only sends that the client has vanished
    ],
)
def test_the_end_of_a_websocket_is_no_error(
    recorded: Recorded, make: Callable[[], Any], leave: Callable[[ClientConnection], None]
) -> None:
    with uvicorn_serving(make(), lifespan="off") as url:
        with connect(url.replace("http", "ws") + "/echo") as client:
            client.send("hello")
            assert client.recv() == "hello"
            leave(client)
        wait_until(lambda: recorded.all)
    span = recorded.server
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()
    assert (span.attributes or {})["http.response.status_code"] == 101
    assert "error.type" not in (span.attributes or {})


@pytest.mark.parametrize("leave", [close, vanish])
def test_the_end_of_a_websocket_of_flask_sock_is_no_error(
    recorded: Recorded, leave: Callable[[ClientConnection], None]
) -> None:
    with socketserver_serving(make_server("127.0.0.1", 0, flask_app(), threaded=True)) as url:
        with connect(url.replace("http", "ws") + "/echo") as client:
            client.send("hello")
            assert client.recv() == "hello"
            leave(client)
        wait_until(lambda: recorded.all)
    assert recorded.server.name == "GET /echo"
    assert recorded.server.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("transports", [["websocket"], ["polling", "websocket"]])
def test_the_connections_of_flask_socketio_are_no_errors(recorded: Recorded, transports: list[str]) -> None:
    app = flask.Flask("chat")
    server = flask_socketio.SocketIO(app, async_mode="threading")
    tracemw.flask.TraceMiddleware(app)

    @server.on("order")  # type: ignore[untyped-decorator]
    def order(data: str) -> str:
        return data

    with socketserver_serving(make_server("127.0.0.1", 0, app, threaded=True)) as url:
        client = socketio.Client(reconnection=False)
        client.connect(url, transports=transports)
        assert client.call("order", "tea", timeout=10) == "tea"
        client.disconnect()
        client.wait()
        wait_until(
            lambda: any((span.attributes or {}).get("http.response.status_code") == 101 for span in recorded.all)
        )
    assert {span.status.status_code for span in recorded.all} == {StatusCode.UNSET}
    assert not [event for span in recorded.all for event in span.events]
