"""The door for Flask: `TraceMiddleware(app)`, or `TraceMiddleware().init_app(app)` in an application factory."""

from __future__ import annotations

from typing import Any, Unpack

try:
    import flask
except ImportError as error:
    raise ImportError("tracemw.flask needs Flask: pip install 'tracemw[flask]'") from error

from tracemw import wsgi
from tracemw._http.server import ServerTracing
from tracemw._http.settings import ServerOptions, shows_options


@shows_options
class TraceMiddleware:
    """A Flask extension that traces the application's requests, named by URL rule.

    Args:
        app: The application; without it, call `init_app` later.
        **options: See `tracemw.ServerOptions`.

    Raises:
        TypeError: for an unknown option.
        ValueError: for an option whose value is not accepted.
    """

    def __init__(self, app: flask.Flask | None = None, **options: Unpack[ServerOptions]) -> None:
        ServerTracing(**options)  # a wrong option is an error here, and not only in `init_app`
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        """Trace `app`. A second call changes nothing.

        Raises:
            TypeError: for anything but a Flask application.
        """
        if not isinstance(app, flask.Flask):
            raise TypeError(f"tracemw.flask.TraceMiddleware takes a Flask application, not {type(app).__name__}")
        if "tracemw" in app.extensions:
            return
        app.extensions["tracemw"] = self
        app.wsgi_app = _Door(app.wsgi_app, **self._options)  # type: ignore[method-assign]
        flask.request_started.connect(_matched, app)
        flask.got_request_exception.connect(_failed, app)


class _Door(wsgi.TraceMiddleware):
    """The application's `wsgi_app`, traced."""


def _matched(sender: flask.Flask, **_: Any) -> None:
    """Tell the request's exchange how to find the route. Flask has matched the request by now."""
    del sender
    request = flask.request
    exchange = wsgi.exchange_of(request.environ)
    rule = request.url_rule
    if exchange is None or not exchange.is_open or rule is None:
        return
    above = exchange.route_source
    if above is None:
        route = request.root_path.rstrip("/") + rule.rule
        exchange.route_source = lambda: route
    elif exchange.protocol != "wsgi":  # an outer ASGI application traces the request, and knows its part of the route
        root = request.root_path
        exchange.route_source = lambda: (above() or root).removesuffix("/{path}").rstrip("/") + rule.rule


def _failed(sender: flask.Flask, exception: BaseException, **_: Any) -> None:
    """Note the exception that no error handler has taken. Flask itself answers it with a 500."""
    del sender
    exchange = wsgi.exchange_of(flask.request.environ)
    if exchange is not None:
        exchange.failure(exception)
