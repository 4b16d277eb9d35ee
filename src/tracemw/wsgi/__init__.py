"""The door for any WSGI application: `app = TraceMiddleware(app)`.

One SERVER span per request. Flask and Falcon have doors of their own, which know the routes:
`tracemw.flask` and `tracemw.falcon`.

The way of a request through this room, one module per step:

1. This module: the middleware finds out whether the request is traced already, begins its exchange, and calls the
   application.
2. `_environ.py`: the environ is copied, and read as the facts of the request.
3. `_response.py`: `start_response` is watched for the status and the headers.
4. `_body.py`: the body is watched for its last byte, also where the server sends a file in its own way.
5. `_exchange.py`: the exchange keeps count of the response, and knows when servers send its head.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Unpack
from weakref import ref

from tracemw._http.exchange import ServerExchange
from tracemw._http.options import refuse_other_kind
from tracemw._http.server import ServerTracing
from tracemw._http.settings import ServerOptions, shows_options
from tracemw._otel.context import attach, current_context, detach
from tracemw._otel.guard import fault
from tracemw.wsgi._body import traced, watch_file
from tracemw.wsgi._environ import EnvironRequest
from tracemw.wsgi._exchange import BYTE, START_RESPONSE, WsgiExchange, has_served_a_connection
from tracemw.wsgi._response import observed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_EXCHANGE: Final = "tracemw.exchange"
"""The key under which an environ has a weak reference to the request's exchange.

The exchange has a copy of the environ. What the copy holds may lead to the environ, as werkzeug's request does. With a
strong reference that would be a cycle, and only the garbage collector would free the request.
"""

_HABITS: Final = {
    "a2wsgi.wsgi": START_RESPONSE,
    "uvicorn.middleware.wsgi": START_RESPONSE,
    "waitress.task": BYTE,
}
"""When servers send the head of a response, by the module of their `start_response`. All others: with a part."""


@shows_options
class TraceMiddleware:
    """Trace the requests to a WSGI application.

    Args:
        app: The application to wrap.
        **options: See `tracemw.ServerOptions`.

    Raises:
        TypeError: for an unknown option, or what is no WSGI application.
        ValueError: for an option whose value is not accepted.
    """

    def __init__(self, app: WSGIApplication, **options: Unpack[ServerOptions]) -> None:
        refuse_other_kind("tracemw.wsgi.TraceMiddleware", app, "a WSGI application", ("environ", "start_response"))
        self.app = app
        self._tracing = ServerTracing(**options)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if _EXCHANGE in environ and exchange_of(environ) is not None:
            return self.app(environ, start_response)
        request: EnvironRequest | None = None
        try:
            request = EnvironRequest(environ, self._tracing.settings)
        except Exception as error:
            fault("wsgi.EnvironRequest", error)
        if request is None:  # not in the handler above: our exception would be the context of the application's
            return self.app(environ, start_response)
        exchange = WsgiExchange()
        exchange.prepare()
        habit = _HABITS.get(getattr(start_response, "__module__", ""))
        if habit is not None:
            exchange.head_goes_with = habit
        elif "uwsgi.version" in environ:
            exchange.head_goes_with, exchange.is_answered_for = START_RESPONSE, False
        begun, token, handed_out = None, None, False
        # Both `try`s come first. An interrupt may come at the start of the inner one, and the outer one catches it.
        try:
            try:
                begun = self._tracing.begin(exchange, request)
                if begun is not None:
                    environ[_EXCHANGE] = ref(begun)
                if begun is not exchange:  # an outer ASGI application traces the request, or tracing has failed
                    return self.app(environ, start_response)
                token = attach(exchange.context)
                app = self.app  # `self.app(...)` would look for a method first
                body = app(environ, observed(start_response, exchange))
                if exchange.status is None and has_served_a_connection(body, exchange):
                    exchange.switched()
                    exchange.end()
                    return body
                file_wrapper = environ.get("wsgi.file_wrapper")
                if isinstance(file_wrapper, type) and isinstance(body, file_wrapper):
                    watch_file(body, exchange)
                else:
                    body = traced(body, exchange)
                handed_out = True
                return body
            except BaseException as error:
                if begun is exchange:
                    exchange.failed(error)
                raise
            finally:
                if token is not None:
                    detach(token, exchange.context)
        finally:
            if not handed_out or current_context() is exchange.context:
                exchange.depart()


def exchange_of(environ: WSGIEnvironment) -> ServerExchange | None:
    """Return the exchange of the request that `environ` belongs to; None when the request has been served."""
    found = environ.get(_EXCHANGE)
    exchange = found() if isinstance(found, ref) else None
    return exchange if isinstance(exchange, ServerExchange) else None
