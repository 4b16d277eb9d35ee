"""Distributed tracing for Python web services in two lines, on OpenTelemetry.

    import tracemw
    from tracemw.fastapi import TraceMiddleware

    tracemw.init("storefront")
    app.add_middleware(TraceMiddleware)

Importing this package loads neither a framework nor the OpenTelemetry SDK; `init` loads the SDK when it is used, and
each door (`tracemw.fastapi`, `tracemw.flask`, `tracemw.httpx`, ...) its own framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracemw._version import __version__
from tracemw.spans import annotate, current_trace_id, span, stage, traced

if TYPE_CHECKING:
    from tracemw.bootstrap import Stats, Tracing, init, shutdown

__all__ = [
    "Stats",
    "Tracing",
    "__version__",
    "annotate",
    "current_trace_id",
    "init",
    "shutdown",
    "span",
    "stage",
    "traced",
]


def __getattr__(name: str) -> Any:
    if name in ("Stats", "Tracing", "init", "shutdown"):
        from tracemw import bootstrap

        return getattr(bootstrap, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
