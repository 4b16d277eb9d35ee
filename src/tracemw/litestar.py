"""The door for Litestar: `TraceMiddleware(app)`, and the application stays what it is.

Litestar runs its middleware only for requests that have a route. So the door stands around the whole of the
application's handler. Exceptions become answers within that handler. The hook `after_exception` tells the door of them.

Beside this door, Litestar's `OpenTelemetryPlugin` only adds INTERNAL spans to each request, and can be left out.
"""

from __future__ import annotations

from typing import Any, Unpack

try:
    from litestar import Litestar
    from litestar.exceptions import HTTPException, LitestarException, WebSocketException
    from litestar.handlers import ASGIRouteHandler
    from litestar.utils.path import normalize_path
except ImportError as error:
    raise ImportError("tracemw.litestar needs Litestar: pip install 'tracemw[litestar]'") from error

from tracemw import asgi
from tracemw._http.exchange import ServerExchange
from tracemw._http.server import ServerTracing
from tracemw._http.settings import ServerOptions, shows_options
from tracemw._otel.guard import guarded


@shows_options
class TraceMiddleware:
    """Trace the requests to a Litestar application, named by route. A second one changes nothing.

    Args:
        app: The application. It is traced in place.
        **options: See `tracemw.ServerOptions`.

    Raises:
        TypeError: for an unknown option, or anything but a Litestar application.
        ValueError: for an option with a value that cannot work.
    """

    def __init__(self, app: Litestar, **options: Unpack[ServerOptions]) -> None:
        if not isinstance(app, Litestar):
            raise TypeError(f"tracemw.litestar.TraceMiddleware takes a Litestar application, not {type(app).__name__}")
        ServerTracing(**options)  # a wrong option is an error also for an application that is traced already
        handler: Any = app.asgi_handler
        if isinstance(handler, _Handler):
            return
        traced: Any = _Handler(handler, **options)
        app.asgi_handler = traced
        app.after_exception.append(_after_exception)
        app.on_shutdown.append(traced.flush)


class _Handler(asgi.TraceMiddleware):
    """The application's handler, traced."""

    def observe(self, scope: asgi.Scope, exchange: ServerExchange) -> asgi.Scope:
        """Tell the exchange how to find the route when the request ends. Litestar has not matched the request yet."""
        if exchange.is_open:
            root: str = scope.get("root_path") or ""
            path: str = scope["path"]
            source = exchange.route_source
            # Asked now: a mounted application may overwrite in the scope what led here.
            above = root.rstrip("/") if source is None else (source() or root).removesuffix("/{path}").rstrip("/")
            exchange.route_source = lambda: _route(scope, above, path.split(root, 1)[-1] if root else path)
        return scope

    def escaped(self, scope: asgi.Scope, exchange: ServerExchange, error: BaseException) -> None:
        """Note the exception that comes after the response has begun. Each of Litestar's layers has wrapped it."""
        del scope
        while (inner := _wrapped(error)) is not None:
            error = inner
        exchange.failure(error)


def _wrapped(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):  # of the task group that sends a stream
        return error.exceptions[0] if len(error.exceptions) == 1 else None
    return error.__cause__ if type(error) is LitestarException else None


def _route(scope: asgi.Scope, above: str, path: str) -> str | None:
    """Return the complete route of a request for `path`; None when nothing matched."""
    handler = scope.get("route_handler")
    if handler is None:
        return None
    # Litestar has cut a mount from the path in the scope. Mounts have no parameters: what was cut is a template.
    whole, rest = normalize_path(path), normalize_path(scope["path"]).rstrip("/")
    if not whole.endswith(rest):
        return None
    mount = whole.removesuffix(rest).rstrip("/")
    is_mount = isinstance(handler, ASGIRouteHandler) and handler.is_mount
    return above + mount + ("/{path}" if is_mount else scope["path_template"])


async def _after_exception(error: Exception, scope: Any) -> None:
    _failed(error, scope)


@guarded
def _failed(error: Exception, scope: Any) -> None:
    """Note the exception that no handler of the application's own has taken. Litestar itself answers it with a 500."""
    exchange = asgi.exchange_of(scope)
    if exchange is None or isinstance(error, (HTTPException, WebSocketException)):  # those are answers
        return
    handler = scope.get("route_handler")
    handlers = scope["litestar_app"].exception_handlers if handler is None else handler.resolve_exception_handlers()
    kinds = type(error).__mro__
    if scope["type"] != "http" or handlers.keys().isdisjoint(kinds[: kinds.index(Exception)]):
        exchange.failure(error)
