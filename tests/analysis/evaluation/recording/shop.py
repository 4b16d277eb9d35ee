"""A service on FastAPI: each path has its fault, or none."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn
from fastapi import BackgroundTasks, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from opentelemetry import trace
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import QueuePool

from analysis.evaluation.recording.tracing import trace_shop

STOCK = os.environ.get("STOCK_URL", "")
NOBODY = "http://127.0.0.1:1"

app = FastAPI()
engine: Engine = create_engine(
    f"sqlite:///{os.environ['DATABASE']}", poolclass=QueuePool, pool_size=2, max_overflow=0, pool_timeout=8
)
client = httpx.AsyncClient(timeout=10, trust_env=False)


@event.listens_for(engine, "connect")
def _prepare(connection: Any, _record: Any) -> None:
    connection.create_function("sleep", 1, lambda ms: time.sleep(ms / 1000))


with engine.begin() as prepared:
    for table in ("users", "orders", "prices", "taxes", "carts", "stock", "coupons", "regions"):
        prepared.execute(text(f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"))
    prepared.execute(text("INSERT OR IGNORE INTO users VALUES (1, 'ada')"))
trace_shop(app, engine, client)
tracer = trace.get_tracer("shop")


def ask(table: str, ms: float = 3) -> None:
    with engine.connect() as connection:
        connection.execute(
            text(f"SELECT *, sleep(:ms) FROM (SELECT 1) LEFT JOIN {table} ON {table}.id = 1"), {"ms": ms}
        )


async def get(path: str, host: str = "") -> httpx.Response:
    return await client.get(f"{host or STOCK}{path}")


@app.get("/healthy/fast")
async def fast() -> str:
    ask("users")
    await get("/items/7")
    ask("orders")
    return "fine"


@app.get("/healthy/slow")
async def slow() -> str:
    for table in ("users", "orders", "prices", "taxes", "carts"):
        ask(table, 210)
        with tracer.start_as_current_span(f"work on {table}"):
            await asyncio.sleep(0.12)
            await get(f"/wait/80/{table}")
    return "fine"


@app.get("/healthy/stream")
async def stream() -> StreamingResponse:
    ask("users")

    async def body() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 100
            await asyncio.sleep(0.2)

    return StreamingResponse(body())


@app.get("/healthy/missing")
async def missing() -> str:
    answer = await get("/missing")
    ask("orders")
    return str(answer.status_code)


@app.get("/healthy/not-found/{number}")
async def not_found(number: int) -> str:
    ask("users")
    raise HTTPException(404, f"no user {number}")


@app.get("/healthy/retry")
async def retry() -> str:
    path = f"/flaky/{uuid.uuid4()}/1"
    for _ in range(2):
        if (await get(path)).status_code == 200:
            break
        await asyncio.sleep(0.02)
    ask("orders")
    return "fine"


@app.get("/healthy/parallel")
async def parallel() -> str:
    await asyncio.gather(*(get(f"/items/{number}") for number in range(12)))
    ask("orders")
    return "fine"


@app.get("/healthy/poll")
async def poll() -> str:
    for _ in range(6):
        await get("/job")
        await asyncio.sleep(0.05)
    return "fine"


@app.get("/healthy/background")
async def background(tasks: BackgroundTasks) -> str:
    ask("users")
    tasks.add_task(get, "/wait/700/mail")
    return "fine"


@app.get("/healthy/write")
async def write() -> str:
    with engine.begin() as connection:
        for _ in range(3):
            connection.execute(text("INSERT INTO orders (name) VALUES (:name)"), {"name": str(uuid.uuid4())})
    return "fine"


@app.get("/n-plus-one/queries")
async def queries_in_a_loop() -> str:
    ask("users")
    for _ in range(14):
        ask("orders", 6)
    return "slow"


@app.get("/n-plus-one/calls")
async def calls_in_a_loop() -> str:
    for number in range(9):
        await get(f"/items/{number}")
    return "slow"


@app.get("/n-plus-one/wrapped")
async def wrapped() -> str:
    for _ in range(8):
        with tracer.start_as_current_span("load_line"):
            ask("orders", 9)
    return "slow"


@app.get("/below/four-queries")
async def four_queries() -> str:
    for _ in range(4):
        ask("orders", 15)
    ask("users", 15)
    return "fine"


@app.get("/sequential-calls")
async def sequential() -> str:
    for what in ("prices", "taxes", "mail"):
        await get(f"/wait/320/{what}")
    return "slow"


@app.get("/below/sequential-calls")
async def little_to_save() -> str:
    for what in ("prices", "taxes", "mail"):
        await get(f"/wait/180/{what}")
    return "fine"


@app.get("/slow-query")
async def slow_query() -> str:
    ask("users", 5)
    ask("orders", 620)
    return "slow"


@app.get("/below/slow-query")
async def nearly_slow() -> str:
    ask("users", 90)
    ask("orders", 430)
    ask("prices", 90)
    return "fine"


@app.get("/error/own")
async def own_error() -> str:
    ask("users")
    raise KeyError("sku")


@app.get("/error/callee")
async def callee_error() -> str:
    ask("users")
    (await get("/broken")).raise_for_status()
    return "never"


@app.get("/error/query")
async def query_error() -> str:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users (name) VALUES ('ada')"))
    return "never"


@app.get("/error/refused")
async def refused() -> str:
    ask("users")
    await get("/items/7", NOBODY)
    return "never"


@app.get("/error/after-a-handled-one")
async def after_a_handled_one() -> str:
    try:
        (await get("/broken")).raise_for_status()
    except httpx.HTTPStatusError:
        pass
    for table in ("orders", "prices", "taxes", "carts"):
        ask(table, 15)
    raise KeyError("sku")


@app.get("/swallowed/callee")
async def swallowed_callee() -> str:
    ask("users", 20)
    await get("/broken")
    ask("orders", 20)
    return "fine?"


@app.get("/swallowed/query")
async def swallowed_query() -> str:
    try:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO users (name) VALUES ('ada')"))
    except IntegrityError:
        pass
    ask("orders", 20)
    return "fine?"


@app.get("/retry-storm/good")
async def retries_that_succeed() -> str:
    path = f"/flaky/{uuid.uuid4()}/3"
    for pause in (0.02, 0.04, 0.08, 0.1):
        if (await get(path)).status_code == 200:
            break
        await asyncio.sleep(pause)
    return "fine"


@app.get("/retry-storm/bad")
async def retries_that_fail() -> str:
    path = f"/flaky/{uuid.uuid4()}/9"
    for pause in (0.02, 0.04, 0.01):
        answer = await get(path)
        await asyncio.sleep(pause)
    answer.raise_for_status()
    return "never"


@app.get("/idle-gap")
async def idle() -> str:
    ask("users", 40)
    await asyncio.sleep(0.7)
    ask("orders", 40)
    await get("/wait/240/rest")
    return "slow"


@app.get("/bottleneck")
async def bottleneck() -> str:
    ask("users", 5)
    with tracer.start_as_current_span("render"):
        await asyncio.sleep(0.42)
    ask("orders", 5)
    return "slow"


@app.get("/long-trace")
async def long() -> str:
    for table in ("users", "orders", "prices", "taxes", "carts", "stock", "coupons", "regions"):
        with tracer.start_as_current_span(f"report on {table}"):
            ask(table, 330)
            await asyncio.sleep(0.35)
    return "slow"


@app.get("/wide-trace")
async def wide() -> str:
    await asyncio.gather(*(get(f"/items/{number}") for number in range(60)))
    return "wide"


@app.get("/pool-wait")
def pool_wait() -> str:
    ask("users", 60)
    return "slow"


@app.get("/holds-the-pool/{ms}")
def holds_the_pool(ms: int) -> str:
    with engine.connect():
        time.sleep(ms / 1000)
    return "held"


@app.get("/hop/{more}")
async def hop(more: int) -> str:
    if more:
        await get(f"/hop/{more - 1}")
    return str(more)


@app.get("/killed")
async def killed() -> str:
    ask("users", 20)
    await get("/die")
    return "never"


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", lifespan="off")
