"""The applications that servers are started with; `BENCH_DOOR` and `BENCH_SAMPLING` say how they are traced."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.contestants import pipelines

_DOOR = os.environ.get("BENCH_DOOR", "untraced")
_SAMPLING = float(os.environ.get("BENCH_SAMPLING", "1"))


def _pipeline() -> None:
    if _DOOR == "ours":
        pipelines.ours(sampling=_SAMPLING)
    elif _DOOR not in ("untraced", "floor"):
        pipelines.sdk(sampling=_SAMPLING)


def fastapi_app() -> Any:
    """Return a FastAPI application; `native` is its own telemetry, which needs no more than a provider."""
    from fastapi import FastAPI

    _pipeline()
    app = FastAPI()

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, object]:
        return {"id": item_id, "name": "mug", "price": 12.5}

    if _DOOR == "ours":
        from tracemw.fastapi import TraceMiddleware

        app.add_middleware(TraceMiddleware)
    elif _DOOR == "official":
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

        FastAPIInstrumentor.instrument_app(app)
    elif _DOOR == "floor":
        from benchmarks.contestants.floor import Delivery, Middleware

        app.add_middleware(Middleware, delivery=Delivery(pipelines.sink()))
    return app


def shop_app() -> Any:
    """Return the shop, which selects twice, logs twice, and calls another service over the network."""
    from benchmarks.contestants import peers
    from benchmarks.contestants.shop import shop

    app, engine, client = shop(explains=True, payments=os.environ["BENCH_PAYMENTS"])
    getattr(peers, _DOOR)(app, peers.Outbound(engine, client))
    return app


def flask_app() -> Any:
    """Return a Flask application."""
    import flask

    _pipeline()
    app = flask.Flask("bench")

    @app.get("/items/<int:item_id>")
    def item(item_id: int) -> dict[str, object]:
        return {"id": item_id, "name": "mug", "price": 12.5}

    if _DOOR == "ours":
        from tracemw.flask import TraceMiddleware

        TraceMiddleware(app)
    elif _DOOR == "official":
        from opentelemetry.instrumentation.flask import FlaskInstrumentor

        instrumentor: Any = FlaskInstrumentor()
        instrumentor.instrument_app(app)
    return app
