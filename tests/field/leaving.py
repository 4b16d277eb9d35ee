"""Applications whose clients leave: each route lets what its framework makes of that escape."""

from __future__ import annotations

import asyncio
from typing import Any

import flask
import flask_sock
import simple_websocket
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import tracemw
import tracemw.flask
import tracemw.starlette
from tracemw.sampling import Sampling


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


async def broken(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        raise ValueError("a bug while cleaning up") from None


async def upload(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def broken_upload(request: Request) -> Response:
    try:
        return PlainTextResponse(str(len(await request.body())))
    except ClientDisconnect as error:
        raise ValueError("a bug while cleaning up") from error


async def stream(request: Request) -> Response:
    async def chunks() -> Any:
        while True:
            yield b"x" * 100_000
            await asyncio.sleep(0)

    return StreamingResponse(chunks())


async def boom(request: Request) -> Response:
    raise ValueError("boom")


async def ok(request: Request) -> Response:
    return PlainTextResponse("ok")


async def passing(request: Request, call_next: Any) -> Any:
    return await call_next(request)


ROUTES = [
    WebSocketRoute("/echo", echo),
    WebSocketRoute("/broken", broken),
    Route("/upload", upload, methods=["POST"]),
    Route("/broken-upload", broken_upload, methods=["POST"]),
    Route("/stream", stream),
    Route("/boom", boom),
    Route("/boom/{number}", boom),
    Route("/ok", ok),
]


def asgi() -> Any:
    """The ASGI application, with the recorder that `tracemw.init` sets up."""
    tracemw.init("leaving")
    app = Starlette(routes=ROUTES)
    app.add_middleware(tracemw.starlette.TraceMiddleware)
    return app


def unsampled() -> Any:
    """The same with nothing sampled, of which sixty failing requests are kept in a second."""
    tracemw.init("leaving", sampling=Sampling(ratio=0.0, keep_rate=60))
    app = Starlette(routes=ROUTES)
    app.add_middleware(tracemw.starlette.TraceMiddleware)
    return app


def layered() -> Any:
    """The same beneath middleware that runs the application in a task of its own."""
    tracemw.init("leaving")
    app = Starlette(routes=ROUTES, middleware=[Middleware(BaseHTTPMiddleware, dispatch=passing)])
    app.add_middleware(tracemw.starlette.TraceMiddleware)
    return app


def wsgi() -> Any:
    """The WSGI application, likewise."""
    tracemw.init("leaving")
    return flask_app()


def flask_app() -> flask.Flask:
    app = flask.Flask("leaving")
    sock = flask_sock.Sock(app)
    tracemw.flask.TraceMiddleware(app)

    @sock.route("/echo")  # type: ignore[untyped-decorator]
    def echo(ws: Any) -> None:
        while True:
            ws.send(ws.receive())

    @sock.route("/broken")  # type: ignore[untyped-decorator]
    def broken(ws: Any) -> None:
        ws.receive()
        raise ValueError("a bug")

    @app.route("/bare", websocket=True)
    def bare() -> str:
        ws = simple_websocket.Server(flask.request.environ)
        while True:
            ws.send(ws.receive())

    @app.post("/upload")
    def upload() -> str:
        return str(len(flask.request.get_data()))

    @app.post("/raw")
    def raw() -> str:
        size = 0
        while chunk := flask.request.environ["wsgi.input"].read(65536):
            size += len(chunk)
        return str(size)

    @app.get("/boom/<number>")
    def boom(number: str) -> str:
        raise ConnectionResetError("a database's")

    @app.get("/ok")
    def ok() -> str:
        return "ok"

    return app
