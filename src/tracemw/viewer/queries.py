"""The endpoints that read: Tempo's query API, and the questions of the viewer's own page."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tracemw.viewer.allowance import Allowance
from tracemw.viewer.answering import Makers
from tracemw.viewer.budget import Budget
from tracemw.viewer.querying import tempo
from tracemw.viewer.querying.fields import Field
from tracemw.viewer.querying.parameters import (
    parse_list,
    parse_metrics,
    parse_optional_limit,
    parse_search,
    parse_trace_id,
    parse_window,
)
from tracemw.viewer.querying.search import find, find_in_trace
from tracemw.viewer.querying.tags import parse_old_tag, tag_names, tag_values
from tracemw.viewer.querying.timeseries import measure
from tracemw.viewer.querying.traceql import parse_identifier, parse_search_query
from tracemw.viewer.receiving.content import JSON, PROTOBUF
from tracemw.viewer.sending import PiecewiseResponse
from tracemw.viewer.storing.store import Store
from tracemw.viewer.storing.summaries import TraceSummary

_SEARCHES_AT_ONCE = 4
_SEARCHES_WAITING = 64
_READS_AT_ONCE = 8
_SMALL_PIECES = 4  # an answer of so many is large
_FIRST_PIECES = 3  # a trace of fewer pieces is sent whole
_PROTOBUF = "application/protobuf"  # as Tempo calls it


class Queries:
    """The endpoints that read.

    Whatever waits for SQLite runs on a thread. Few threads run at a time, so the event loop and the writer get on.
    """

    def __init__(self, store: Store, allowance: Allowance) -> None:
        self._store = store
        self._makers = Makers(allowance.search_seconds, at_once=_SEARCHES_AT_ONCE, waiting=_SEARCHES_WAITING)
        self._large = threading.Lock()  # held by whoever makes a large answer: each is much memory
        self._reading = CapacityLimiter(_READS_AT_ONCE)

    async def trace_v1(self, request: Request) -> Response:
        """``GET /api/traces/{id}``: JSON, or protobuf for a client that accepts it."""
        trace_id = _trace_id(request)
        slices = self._store.trace(trace_id)
        if _accepts_protobuf(request):
            return await self._stream(tempo.write_trace_protobuf(slices), _PROTOBUF)
        return await self._stream(tempo.write_trace_v1(slices), JSON)

    async def trace_v2(self, request: Request) -> Response:
        """``GET /api/v2/traces/{id}``, of which ``q`` leaves the spans that it finds."""
        trace_id = _trace_id(request)
        slices, partial = self._store.trace(trace_id), ""
        if request.query_params.get("q"):
            query = parse_search_query(request.query_params["q"])
            found = await self._makers.make(request, lambda budget: find_in_trace(self._store, trace_id, query, budget))
            slices, partial = tempo.only_spans(slices, found), tempo.FILTERED
        if _accepts_protobuf(request):
            return await self._stream(tempo.write_trace_by_id_response(slices, partial=partial), _PROTOBUF)
        return await self._stream(tempo.write_trace_v2(slices, partial=partial), JSON)

    async def search(self, request: Request) -> Response:
        """``GET /api/search``."""
        search = parse_search(request.query_params)
        return await self._respond(request, lambda budget: tempo.write_search(find(self._store, search, budget)))

    async def tag_names(self, request: Request) -> Response:
        """``GET /api/v2/search/tags``."""
        return await self._respond(
            request, lambda budget: [tempo.write_tag_names(self._tag_names(request.query_params, budget))]
        )

    async def old_tag_names(self, request: Request) -> Response:
        """``GET /api/search/tags``."""

        def result(budget: Budget) -> list[bytes]:
            scopes = self._tag_names(request.query_params, budget)
            if request.query_params.get("scope") != "intrinsic":
                scopes.pop("intrinsic", None)
            return [tempo.write_old_tag_names(scopes)]

        return await self._respond(request, result)

    async def tag_values(self, request: Request) -> Response:
        """``GET /api/v2/search/tag/{name}/values``."""
        field = parse_identifier(request.path_params["name"])
        return await self._respond(
            request, lambda budget: [tempo.write_tag_values(self._tag_values(field, request.query_params, budget))]
        )

    async def old_tag_values(self, request: Request) -> Response:
        """``GET /api/search/tag/{name}/values``."""
        field = parse_old_tag(request.path_params["name"])
        return await self._respond(
            request, lambda budget: [tempo.write_old_tag_values(self._tag_values(field, request.query_params, budget))]
        )

    async def metrics_range(self, request: Request) -> Response:
        """``GET /api/metrics/query_range``."""
        return await self._measure(request, instant=False)

    async def metrics_instant(self, request: Request) -> Response:
        """``GET /api/metrics/query``."""
        return await self._measure(request, instant=True)

    async def list_traces(self, request: Request) -> Response:
        """``GET /viewer/traces``: the page's list, exact to the nanosecond where Tempo's search is not."""

        def result(budget: Budget) -> Iterator[bytes]:
            found = find(self._store, parse_list(request.query_params), budget)
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

    def _tag_names(self, parameters: Mapping[str, str], budget: Budget) -> dict[str, list[str]]:
        scope, query = parameters.get("scope", ""), parameters.get("q", "")
        return tag_names(self._store, scope, query, parse_optional_limit(parameters), budget)

    def _tag_values(self, field: Field, parameters: Mapping[str, str], budget: Budget) -> list[tuple[str, str]]:
        return tag_values(self._store, field, parameters.get("q", ""), parse_optional_limit(parameters), budget)

    async def _measure(self, request: Request, *, instant: bool) -> Response:
        query, window, exemplars = parse_metrics(request.query_params, time.time_ns(), instant=instant)
        return await self._respond(
            request,
            lambda budget: tempo.write_series(measure(self._store, query, window, exemplars, budget), window),
        )

    async def _respond(self, request: Request, write: Callable[[Budget], Iterable[bytes]]) -> Response:
        def write_all(budget: Budget) -> list[bytes]:
            pieces = iter(write(budget))
            first = list(islice(pieces, _SMALL_PIECES))
            if len(first) < _SMALL_PIECES:
                return first
            with self._large:
                return [*first, *pieces]

        return PiecewiseResponse(await self._makers.make(request, write_all), media_type=JSON)

    async def _stream(self, pieces: Iterator[bytes], media_type: str) -> Response:
        """Respond with a trace, piece by piece, as the client takes them."""

        async def read_piece() -> bytes | None:
            return await to_thread.run_sync(next, pieces, None, limiter=self._reading)

        first = [piece for _ in range(_FIRST_PIECES) if (piece := await read_piece()) is not None]
        if not first:
            return Response(status_code=404)
        if len(first) < _FIRST_PIECES:
            return Response(b"".join(first), media_type=media_type)

        async def all_pieces() -> AsyncIterator[bytes]:
            while first:
                yield first.pop(0)  # not held here while the client takes it
            while (piece := await read_piece()) is not None:
                yield piece

        return StreamingResponse(all_pieces(), media_type=media_type)


def _trace_id(request: Request) -> bytes:
    """Return the id in the path. Start and end are hints for Tempo's blocks: checked here, and not used."""
    parse_window(request.query_params)
    return parse_trace_id(request.path_params["trace_id"])


def _accepts_protobuf(request: Request) -> bool:
    return any(name in request.headers.get("accept", "") for name in (_PROTOBUF, PROTOBUF))


def _to_json(trace: TraceSummary) -> dict[str, Any]:
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
