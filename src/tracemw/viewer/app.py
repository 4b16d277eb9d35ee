"""The viewer's routes: OTLP in, Tempo's query API and the page out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tracemw.viewer import otlp, tempo
from tracemw.viewer.guard import Guard
from tracemw.viewer.query import QueryError, find, parse_search, parse_trace_id, parse_window
from tracemw.viewer.store import Store, StoreError, Summary

MAX_BODY_BYTES = 64 * 1024 * 1024

_PAGE = Path(__file__).parent / "page"
_BODY_SECONDS = 30.0  # a sender that needs longer for one body has gone
_BODIES_AT_ONCE = 8  # bounds the memory that bodies take, together with MAX_BODY_BYTES
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
        exception_handlers={QueryError: _bad_request, HTTPException: _plain},
    )


class _Ingest:
    """The receiving end of OTLP/HTTP."""

    def __init__(self, store: Store, max_body_bytes: int) -> None:
        self._store = store
        self._limit = max_body_bytes
        self._slots = asyncio.Semaphore(_BODIES_AT_ONCE)

    async def traces(self, request: Request) -> Response:
        """``POST /v1/traces``: answer when the spans can be found."""
        content_type = otlp.PROTOBUF
        try:
            content_type = otlp.media_type(request.headers.get("content-type"))
            async with self._slots:
                batch = await self._parsed(request, content_type)
                await asyncio.wrap_future(self._store.add(batch))
        except otlp.OtlpError as error:
            return _refusal(error, content_type)
        except StoreError as error:
            return _refusal(otlp.OtlpError(503, str(error)), content_type)
        except ClientDisconnect:
            return Response(status_code=400)
        return Response(otlp.response(batch, content_type), media_type=content_type)

    async def _parsed(self, request: Request, content_type: str) -> otlp.Batch:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await self._body(request)
        except TimeoutError:
            raise otlp.OtlpError(408, f"the body did not arrive within {_BODY_SECONDS:.0f} seconds") from None
        return await run_in_threadpool(
            otlp.parse_request,
            body,
            content_type=content_type,
            content_encoding=request.headers.get("content-encoding", ""),
            limit=self._limit,
        )

    async def _body(self, request: Request) -> bytes:
        """The body as sent; reading stops at the limit, and does not begin when the length is known to be beyond."""
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limit:
            raise otlp.too_large(self._limit)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._limit:
                raise otlp.too_large(self._limit)
        return bytes(body)


class _Queries:
    """The reading end. These functions wait for SQLite, so Starlette runs them on its threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def trace_v1(self, request: Request) -> Response:
        """``GET /api/traces/{id}``: JSON, or protobuf for a client that accepts it."""
        trace = self._trace(request)
        if not trace.resource_spans:
            return PlainTextResponse("trace not found", status_code=404)
        if any(name in request.headers.get("accept", "") for name in _PROTOBUF_ANSWERS):
            return Response(trace.SerializeToString(), media_type="application/protobuf")
        return JSONResponse(tempo.trace_v1(trace))

    def trace_v2(self, request: Request) -> Response:
        """``GET /api/v2/traces/{id}``."""
        return JSONResponse(tempo.trace_v2(self._trace(request)))

    def search(self, request: Request) -> Response:
        """``GET /api/search``."""
        search = parse_search(request.query_params)
        return JSONResponse(tempo.search_result(find(self._store, search), search))

    def tag_names(self, _: Request) -> Response:
        """``GET /api/search/tags``."""
        return JSONResponse(tempo.tag_names(self._store))

    def tag_values(self, request: Request) -> Response:
        """``GET /api/search/tag/{name}/values``."""
        return JSONResponse(tempo.tag_values(self._store, request.path_params["name"]))

    def listed(self, request: Request) -> Response:
        """``GET /viewer/traces``: the page's list, which is exact to the nanosecond where Tempo's search is not."""
        found = find(self._store, parse_search(request.query_params))
        return JSONResponse({"traces": [_listed(each.trace) for each in found]})

    def status(self, _: Request) -> Response:
        """``GET /viewer/status``: how much there is, and from which services."""
        totals = self._store.totals()
        return JSONResponse(
            {
                "traces": totals.traces,
                "spans": totals.spans,
                "maxSpans": totals.max_spans,
                "services": self._store.services(),
            }
        )

    def _trace(self, request: Request) -> Any:
        trace_id = parse_trace_id(request.path_params["trace_id"])
        parse_window(request.query_params)  # hints for Tempo's blocks: they have to be right, and change nothing here
        return self._store.trace(trace_id)


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


def _plain(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    text = f"{request.method} {request.url.path}: nothing here"
    if status == 405:
        text = f"{request.url.path} takes {headers.get('Allow', 'other methods')}, not {request.method}"
    return PlainTextResponse(f"{text}\n", status_code=status, headers=headers)
