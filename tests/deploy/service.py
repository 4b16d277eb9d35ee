"""A service that does what the dashboards speak of: requests that succeed, fail, are slow or asked for, and calls."""

from __future__ import annotations

import os
import time

import httpx
from sqlalchemy import create_engine, text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import tracemw
from tracemw.httpx import trace_client
from tracemw.sampling import Rule, Sampling
from tracemw.sqlalchemy import trace_engine
from tracemw.starlette import TraceMiddleware

tracemw.init(
    "storefront",
    version="1.4.2",
    environment="production",
    metrics=True,
    sampling=Sampling(ratio=0.0, rules=[Rule("GET /orders/*", 1.0)], keep_slow=0.01),
)
_client = trace_client(httpx.Client(trust_env=False))
_engine = trace_engine(create_engine("sqlite://"))


def order(request: Request) -> Response:
    with _engine.connect() as connection:
        connection.execute(text("SELECT 7 AS number"))
    with tracemw.span("order.load", plate="HH-AB 12"):
        return PlainTextResponse(str(request.path_params["number"]))


def failing(request: Request) -> Response:
    try:
        _client.get(os.environ["NOWHERE"])
    except httpx.ConnectError as error:
        raise RuntimeError("no payment") from error
    return PlainTextResponse("paid")


def calling(request: Request) -> Response:
    return PlainTextResponse(_client.get(f"{request.base_url}orders/8").text)


def slow(request: Request) -> Response:
    time.sleep(0.02)
    return PlainTextResponse("at last")


def asked_for(request: Request) -> Response:
    tracemw.keep("refund over limit")
    return PlainTextResponse("refunded")


app = Starlette(
    routes=[
        Route("/orders/copied", calling),
        Route("/orders/{number:int}", order),
        Route("/payments", failing),
        Route("/slow", slow),
        Route("/refunds", asked_for),
        Route("/quiet", lambda request: PlainTextResponse("nothing to see")),
    ]
)
app.add_middleware(TraceMiddleware)
