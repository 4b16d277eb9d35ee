"""The floor of outbound calls: statements of SQLAlchemy and calls of httpx, by straight-line code."""

from __future__ import annotations

import time
from random import getrandbits
from typing import Any

import httpx

from benchmarks.contestants.floor import CLIENT, Attributes, Delivery, current


def trace_outbound(engine: Any, client: Any, delivery: Delivery) -> None:
    """Record each statement of the engine and each call of the client below the request that is served."""
    from sqlalchemy import event

    @event.listens_for(engine, "before_cursor_execute")
    def begun(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        context.started = time.time_ns()

    @event.listens_for(engine, "after_cursor_execute")
    def done(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        trace_id, parent = current.get()
        attributes: Attributes = {
            "db.system.name": "sqlite",
            "db.namespace": ":memory:",
            "db.query.text": statement,
            "db.operation.name": "SELECT",
        }
        name = b"SELECT items"
        delivery.add((trace_id, getrandbits(64), parent, name, CLIENT, context.started, time.time_ns(), attributes))

    client._transport = Transport(client._transport, delivery)


class Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Record each call and hand it on."""

    def __init__(self, inner: Any, delivery: Delivery) -> None:
        self._inner = inner
        self._delivery = delivery

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Call."""
        trace_id, parent, span_id, start = self._begin(request)
        response: httpx.Response = self._inner.handle_request(request)
        self._end(request, response, trace_id, parent, span_id, start)
        return response

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Call."""
        trace_id, parent, span_id, start = self._begin(request)
        response: httpx.Response = await self._inner.handle_async_request(request)
        self._end(request, response, trace_id, parent, span_id, start)
        return response

    def _begin(self, request: httpx.Request) -> tuple[int, int, int, int]:
        trace_id, parent = current.get()
        trace_id = trace_id or getrandbits(128)
        span_id = getrandbits(64)
        start = time.time_ns()
        request.headers["traceparent"] = f"00-{trace_id:032x}-{span_id:016x}-01"
        return trace_id, parent, span_id, start

    def _end(
        self, request: httpx.Request, response: httpx.Response, trace_id: int, parent: int, span_id: int, start: int
    ) -> None:
        url, method = request.url, request.method
        attributes: Attributes = {
            "http.request.method": method,
            "url.full": str(url),
            "server.address": url.host,
            "server.port": url.port or 80,
            "network.protocol.version": "1.1",
            "http.response.status_code": response.status_code,
        }
        self._delivery.add((trace_id, span_id, parent, method.encode(), CLIENT, start, time.time_ns(), attributes))
