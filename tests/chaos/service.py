"""The services under load, one application for each kind of server: traced, unless `CHAOS_UNTRACED` is set.

With `CHAOS_EVERYTHING`, half of the requests are sampled, and all that explains a request is on: the database, the
watch, kept logs and, where the interpreter can tell, swallowed exceptions. `/orders` gives each something to tell.

`/stats`, which is not traced, tells what has become of the spans of the process that answers. What it came to in the
end stands in `CHAOS_BOOKS`, a folder, in the file `PID.json`.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tracemw

_tracing: tracemw.Tracing | None = None
_CHUNKS = ["one", "two", "three"]

_QUERIES = 30
"""Queries of a request: the last ones are folded."""
_RARELY = 50
"""Requests of which one keeps its thread, or the event loop, for long enough to be told."""
_POOL: dict[str, Any] = {"pool_size": 2, "max_overflow": 0}

_logger = logging.getLogger("chaos")
_orders = 0


def _set_up() -> None:
    global _tracing
    if "CHAOS_UNTRACED" in os.environ:
        return
    if "CHAOS_EVERYTHING" not in os.environ:
        _tracing = tracemw.init("chaos")
        return
    from tracemw.logging import install
    from tracemw.sampling import Sampling

    swallowed = sys.version_info >= (3, 12)
    _tracing = tracemw.init("chaos", sampling=Sampling(ratio=0.5, stack_after=0.05), swallowed=swallowed)
    install(kept_logs="DEBUG")


def _traced(engine: Any) -> Any:
    if _tracing is None or "CHAOS_EVERYTHING" not in os.environ:
        return engine
    from tracemw.sqlalchemy import trace_engine

    return trace_engine(engine, pool_wait=0.001)


def _database() -> str:
    return f"/{os.environ['CHAOS_BOOKS']}/{os.getpid()}.db"


def _have_something_to_tell() -> None:
    global _orders
    _orders += 1
    _logger.debug("order %d", _orders)
    with suppress(LookupError):
        raise LookupError("nobody is told")
    if _orders % _RARELY == 0:
        time.sleep(0.12)


def _stats() -> dict[str, Any]:
    if _tracing is None:
        return {"pid": os.getpid()}
    stats = _tracing.stats()
    return {"pid": os.getpid(), "ended": stats.ended, **asdict(stats)}


def _keep_stats() -> None:
    if "CHAOS_BOOKS" in os.environ:
        Path(os.environ["CHAOS_BOOKS"], f"{os.getpid()}.json").write_text(json.dumps(_stats()))


def asgi() -> Any:
    """Return a Starlette application."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route

    _set_up()

    async def item(request: Request) -> Response:
        return JSONResponse({"id": request.path_params["n"], "currency": request.query_params["currency"]})

    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type="application/json")

    async def stream(request: Request) -> Response:
        async def chunks() -> Any:
            for chunk in _CHUNKS:
                yield chunk

        return StreamingResponse(chunks())

    async def teapot(request: Request) -> Response:
        response = PlainTextResponse("short and stout", 418, {"x-handle": "here"})
        response.set_cookie("spout", "there")
        response.set_cookie("lid", "on")
        return response

    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import AsyncAdaptedQueuePool

    engine = _traced(create_async_engine(f"sqlite+aiosqlite://{_database()}", poolclass=AsyncAdaptedQueuePool, **_POOL))

    async def orders(request: Request) -> Response:
        _have_something_to_tell()
        async with engine.connect() as connection:
            found = [await connection.scalar(text("SELECT 1 + :n"), {"n": number}) for number in range(_QUERIES)]
        return JSONResponse(found)

    async def stats(request: Request) -> Response:
        return JSONResponse(_stats())

    routes = [
        Route("/items/{n:int}", item),
        Route("/echo", echo, methods=["POST"]),
        Route("/stream", stream),
        Route("/teapot", teapot),
        Route("/orders", orders),
        Route("/stats", stats),
    ]
    app = Starlette(routes=routes)
    if _tracing is not None:
        from tracemw.starlette import TraceMiddleware

        app.add_middleware(TraceMiddleware, skip=("/stats",))

    async def outermost(scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "lifespan.shutdown.complete":  # uvicorn then dies of the signal that it has got
                _keep_stats()
            await send(message)

        await app(scope, receive, sent if scope["type"] == "lifespan" else send)

    return outermost


def wsgi() -> Any:
    """Return a Flask application."""
    import flask

    atexit.register(_keep_stats)  # before `init`, so that it comes after its end
    _set_up()
    app = flask.Flask("chaos")

    @app.get("/items/<int:n>")
    def item(n: int) -> Any:
        return {"id": n, "currency": flask.request.args["currency"]}

    @app.post("/echo")
    def echo() -> Any:
        return flask.Response(flask.request.get_data(), mimetype="application/json")

    @app.get("/stream")
    def stream() -> Any:
        def chunks() -> Iterator[str]:
            yield from _CHUNKS

        return flask.Response(chunks(), mimetype="text/plain")

    @app.get("/teapot")
    def teapot() -> Any:
        response = flask.Response("short and stout", 418, {"x-handle": "here"})
        response.set_cookie("spout", "there")
        response.set_cookie("lid", "on")
        return response

    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import QueuePool

    engine = _traced(create_engine(f"sqlite://{_database()}", poolclass=QueuePool, **_POOL))

    @app.get("/orders")
    def orders() -> Any:
        _have_something_to_tell()
        with engine.connect() as connection:
            return [connection.scalar(text("SELECT 1 + :n"), {"n": number}) for number in range(_QUERIES)]

    @app.get("/stats")
    def stats() -> Any:
        return _stats()

    if _tracing is not None:
        from tracemw.flask import TraceMiddleware

        TraceMiddleware(app, skip=("/stats",))
    return app
