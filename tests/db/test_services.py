"""Services with a database, under their servers: the statements of a request, and a pool that a path has emptied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from backend import Backend, backend_serving
from servers import answers, free_port, process, wait_until

ASYNCHRONOUS = """
import os
import tracemw
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from tracemw.fastapi import TraceMiddleware
from tracemw.sqlalchemy import trace_engine
tracemw.init("shop")
pool = {"poolclass": AsyncAdaptedQueuePool, "pool_size": 2, "max_overflow": 0, "pool_timeout": 0.2}
engine = trace_engine(create_async_engine(os.environ["DATABASE"], **pool), pool_wait=0.15, slow=5.0)
forgotten = []
app = FastAPI()
app.add_middleware(TraceMiddleware)

@app.get("/items/{number}")
async def item(number: int):
    async with engine.connect() as connection:
        found = await connection.execute(text("SELECT :a AS a FROM (SELECT 'secret') AS items"), {"a": "1"})
        return {"number": found.scalar_one()}

@app.get("/leak")
async def leak():
    forgotten.append(await engine.connect())  # taken here
"""

SYNCHRONOUS = """
import os
import flask, tracemw
from sqlalchemy import create_engine, text
from tracemw.flask import TraceMiddleware
from tracemw.sqlalchemy import trace_engine
tracemw.init("shop")
engine = create_engine(os.environ["DATABASE"], pool_size=2, max_overflow=0, pool_timeout=0.2)
trace_engine(engine, pool_wait=0.15, slow=5.0)
forgotten = []
app = flask.Flask(__name__)
TraceMiddleware(app)

@app.get("/items/<int:number>")
def item(number):
    with engine.connect() as connection:
        found = connection.execute(text("SELECT :a AS a FROM (SELECT 'secret') AS items"), {"a": "1"})
        return {"number": found.scalar_one()}

@app.get("/leak")
def leak():
    forgotten.append(engine.connect())  # taken here
    return {}
"""

SERVERS = {
    "uvicorn": (ASYNCHRONOUS, ("-m", "uvicorn", "service:app", "--log-level", "critical", "--port")),
    "gunicorn": (
        SYNCHRONOUS,
        ("-m", "gunicorn", "service:app", "--log-level", "critical", "--threads", "4", "--bind"),
    ),
}
DRIVERS = {
    "uvicorn": ("sqlite+aiosqlite", "postgresql+asyncpg"),
    "gunicorn": ("sqlite", "postgresql+psycopg"),
}


@pytest.fixture
def backend() -> Iterator[Backend]:
    with backend_serving() as serving:
        yield serving


def attributes(span: Span) -> dict[str, Any]:
    return {
        pair.key: [each.string_value for each in pair.value.array_value.values] or pair.value.string_value
        for pair in span.attributes
    }


@pytest.mark.parametrize(("server", "driver"), [(server, driver) for server in SERVERS for driver in DRIVERS[server]])
def test_a_request_tells_its_statements_and_one_that_waits_in_vain_names_the_line_of_the_holders(
    server: str, driver: str, backend: Backend, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if server == "uvicorn":
        pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")
    if driver.startswith("sqlite"):
        url = f"{driver}:///{tmp_path}/shop.db"
    else:
        url = f"{driver}://postgres@{request.getfixturevalue('postgresql')}/postgres"
    source, command = SERVERS[server]
    (tmp_path / "service.py").write_text(source)
    port = free_port()
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "DATABASE": url, "PYTHONPATH": str(tmp_path)}
    address = f"{port}" if server == "uvicorn" else f"127.0.0.1:{port}"
    with process(*command, address, env=environment, cwd=tmp_path) as running:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"))
            told = [client.get(path) for path in ("/items/1", "/leak", "/leak", "/items/2")]
        running.terminate()
        running.wait(60)
    assert [response.status_code for response in told] == [200, 200, 200, 500]
    good, first, second, bad = (bytes.fromhex(response.headers["x-trace-id"]) for response in told)
    by_trace: dict[bytes, dict[str, Span]] = {}
    for span in backend.spans:
        by_trace.setdefault(span.trace_id, {})[span.name] = span
    statement = by_trace[good]["SELECT SELECT"]
    parent = next(span for span in by_trace[good].values() if span.kind == Span.SPAN_KIND_SERVER)
    assert statement.parent_span_id == parent.span_id
    assert statement.kind == Span.SPAN_KIND_CLIENT
    assert "secret" not in str(statement)
    wait = by_trace[bad]["pool wait"]
    assert wait.status.code == Status.STATUS_CODE_ERROR
    found = attributes(wait)
    lines = source.splitlines()
    line = next(number for number, each in enumerate(lines, 1) if each.endswith("# taken here"))
    assert found["tracemw.pool.holders.line"] == [f"{tmp_path}/service.py:{line} in leak"] * 2
    assert found["tracemw.pool.holders.trace_id"] == [first.hex(), second.hex()]
    assert found["error.type"] == "sqlalchemy.exc.TimeoutError"
