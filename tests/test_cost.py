"""What a request costs does not grow with what has nothing to do with it."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import falcon
import falcon.asgi
import flask
import litestar
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import tracemw
import tracemw.falcon
import tracemw.flask
import tracemw.litestar
import tracemw.starlette
from calls import WSGIServer
from conftest import Recorded

OURS = str(Path(tracemw.__file__).parent)


def starlette_request(routes: int) -> Callable[[], None]:
    app = Starlette(routes=[Route(f"/r{number}/{{item}}", home) for number in range(routes)])
    app.add_middleware(tracemw.starlette.TraceMiddleware)
    return asgi_request(app, f"/r{routes - 1}/7")


def mounted_request(routes: int) -> Callable[[], None]:
    inner = Starlette(routes=[Route(f"/i{number}/{{item}}", home) for number in range(routes)])
    flat = [Route(f"/f{number}/{{item}}", home) for number in range(routes)]
    app = Starlette(routes=[*flat, Mount(f"/r{routes - 1}", inner)])
    app.add_middleware(tracemw.starlette.TraceMiddleware)
    return asgi_request(app, f"/r{routes - 1}/i{routes - 1}/7")


def fastapi_request(routes: int) -> Callable[[], None]:
    fastapi = pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")
    router = fastapi.APIRouter()
    for number in range(routes):
        router.add_api_route(f"/i{number}/{{item}}", home)
    app = fastapi.FastAPI()
    app.include_router(router, prefix=f"/r{routes - 1}")
    app.add_middleware(tracemw.fastapi.TraceMiddleware)
    return asgi_request(app, f"/r{routes - 1}/i{routes - 1}/7")


def litestar_request(routes: int) -> Callable[[], None]:
    async def item() -> str:
        return "ok"

    handlers = [litestar.get(f"/r{number}/{{item:str}}")(item) for number in range(routes)]
    app = litestar.Litestar(handlers, openapi_config=None, logging_config=None)
    tracemw.litestar.TraceMiddleware(app)
    return asgi_request(app, f"/r{routes - 1}/7")


def falcon_request(routes: int) -> Callable[[], None]:
    class Item:
        async def on_get(self, req: Any, resp: Any, item: str) -> None:
            resp.text = "ok"

    app: Any = falcon.asgi.App()
    for number in range(routes):
        app.add_route(f"/r{number}/{{item}}", Item())
    tracemw.falcon.TraceMiddleware(app)
    return asgi_request(app, f"/r{routes - 1}/7")


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


class Connection:
    """What a server has of a request: its channels lead to the scope, as those of uvicorn do."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope

    async def receive(self) -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Any) -> None:
        pass


def asgi_request(app: Any, path: str) -> Callable[[], None]:
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "http_version": "1.1"}

    async def ask() -> None:
        connection = Connection({**scope})
        await app(connection.scope, connection.receive, connection.send)

    return lambda: asyncio.run(ask())


def flask_request(routes: int) -> Callable[[], None]:
    app = flask.Flask("many")
    for number in range(routes):
        app.add_url_rule(f"/r{number}/<item>", f"r{number}", lambda item: "ok")
    tracemw.flask.TraceMiddleware(app)

    def ask() -> None:
        assert WSGIServer().ask(app, f"/r{routes - 1}/7").body == b"ok"

    return ask


def falcon_wsgi_request(routes: int) -> Callable[[], None]:
    class Item:
        def on_get(self, req: Any, resp: Any, item: str) -> None:
            resp.text = "ok"

    app: Any = falcon.App()
    for number in range(routes):
        app.add_route(f"/r{number}/{{item}}", Item())
    tracemw.falcon.TraceMiddleware(app)

    def ask() -> None:
        assert WSGIServer().ask(app, f"/r{routes - 1}/7").body == b"ok"

    return ask


FRAMEWORKS = [
    *(starlette_request, mounted_request, fastapi_request, litestar_request, falcon_request),
    *(flask_request, falcon_wsgi_request),
]


@pytest.mark.parametrize("request_to", FRAMEWORKS)
def test_three_hundred_routes_cost_no_more_tracing_than_three(
    request_to: Callable[[int], Callable[[], None]], recorded: Recorded
) -> None:
    # Calls are counted and not timed: a second scan of the routes would show in them, a busy machine does not.
    calls = {}
    for routes in (3, 300):
        request = request_to(routes)
        request()
        recorded.clear()
        calls[routes] = _calls_of_tracemw(request)
        assert recorded.server.name.startswith(f"GET /r{routes - 1}/")
    assert calls[300] == calls[3] > 10


@pytest.mark.parametrize("request_to", FRAMEWORKS)
def test_a_request_leaves_nothing_of_tracemw_to_the_garbage_collector(
    request_to: Callable[[int], Callable[[], None]], recorded: Recorded
) -> None:
    request = request_to(3)
    request()
    gc.collect()
    gc.disable()
    gc.freeze()  # what the tests before have left behind, and may drop only now, is not of this request
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        request()
        gc.collect()
        left = [type(found) for found in gc.garbage if type(found).__module__.startswith("tracemw")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()
    assert left == []


def _calls_of_tracemw(work: Callable[[], None]) -> int:
    """Count the calls that tracemw's own functions make and get, C functions included."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(OURS):
            count += 1

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


SERVED = """
import gc, os, socket, sys, threading, time
import uvicorn
import tracemw, tracemw.asgi

async def app(scope, receive, send):
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})

if sys.argv[1] != "untraced":
    tracemw.init("shop", endpoint="http://127.0.0.1:9", sampling=float(sys.argv[1]))
    app = tracemw.asgi.TraceMiddleware(app)
server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off", http=sys.argv[2]))
threading.Thread(target=server.run, daemon=True).start()
while not server.started:
    time.sleep(0.01)
connection = socket.create_connection(server.servers[0].sockets[0].getsockname())

def ask(count):
    for _ in range(count):
        connection.sendall(b"GET /order/7 HTTP/1.1\\r\\nHost: shop\\r\\nUser-Agent: test\\r\\n\\r\\n")
        answer = b""
        while not answer.endswith(b"ok"):
            answer += connection.recv(65536)

ask(300)
gc.collect()
gc.set_threshold(100, 10, 10)
before = gc.get_stats()[0]["collections"]
ask(1000)
print(gc.get_stats()[0]["collections"] - before, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("sampling", ["1.0", "0.0"])
def test_a_traced_request_under_uvicorn_causes_no_more_collections_of_garbage_than_an_untraced_one(
    http: str, sampling: str
) -> None:
    def collections(traced: str) -> int:
        command = [sys.executable, "-c", SERVED, traced, http]
        return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)

    # A cycle a request, or one tracked object that stays, would be ten collections more.
    assert collections(sampling) <= collections("untraced") + 3
