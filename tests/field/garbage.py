"""Applications that fail in every way, with and without a door, and tell what is left of it."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import json
import os
import queue
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import flask
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import tracemw
import tracemw.asgi
import tracemw.flask
import tracemw.starlette
import tracemw.wsgi
from tracemw.sampling import Sampling

OURS = ("_Exchange", "_Notes", "_Request", "_Response", "_RouteNotes", "_WebSocket", "HeldSpan", "RouteScope", "Span")

THEIRS = (Request, StreamingResponse, WebSocket)


class Boom(Exception):  # noqa: N818
    """What nobody handles."""


class Handled(Boom):
    """One that a handler answers."""


def left() -> dict[str, int]:
    """Return how many exceptions are there, and how many objects that we, or Starlette, have for a request.

    What was there when the server started is left out: to walk through it takes longer than a request.
    """
    found = Counter(map(type, gc.get_objects()))
    ours: Counter[str] = Counter()
    for kind, number in found.items():
        if str(kind.__module__).startswith("tracemw"):
            ours[kind.__name__] += number
    # From Python 3.13 on, each idle thread of a pool is handling an Empty.
    of_requests = (kind for kind in found if issubclass(kind, BaseException) and kind is not queue.Empty)
    exceptions = sum(found[kind] for kind in of_requests)
    theirs = {f"their {kind.__name__}": found[kind] for kind in THEIRS}
    return {"exceptions": exceptions, **theirs, **{name: ours[name] for name in OURS}}


def let_nothing_be_collected() -> None:
    """Let nothing be collected from now on, and `gc.get_objects` tell only of what comes."""
    gc.collect()
    gc.freeze()
    gc.disable()


def start() -> None:
    """Begin to trace."""
    tracemw.init("garbage", sampling=Sampling(ratio=float(os.environ["RATIO"])))


# ASGI.


async def boom(request: Request) -> Response:
    with tracemw.span("work"):
        raise Boom


async def handled(request: Request) -> Response:
    raise Handled


async def sorry(request: Request, error: Exception) -> Response:
    return PlainTextResponse("sorry", 503)


async def refused(request: Request) -> Response:
    raise HTTPException(409)


async def swallowed(request: Request) -> Response:
    try:
        raise Boom
    except Boom:
        return PlainTextResponse("ok")


async def half(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"half"
        await asyncio.sleep(0.01)  # some servers send it only then
        raise Boom

    return StreamingResponse(chunks())


async def stream(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000
            await asyncio.sleep(0)

    return StreamingResponse(chunks())


async def upload(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def cancelled(request: Request) -> Response:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    raise AssertionError


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


async def broken_socket(websocket: WebSocket) -> None:
    await websocket.accept()
    raise Boom


HTTP = [boom, handled, refused, swallowed, half, stream, upload, cancelled]
SOCKETS = [socket, broken_socket]


def starlette_app(prefix: str) -> Starlette:
    return Starlette(
        routes=[
            *(Route(f"{prefix}/{each.__name__}", each, methods=["GET", "POST"]) for each in HTTP),
            *(WebSocketRoute(f"{prefix}/{each.__name__}", each) for each in SOCKETS),
        ],
        exception_handlers={Handled: sorry},
    )


def starlette_app_with_its_own_page(prefix: str) -> Starlette:
    app = starlette_app(prefix)
    app.add_exception_handler(Exception, sorry)
    return app


def fastapi_app(prefix: str) -> Starlette:
    import fastapi

    app = fastapi.FastAPI(exception_handlers={Handled: sorry})
    for each in HTTP:
        app.add_api_route(f"{prefix}/{each.__name__}", each, methods=["GET", "POST"], response_model=None)
    for handler in SOCKETS:
        app.add_api_websocket_route(f"{prefix}/{handler.__name__}", handler)
    return app


def bare_app(prefix: str) -> Any:
    """The same without a router, or a layer that answers."""
    found = {f"{prefix}/{each.__name__}": each for each in (*HTTP, *SOCKETS)}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        endpoint: Any = found[scope["path"]]
        if scope["type"] == "websocket":
            await endpoint(WebSocket(scope, receive, send))
        else:
            response = await endpoint(Request(scope, receive, send))
            await response(scope, receive, send)

    return app


def asgi() -> Any:
    """Every application, each with and without a door, told apart by the first part of the path."""
    start()
    makers: dict[str, tuple[Callable[[str], Any], Any]] = {
        "starlette": (starlette_app, tracemw.starlette),
        "page": (starlette_app_with_its_own_page, tracemw.starlette),
    }
    if importlib.util.find_spec("fastapi") is not None:
        makers["fastapi"] = fastapi_app, importlib.import_module("tracemw.fastapi")
    apps: dict[str, Any] = {
        "bare": tracemw.asgi.TraceMiddleware(bare_app("/bare")),
        "bare-without": bare_app("/bare-without"),
    }
    for name, (make, module) in makers.items():
        apps[name] = make(f"/{name}")
        apps[name].add_middleware(module.TraceMiddleware)
        apps[f"{name}-outside"] = module.TraceMiddleware(make(f"/{name}-outside"))
        apps[f"{name}-without"] = make(f"/{name}-without")
    let_nothing_be_collected()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await apps["starlette"](scope, receive, send)
        elif scope["path"] in ("/left", "/health"):
            await PlainTextResponse(json.dumps(left()))(scope, receive, send)
        else:
            await apps[scope["path"].split("/")[1]](scope, receive, send)

    return app


# WSGI.


def wsgi_app(prefix: str) -> Any:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        match environ["PATH_INFO"].removeprefix(prefix):
            case "/boom":
                with tracemw.span("work"):
                    raise Boom
            case "/half":
                start_response("200 OK", [])
                return halves()
            case "/stream":
                start_response("200 OK", [])
                return endless()
            case "/handled":
                try:
                    raise Handled
                except Handled:
                    start_response("503 Sorry", [("Content-Length", "0")])
                    return []
        return [environ["wsgi.input"].read()]

    return app


def populating(app: Any) -> Any:
    """An application around another that puts itself into the environ as long as the request lasts, as Flask does."""

    def outer(environ: Any, start_response: Any) -> Iterator[bytes]:
        environ["outer.request"] = environ
        try:
            yield from app(environ, start_response)
        finally:
            environ["outer.request"] = None

    return outer


def halves() -> Iterator[bytes]:
    yield b"half"
    raise Boom


def endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 100_000


def flask_app(prefix: str) -> flask.Flask:
    app = flask.Flask("garbage")

    def boom() -> str:
        with tracemw.span("work"):
            raise Boom

    def handled() -> str:
        raise Handled

    endpoints: dict[str, Any] = {
        "boom": boom,
        "handled": handled,
        "half": lambda: flask.Response(halves()),
        "stream": lambda: flask.Response(endless()),
        "upload": lambda: str(len(flask.request.get_data())),
    }
    for name, endpoint in endpoints.items():
        app.add_url_rule(f"{prefix}/{name}", name, endpoint, methods=["GET", "POST"])
    app.register_error_handler(Handled, lambda error: ("sorry", 503))
    return app


def wsgi() -> Any:
    """Likewise."""
    start()
    traced = flask_app("/flask")
    tracemw.flask.TraceMiddleware(traced)
    apps: dict[str, Any] = {
        "wsgi": tracemw.wsgi.TraceMiddleware(wsgi_app("/wsgi")),
        "wsgi-without": wsgi_app("/wsgi-without"),
        "within": populating(tracemw.wsgi.TraceMiddleware(wsgi_app("/within"))),
        "within-without": populating(wsgi_app("/within-without")),
        "flask": traced,
        "flask-without": flask_app("/flask-without"),
    }
    let_nothing_be_collected()

    def app(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] in ("/left", "/health"):
            start_response("200 OK", [])
            return [json.dumps(left()).encode()]
        return apps[environ["PATH_INFO"].split("/")[1]](environ, start_response)

    return app
