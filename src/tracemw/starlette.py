"""The door for Starlette: `app.add_middleware(TraceMiddleware)`, or `app = TraceMiddleware(app)` from outside."""

from __future__ import annotations

from typing import Unpack

try:
    from starlette.exceptions import HTTPException

    from tracemw._routes import RouteIndex, RouteScope
except ImportError as error:
    raise ImportError("tracemw.starlette needs Starlette: pip install 'tracemw[starlette]'") from error

from tracemw import asgi
from tracemw._http.server import ServerExchange, ServerOptions


class TraceMiddleware(asgi.TraceMiddleware):
    """Trace the requests to a Starlette application, named by route.

    Args:
        app: The application to wrap.
        **options: See `tracemw._http.server.ServerTracing`.

    Raises:
        TypeError: for an unknown option, or an application that is none.
        ValueError: for an option with a value that cannot work.
    """

    def __init__(self, app: asgi.ASGIApp, **options: Unpack[ServerOptions]) -> None:
        super().__init__(app, **options)
        self._index = RouteIndex(app)

    def observe(self, scope: asgi.Scope, exchange: ServerExchange) -> asgi.Scope:
        """Return a scope that notes the routes which Starlette's own matching puts into it."""
        if exchange.ended or isinstance(scope, RouteScope) or exchange.route_source is not None:
            return scope
        if self._index.covers(scope):
            exchange.route_source = lambda: self._index.route(scope)
            return scope
        observed = RouteScope(scope)
        exchange.route_source = observed.trail.route
        return observed

    def escaped(self, scope: asgi.Scope, exchange: ServerExchange, error: BaseException) -> None:
        """Note an exception that goes on to a layer of Starlette outside of this one, which will answer it."""
        if exchange.status is None and isinstance(error, Exception) and scope["type"] == "http" and "app" in scope:
            if not getattr(scope, "beneath_handlers", False):
                exchange.status = 500  # the outermost layer; a handler of its own may choose another status
            elif isinstance(error, HTTPException):
                exchange.status = error.status_code
                return
        exchange.failure(error)
