"""The endpoints that read: Tempo's query API, and the questions of the viewer's own page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from anyio import CapacityLimiter, to_thread
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from tracemw.viewer.allowance import Allowance
from tracemw.viewer.budget import Budget
from tracemw.viewer.querying import tempo
from tracemw.viewer.querying.parameters import parse_search, parse_trace_id, parse_window
from tracemw.viewer.querying.search import find
from tracemw.viewer.receiving.content import JSON, PROTOBUF
from tracemw.viewer.storing.store import Store
from tracemw.viewer.storing.summaries import Summary

_SEARCHES_AT_ONCE = 4
_SEARCHES_WAITING = 64
_READS_AT_ONCE = 8
_FIRST_PIECES = 3  # a trace of fewer pieces is sent whole
_PROTOBUF_TYPES = ("application/protobuf", PROTOBUF)


class Queries:
    """The endpoints that read.

    Whatever waits for SQLite runs on a thread. Few threads run at a time, so the event loop and the writer get on.
    """

    def __init__(self, store: Store, allowance: Allowance) -> None:
        self._store = store
        self._search_seconds = allowance.search_seconds
        self._searching = CapacityLimiter(_SEARCHES_AT_ONCE)
        self._reading = CapacityLimiter(_READS_AT_ONCE)

    async def trace_v1(self, request: Request) -> Response:
        """``GET /api/traces/{id}``: JSON, or protobuf for a client that accepts it."""
        if any(name in request.headers.get("accept", "") for name in _PROTOBUF_TYPES):
            return await self._stream_trace(request, tempo.write_trace_protobuf, "application/protobuf")
        return await self._stream_trace(request, tempo.write_trace_v1, JSON)

    async def trace_v2(self, request: Request) -> Response:
        """``GET /api/v2/traces/{id}``."""
        return await self._stream_trace(request, tempo.write_trace_v2, JSON)

    async def search(self, request: Request) -> Response:
        """``GET /api/search``."""

        def result(budget: Budget) -> bytes:
            return tempo.write_search(find(self._store, parse_search(request.query_params), budget))

        return await self._respond(request, result)

    async def tag_names(self, request: Request) -> Response:
        """``GET /api/search/tags``."""
        return await self._respond(request, lambda budget: tempo.write_tag_names(self._store, budget))

    async def tag_values(self, request: Request) -> Response:
        """``GET /api/search/tag/{name}/values``."""
        name = request.path_params["name"]
        return await self._respond(request, lambda budget: tempo.write_tag_values(self._store, name, budget))

    async def list_traces(self, request: Request) -> Response:
        """``GET /viewer/traces``: the page's list, exact to the nanosecond where Tempo's search is not."""

        def result(budget: Budget) -> bytes:
            found = find(self._store, parse_search(request.query_params), budget)
            return tempo.write_traces((_to_json(each.summary) for each in found), lambda _: {})

        return await self._respond(request, result)

    async def status(self, _: Request) -> Response:
        """``GET /viewer/status``: how much there is, and from which services."""
        totals = self._store.totals()
        return JSONResponse(
            {
                "traces": totals.traces,
                "spans": totals.spans,
                "maxSpans": self._store.max_spans,
                "services": await to_thread.run_sync(self._store.services, limiter=self._reading),
            }
        )

    async def _respond(self, request: Request, write: Callable[[Budget], bytes]) -> Response:
        """Respond with the body that ``write`` makes, unless too many wait. A search ends when its client has gone."""
        if self._searching.statistics().tasks_waiting >= _SEARCHES_WAITING:
            return PlainTextResponse("too many searches at once\n", status_code=429, headers={"retry-after": "5"})
        budget = Budget(self._search_seconds)

        def write_within_budget() -> bytes:
            budget.begin()
            return write(budget)

        async def cancel_on_disconnect() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            budget.cancel()

        watch = asyncio.ensure_future(cancel_on_disconnect())
        try:
            body = await to_thread.run_sync(write_within_budget, limiter=self._searching)
        finally:
            watch.cancel()
        return Response(body, media_type=JSON)

    async def _stream_trace(
        self, request: Request, write: Callable[[Iterator[TracesData]], Iterator[bytes]], media_type: str
    ) -> Response:
        """Respond with a trace, piece by piece, as the client takes them."""
        trace_id = parse_trace_id(request.path_params["trace_id"])
        parse_window(request.query_params)  # start and end are hints for Tempo's blocks: checked here, and not used
        pieces = write(self._store.trace(trace_id))

        async def read_piece() -> bytes | None:
            return await to_thread.run_sync(next, pieces, None, limiter=self._reading)

        first = [piece for _ in range(_FIRST_PIECES) if (piece := await read_piece()) is not None]
        if not first:
            return PlainTextResponse("trace not found", status_code=404)
        if len(first) < _FIRST_PIECES:
            return Response(b"".join(first), media_type=media_type)

        async def all_pieces() -> AsyncIterator[bytes]:
            while first:
                yield first.pop(0)  # not held here while the client takes it
            while (piece := await read_piece()) is not None:
                yield piece

        return StreamingResponse(all_pieces(), media_type=media_type)


def _to_json(trace: Summary) -> dict[str, Any]:
    return {
        "traceId": trace.trace_id.hex(),
        "rootService": trace.root_service,
        "rootName": trace.root_name,
        "firstService": trace.first_service,
        "firstName": trace.first_name,
        "startTimeUnixNano": str(trace.start),
        "durationNanos": str(trace.duration),
        "spans": trace.spans,
        "errors": trace.errors,
        "services": {service: {"spans": counts[0], "errors": counts[1]} for service, counts in trace.services.items()},
    }
