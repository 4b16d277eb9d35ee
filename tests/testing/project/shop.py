"""A service as people have it: it sets tracing up itself, and exports to a backend that tests do not have."""

from __future__ import annotations

import httpx
from fastapi import FastAPI
from flask import Flask
from sqlalchemy import create_engine, text

import tracemw
from tracemw.fastapi import TraceMiddleware
from tracemw.flask import TraceMiddleware as FlaskTraceMiddleware
from tracemw.httpx import trace_client
from tracemw.sqlalchemy import trace_engine

tracemw.init("shop", endpoint="http://127.0.0.1:1", sampling=0.0, metrics=True)
engine = trace_engine(create_engine("sqlite://"), pool_wait=60, slow=60)  # a busy machine would show waits
app = FastAPI()
app.add_middleware(TraceMiddleware, skip=["/healthz"])
site = Flask("site")
FlaskTraceMiddleware(site)


@app.get("/orders/{count}")
def orders(count: int) -> int:
    with engine.connect() as connection:
        for number in range(count):
            connection.execute(text("SELECT name FROM sqlite_master WHERE name = :name"), {"name": str(number)}).all()
    return count


@app.get("/broken")
def broken() -> None:
    raise ValueError("no such order")


@app.get("/quiet")
def quiet() -> str:
    try:
        with tracemw.span("charge"):
            raise ConnectionError("the bank is closed")
    except ConnectionError:
        return "later"


@app.get("/relay")
async def relay() -> int:
    async with trace_client(httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop")) as client:
        return (await client.get("/orders/1")).status_code


@site.get("/hello")
def hello() -> str:
    return "hello"
