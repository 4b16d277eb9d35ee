"""The viewer's routes: OTLP in, Tempo's query API and the page out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter, to_thread
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tracemw.viewer import otlp, tempo
from tracemw.viewer.bodies import Bodies
from tracemw.viewer.database import StoreError
from tracemw.viewer.effort import Effort, EffortError
from tracemw.viewer.guard import Guard
from tracemw.viewer.query import QueryError, find, parse_search, parse_trace_id, parse_window
from tracemw.viewer.store import Store, Summary

MAX_BODY_BYTES = 20 * 1024 * 1024  # the OpenTelemetry Collector's, and so Tempo's

_PAGE = Path(__file__).parent / "page"
_PARSED_AT_ONCE = 2  # bodies that have become objects, from parsing to their commit
_SEARCHES_AT_ONCE = 4
_SEARCHES_WAITING = 64
_READS_AT_ONCE = 8
_PROTOBUF_ANSWERS = ("application/protobuf", otlp.PROTOBUF)


def create_app(store: Store, *, local_only: bool = True, max_body_bytes: int = MAX_BODY_BYTES) -> Starlette:
    """The viewer as an ASGI application.

    Args:
        store: where spans go to and come from; the caller closes it
        local_only: refuse requests whose Host header is not a local name (see `Guard`)
        max_body_bytes: the largest body that is taken, before and after decompression
    """
    ingest = _Ingest(store, max_body_bytes)
    queries = _Queries(store)
    return Starlette(
        routes=[
            Route("/v1/traces", ingest.traces, methods=["POST"]),
            Route("/v1/{signal:str}", _no_such_signal, methods=["POST"]),
            Route("/ready", _ready),
            Route("/api/traces/{trace_id:str}", queries.trace_v1),
            Route("/api/v2/traces/{trace_id:str}", queries.trace_v2),
            Route("/api/search", queries.search),
            Route("/api/search/tags", queries.tag_names),
            Route("/api/search/tag/{name:path}/values", queries.tag_values),
            Route("/viewer/traces", queries.listed),
            Route("/viewer/status", queries.status),
            Route("/", _page),
            Route("/trace/{trace_id:str}", _page),
            Mount("/page", _PageFiles(directory=_PAGE)),
        ],
        middleware=[Middleware(Guard, local_only=local_only)],
        exception_handlers={
            QueryError: _bad_request,
            EffortError: _bad_request,
            StoreError: _unavailable,
            HTTPException: _plain,
        },
    )


class _Ingest:
    """The receiving end of OTLP/HTTP."""

    def __init__(self, store: Store, max_body_bytes: int) -> None:
        self._store = store
        self._limit = max_body_bytes
        self._bodies = Bodies(max_body_bytes)
        self._parsing = CapacityLimiter(_PARSED_AT_ONCE)

    async def traces(self, request: Request) -> Response:
        """``POST /v1/traces``: answer when the spans can be found."""
        content_type = otlp.PROTOBUF
        try:
            content_type = otlp.media_type(request.headers.get("content-type"))
            encoding = otlp.content_encoding(request.headers.get("content-encoding"))
            async with self._bodies.read(request) as body, self._parsing:
                batch = await to_thread.run_sync(self._parsed, body, content_type, encoding)
                await asyncio.wrap_future(self._store.add(batch))
        except otlp.OtlpError as error:
            return _refusal(error, content_type)
        except StoreError as error:
            return _refusal(otlp.OtlpError(503, str(error)), content_type)
        except ClientDisconnect:
            return Response(status_code=400)
        return Response(otlp.response(batch, content_type), media_type=content_type)

    def _parsed(self, body: bytes, content_type: str, encoding: str) -> otlp.Batch:
        return otlp.parse_request(body, content_type=content_type, content_encoding=encoding, limit=self._limit)


class _Queries:
    """The reading end. Everything that waits for SQLite runs on a thread, and few at a time, so that others get on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._searching = CapacityLimiter(_SEARCHES_AT_ONCE)
        self._reading = CapacityLimiter(_READS_AT_ONCE)

    async def trace_v1(self, request: Request) -> Response:
        """``GET /api/traces/{id}``: JSON, or protobuf for a client that accepts it."""
        if any(name in request.headers.get("accept", "") for name in _PROTOBUF_ANSWERS):
            return await self._trace(request, tempo.trace_protobuf, "application/protobuf")
        return await self._trace(request, tempo.trace_v1, otlp.JSON)

    async def trace_v2(self, request: Request) -> Response:
        """``GET /api/v2/traces/{id}``."""
        return await self._trace(request, tempo.trace_v2, otlp.JSON)

    async def search(self, request: Request) -> Response:
        """``GET /api/search``."""

        def result(effort: Effort) -> bytes:
            return tempo.search_result(find(self._store, parse_search(request.query_params), effort))

        return await self._searched(request, result)

    async def tag_names(self, request: Request) -> Response:
        """``GET /api/search/tags``."""
        return await self._searched(request, lambda effort: tempo.tag_names(self._store, effort))

    async def tag_values(self, request: Request) -> Response:
        """``GET /api/search/tag/{name}/values``."""
        name = request.path_params["name"]
        return await self._searched(request, lambda effort: tempo.tag_values(self._store, name, effort))

    async def listed(self, request: Request) -> Response:
        """``GET /viewer/traces``: the page's list, which is exact to the nanosecond where Tempo's search is not."""

        def result(effort: Effort) -> bytes:
            found = find(self._store, parse_search(request.query_params), effort)
            return tempo.answer((_listed(each.trace) for each in found), lambda _: {})

        return await self._searched(request, result)

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

    async def _searched(self, request: Request, work: Callable[[Effort], bytes]) -> Response:
        """Answer with what ``work`` makes, unless too many wait already; end it when the client has gone."""
        if self._searching.statistics().tasks_waiting >= _SEARCHES_WAITING:
            return PlainTextResponse("too many searches at once\n", status_code=429, headers={"retry-after": "5"})
        effort = Effort()

        async def end_when_nobody_waits() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            effort.stop()

        watch = asyncio.ensure_future(end_when_nobody_waits())
        try:
            body = await to_thread.run_sync(work, effort, limiter=self._searching)
        finally:
            watch.cancel()
        return Response(body, media_type=otlp.JSON)

    async def _trace(
        self, request: Request, write: Callable[[Iterator[TracesData]], Iterator[bytes]], media_type: str
    ) -> Response:
        """A trace, piece by piece as the client takes them."""
        trace_id = parse_trace_id(request.path_params["trace_id"])
        parse_window(request.query_params)  # hints for Tempo's blocks: they have to be right, and change nothing here
        pieces = write(self._store.trace(trace_id))

        async def following() -> bytes | None:
            return await to_thread.run_sync(next, pieces, None, limiter=self._reading)

        read = [piece for _ in range(3) if (piece := await following()) is not None]
        if not read:
            return PlainTextResponse("trace not found", status_code=404)
        if len(read) < 3:
            return Response(b"".join(read), media_type=media_type)

        async def all_pieces() -> AsyncIterator[bytes]:
            while read:
                yield read.pop(0)  # held by nobody while the client takes it
            while (piece := await following()) is not None:
                yield piece

        return StreamingResponse(all_pieces(), media_type=media_type)


