"""Distributed tracing for Python web services in two lines, on OpenTelemetry.

    import tracemw
    from tracemw.fastapi import TraceMiddleware

    tracemw.init("storefront")
    app.add_middleware(TraceMiddleware)

Importing this package loads neither a framework nor the OpenTelemetry SDK; `init` loads the SDK when it is used, and
each door (`tracemw.fastapi`, `tracemw.flask`, `tracemw.httpx`, ...) its own framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tracemw._version import __version__
from tracemw.spans import annotate, current_trace_id, keep, span, stage, traced

if TYPE_CHECKING:
    from tracemw.bootstrap import Stats, Tracing, init, shutdown

__all__ = [
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
]


_FROM_BOOTSTRAP = ("Stats", "Tracing", "init", "shutdown")
_DOORS = ("asgi", "fastapi", "flask", "httpx", "httpx2", "requests", "starlette", "wsgi")


def __getattr__(name: str) -> Any:
    if name in _FROM_BOOTSTRAP:
        return getattr(importlib.import_module("tracemw.bootstrap"), name)
    if name in _DOORS:
        return importlib.import_module(f"tracemw.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_DOORS})
