"""WebSockets over a real server and a real client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

import tracemw
from conftest import PARENT_ID, TRACE_ID, TRACEPARENT, Recorded
from servers import uvicorn_serving, wait_until
from tracemw.starlette import TraceMiddleware


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    with tracemw.span("greet"):
        await websocket.send_text(tracemw.current_trace_id() or "")
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def goodbye(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close(4001)


async def denied(websocket: WebSocket) -> None:
    await websocket.close()


async def broken(websocket: WebSocket) -> None:
    await websocket.accept()
    raise ValueError("broken")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    routes = [WebSocketRoute(f"/{each.__name__}/{{name}}", each) for each in (echo, goodbye, denied, broken)]
    app = Starlette(routes=[Mount("/rooms/{room}", routes=routes)])
    app.add_middleware(TraceMiddleware)
    with uvicorn_serving(app) as http:
        yield http.replace("http", "ws", 1)


def ended(recorded: Recorded, name: str) -> dict[str, object]:
    wait_until(lambda: any(span.name == name for span in recorded.all))
    return dict(recorded.server.attributes or {})


def test_a_connection_is_one_span_from_the_handshake_to_the_close(url: str, recorded: Recorded) -> None:
    with connect(f"{url}/rooms/7/echo/ada", additional_headers={"traceparent": TRACEPARENT}) as client:
        assert client.response is not None
        assert client.response.headers["x-trace-id"] == TRACE_ID
        assert client.recv() == TRACE_ID
        client.send("hello")
        assert client.recv() == "hello"
        assert [span.name for span in recorded.all] == ["greet"]
    attributes = ended(recorded, "GET /rooms/{room}/echo/{name}")
    assert attributes["http.response.status_code"] == 101
    assert attributes["url.scheme"] == "ws"
    assert attributes["websocket.close_code"] == 1000
    span = recorded.server
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT_ID
    assert span.status.status_code is StatusCode.UNSET
    assert recorded.named("greet").parent == span.context


def test_the_applications_close_code_is_recorded(url: str, recorded: Recorded) -> None:
    with connect(f"{url}/rooms/7/goodbye/ada") as client, pytest.raises(ConnectionClosedError):
        client.recv()
    assert ended(recorded, "GET /rooms/{room}/goodbye/{name}")["websocket.close_code"] == 4001


def test_a_denied_handshake_has_its_status(url: str, recorded: Recorded) -> None:
    with pytest.raises(InvalidStatus):
        connect(f"{url}/rooms/7/denied/ada")
    attributes = ended(recorded, "GET /rooms/{room}/denied/{name}")
    assert attributes["http.response.status_code"] == 403
    assert recorded.server.status.status_code is StatusCode.UNSET


def test_an_exception_is_an_error(url: str, recorded: Recorded) -> None:
    with connect(f"{url}/rooms/7/broken/ada") as client, pytest.raises(ConnectionClosedError):
        client.recv()
    attributes = ended(recorded, "GET /rooms/{room}/broken/{name}")
    assert attributes["error.type"] == "ValueError"
    assert [event.name for event in recorded.server.events] == ["exception"]
