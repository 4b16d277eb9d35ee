"""The door for Falcon: `TraceMiddleware(app)`, and the application stays what it is, on ASGI and on WSGI.

Falcon's middleware sees neither streams nor what comes before it. So the door stands around the application's
`__call__`. Python looks that up at the class, and a Falcon application has slots: each traced one gets a class of its
own, derived from its former one. Middleware sees the request. There Falcon notes its template; sinks have none.
"""

from __future__ import annotations

import functools
from typing import Any, Unpack

try:
    import falcon
    import falcon.asgi
except ImportError as error:
    raise ImportError("tracemw.falcon needs Falcon: pip install 'tracemw[falcon]'") from error

from tracemw import asgi, wsgi
from tracemw._http.server import ServerTracing
from tracemw._http.settings import ServerOptions, shows_options
from tracemw._otel.guard import guarded


@shows_options
class TraceMiddleware:
    """Trace the requests to a Falcon application, named by URI template. A second one changes nothing.

    Args:
        app: The application, a `falcon.asgi.App` or a `falcon.App`. It is traced in place.
        **options: See `tracemw.ServerOptions`.

    Raises:
        TypeError: for an unknown option, or anything but a Falcon application.
        ValueError: for an option with a value that cannot work.
    """

    def __init__(self, app: falcon.App[Any, Any], **options: Unpack[ServerOptions]) -> None:
        if not isinstance(app, falcon.App):
            raise TypeError(f"tracemw.falcon.TraceMiddleware takes a Falcon application, not {type(app).__name__}")
        ServerTracing(**options)  # a wrong option is an error also for an application that is traced already
        kind: Any = type(app)
        if hasattr(kind, "traced_by_tracemw"):
            return
        around, call = (_AsgiDoor, _call_asgi) if isinstance(app, falcon.asgi.App) else (_WsgiDoor, _call_wsgi)
        door = around(functools.partial(kind.__call__, app), **options)

        def add_error_handler(self: Any, exception: Any, handler: Any = None) -> None:
            """See a handler for all exceptions that comes later, too."""
            before = self._error_handlers[Exception]
            kind.add_error_handler(self, exception, handler)
            if self._error_handlers[Exception] is not before:
                _note_unhandled(self)

        own = {"__call__": call, "add_error_handler": add_error_handler, "traced_by_tracemw": door, "__slots__": ()}
        app.add_middleware(_Observer())
        _note_unhandled(app)
        app.__class__ = type(kind.__name__, (kind,), {"__module__": kind.__module__, **own})


class _AsgiDoor(asgi.TraceMiddleware):
    """The `__call__` of a `falcon.asgi.App`, traced."""


class _WsgiDoor(wsgi.TraceMiddleware):
    """The `__call__` of a `falcon.App`, traced."""


# Falcon's test client tells the protocols apart by these arguments, and so do servers by `async`.
async def _call_asgi(self: Any, scope: Any, receive: Any, send: Any) -> Any:
    return await self.traced_by_tracemw(scope, receive, send)


def _call_wsgi(self: Any, environ: Any, start_response: Any) -> Any:
    return self.traced_by_tracemw(environ, start_response)


class _Observer:
    """Middleware that tells the exchange how to find the route when the request ends. Falcon has not matched it yet."""

    def process_request(self, req: Any, _: Any) -> None:
        _observe(req)

    async def process_request_async(self, req: Any, _: Any) -> None:
        _observe(req)

    async def process_request_ws(self, req: Any, _: Any) -> None:
        _observe(req)


def _exchange_of(req: Any) -> Any:
    return asgi.exchange_of(req.scope) if isinstance(req, falcon.asgi.Request) else wsgi.exchange_of(req.env)


@guarded
def _observe(req: Any) -> None:
    exchange = _exchange_of(req)
    if exchange is not None and exchange.is_open:
        outer = None if exchange.route_source is None else exchange.route_source()
        exchange.route_source = lambda: outer if req.uri_template is None else _route(req, outer)


def _route(req: Any, outer: str | None) -> str:
    """Return the complete route of a request that has matched, beneath what has led to the application."""
    root: str = req.root_path.rstrip("/")
    # By the ASGI specification, the path holds the root path, and so do Falcon's templates, unless somebody has cut it.
    is_whole = isinstance(req, falcon.asgi.Request) and root and f"{req.path}/".startswith(f"{root}/")
    return ("" if is_whole else (outer or root).removesuffix("/{path}").rstrip("/")) + str(req.uri_template)


def _note_unhandled(app: Any) -> None:
    """Wrap the handler for all exceptions: to it comes what no handler for the exception's own class has taken."""
    handlers = app._error_handlers  # noqa: SLF001  no public name gives a handler
    handler = handlers[Exception]

    @functools.wraps(handler)
    def noting(req: Any, resp: Any, error: Exception, params: Any, **more: Any) -> Any:
        _failed(req, error)
        return handler(req, resp, error, params, **more)

    handlers[Exception] = noting


@guarded
def _failed(req: Any, error: Exception) -> None:
    if (exchange := _exchange_of(req)) is not None:
        exchange.failure(error)
