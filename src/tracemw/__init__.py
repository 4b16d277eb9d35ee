"""Distributed tracing for Python web services in two lines, on OpenTelemetry.

    import tracemw
    from tracemw.fastapi import TraceMiddleware

    tracemw.init("storefront")
    app.add_middleware(TraceMiddleware)

Importing this package loads neither a framework nor the OpenTelemetry SDK. `init` loads the SDK. Each door
(`tracemw.fastapi`, `tracemw.flask`, `tracemw.httpx`, ...) loads its own framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tracemw._version import __version__
from tracemw.spans import annotate, current_trace_id, keep, span, stage, traced

if TYPE_CHECKING:  # the names that `__getattr__` finds, so that a type checker knows these and no others
    from tracemw import asgi as asgi
    from tracemw import falcon as falcon
    from tracemw import fastapi as fastapi
    from tracemw import flask as flask
    from tracemw import httpx as httpx
    from tracemw import httpx2 as httpx2
    from tracemw import litestar as litestar
    from tracemw import logging as logging
    from tracemw import requests as requests
    from tracemw import sqlalchemy as sqlalchemy
    from tracemw import starlette as starlette
    from tracemw import urllib3 as urllib3
    from tracemw import wsgi as wsgi
    from tracemw._http.client import ClientOptions
    from tracemw._http.facts import RequestFacts
    from tracemw._http.settings import ServerOptions
    from tracemw._recording.redacted import RedactingExporter
    from tracemw._setup.tracing import Stats, Tracing
    from tracemw.bootstrap import init, shutdown
    from tracemw.users import user

__all__ = [
    "ClientOptions",
    "RedactingExporter",
    "RequestFacts",
    "ServerOptions",
    "Stats",
    "Tracing",
    "__version__",
    "annotate",
    "current_trace_id",
    "init",
    "keep",
    "shutdown",
    "span",
    "stage",
    "traced",
    "user",
]

_DOORS = (
    *("asgi", "falcon", "fastapi", "flask", "httpx", "httpx2", "litestar", "requests", "sqlalchemy", "starlette"),
    *("urllib3", "wsgi"),
)
_MODULES = (*_DOORS, "logging")
_HOMES = {
    "ClientOptions": "tracemw._http.client",
    "RedactingExporter": "tracemw._recording.redacted",
    "RequestFacts": "tracemw._http.facts",
    "ServerOptions": "tracemw._http.settings",
    "Stats": "tracemw._setup.tracing",
    "Tracing": "tracemw._setup.tracing",
    "init": "tracemw.bootstrap",
    "shutdown": "tracemw.bootstrap",
    "user": "tracemw.users",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            return getattr(importlib.import_module(_HOMES[name]), name)
        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