class _PageFiles(StaticFiles):
    """The page's files, which a browser asks for anew after an upgrade (a 304 is cheap on this machine)."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Serve one file."""
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


def _listed(trace: Summary) -> dict[str, Any]:
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


def _refusal(error: otlp.OtlpError, content_type: str) -> Response:
    headers = {}
    if error.status in (408, 413):
        headers["connection"] = "close"  # the rest of the body is not read
    if error.status == 415:
        headers |= {
            "accept-encoding": ", ".join(otlp.ENCODINGS),
            "accept-post": f"{otlp.PROTOBUF}, {otlp.JSON}",
        }
    if error.status == 503:
        headers["retry-after"] = "5"
    return Response(otlp.failure(error, content_type), error.status, headers, media_type=content_type)


def _no_such_signal(request: Request) -> Response:
    message = f"the viewer takes traces only, at /v1/traces; it has no place for {request.path_params['signal']}"
    json = request.headers.get("content-type", "").startswith(otlp.JSON)
    return _refusal(otlp.OtlpError(404, message), otlp.JSON if json else otlp.PROTOBUF)


def _ready(_: Request) -> Response:
    return PlainTextResponse("ready")


def _page(_: Request) -> Response:
    return FileResponse(_PAGE / "index.html", media_type="text/html", headers={"cache-control": "no-cache"})


def _bad_request(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", status_code=400)


def _unavailable(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", status_code=503, headers={"retry-after": "5"})


def _plain(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    text = f"{request.method} {request.url.path}: nothing here"
    if status == 405:
        text = f"{request.url.path} takes {headers.get('Allow', 'other methods')}, not {request.method}"
    return PlainTextResponse(f"{text}\n", status_code=status, headers=headers)
