"""The viewer as an ASGI application: its routes, its page, and its answers to errors."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tracemw.viewer.admission import AdmissionMiddleware
from tracemw.viewer.allowance import Allowance
from tracemw.viewer.budget import BudgetError
from tracemw.viewer.erasing import Erasing
from tracemw.viewer.explaining import Explanations
from tracemw.viewer.isolation import IsolationMiddleware
from tracemw.viewer.queries import Queries
from tracemw.viewer.querying.literals import QueryError
from tracemw.viewer.receiver import Receiver
from tracemw.viewer.storing.database import StoreError
from tracemw.viewer.storing.store import Store

_TEMPO_VERSION = "3.1.0"
_PAGE = Path(__file__).parent / "page"
_ADDRESSES = ("/", "/trace/{trace_id:str}", "/findings", "/routes", "/map", "/compare/{before:str}/{after:str}")


def create_app(
    store: Store,
    *,
    token: str | None = None,
    names: Collection[str] = (),
    allowance: Allowance = Allowance(),  # noqa: B008  # frozen
) -> Starlette:
    """Return the viewer as an ASGI application.

    Args:
        store: Where spans go to and come from. The caller closes the store.
        token: What every request has to show; None for nothing (see `AdmissionMiddleware`).
        names: The names by which the viewer may be called, beside local ones (see `IsolationMiddleware`).
        allowance: What one peer may take.
    """
    receiver = Receiver(store, allowance)
    queries = Queries(store, allowance)
    explanations = Explanations(store, allowance)
    erasing = Erasing(store, allowance, explanations.forget)
    return Starlette(
        routes=[
            Route("/v1/traces", receiver.receive_traces, methods=["POST"]),
            Route("/v1/{signal:str}", receiver.refuse_signal, methods=["POST"]),
            Route("/ready", _ready),
            Route("/api/echo", _echo),
            Route("/api/status/buildinfo", _build),
            Route("/api/traces/{trace_id:str}", queries.trace_v1),
            Route("/api/v2/traces/{trace_id:str}", queries.trace_v2),
            Route("/api/search", queries.search),
            Route("/api/search/tags", queries.old_tag_names),
            Route("/api/search/tag/{name:path}/values", queries.old_tag_values),
            Route("/api/v2/search/tags", queries.tag_names),
            Route("/api/v2/search/tag/{name:path}/values", queries.tag_values),
            Route("/api/metrics/query_range", queries.metrics_range),
            Route("/api/metrics/query", queries.metrics_instant),
            Route("/viewer/traces", queries.list_traces),
            Route("/viewer/status", queries.status),
            Route("/viewer/trace/{trace_id:str}", explanations.trace),
            Route("/viewer/trace/{trace_id:str}/span/{span_id:str}", explanations.span),
            Route("/viewer/trace/{trace_id:str}/matches", explanations.matches),
            Route("/viewer/causes", explanations.causes),
            Route("/viewer/survey", explanations.survey),
            Route("/viewer/erase", erasing.erase_traces, methods=["POST"]),
            *(Route(path, _page) for path in _ADDRESSES),
            Mount("/page", _PageFiles(directory=_PAGE)),
        ],
        middleware=[
            Middleware(IsolationMiddleware, names=names),
            *([] if token is None else [Middleware(AdmissionMiddleware, token=token)]),
        ],
        exception_handlers={
            QueryError: _bad_request,
            BudgetError: _bad_request,
            StoreError: _unavailable,
            HTTPException: _plain,
        },
    )


class _PageFiles(StaticFiles):
    """The page's files. A browser asks every time, so an upgrade shows at once. A 304 is cheap on this machine."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Serve one file."""
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


def _ready(_: Request) -> Response:
    return PlainTextResponse("ready\n")


def _echo(_: Request) -> Response:
    return PlainTextResponse("echo\n")


def _build(_: Request) -> Response:
    """Say which Tempo the answers are like. Grafana asks, to know what it may ask for."""
    unknown = dict.fromkeys(("branch", "buildDate", "buildUser", "goVersion"), "")
    return JSONResponse({"version": _TEMPO_VERSION, "revision": "tracemw", **unknown})


def _page(_: Request) -> Response:
    return FileResponse(_PAGE / "index.html", media_type="text/html", headers={"cache-control": "no-cache"})


def _bad_request(_: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), status_code=400)  # as Tempo: without a newline


def _unavailable(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", status_code=503, headers={"retry-after": "5"})


def _plain(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    text = "404 page not found"  # Tempo's words
    if status == 405:
        text = f"{request.url.path} takes {headers.get('Allow', 'other methods')}, not {request.method}"
    elif status != 404 and isinstance(error, HTTPException):
        text = error.detail
    return PlainTextResponse(f"{text}\n", status_code=status, headers=headers)
