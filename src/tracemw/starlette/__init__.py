"""The door for Starlette: `app.add_middleware(TraceMiddleware)`, or `app = TraceMiddleware(app)` from outside.

Either way the door stands outside of all other layers. Starlette answers unhandled exceptions in a layer around all
added middleware. A door beneath that layer would not see the answer's status, and its span would end before the
exception handler runs. The only seam that Starlette has for this is the method that builds the layers.

`_routes.py` learns the complete route of a request from Starlette's own matching.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Unpack
from weakref import WeakSet

# First, before Starlette's own telemetry: if OTEL_PROPAGATORS is wrong, our error says more.
from tracemw import asgi

try:
    from starlette.applications import Starlette
    from starlette.datastructures import URL
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.middleware.opentelemetry import OpenTelemetryMiddleware
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from tracemw.starlette._routes import RouteIndex, RouteScope, application_of
except ImportError as error:
    raise ImportError("tracemw.starlette needs Starlette: pip install 'tracemw[starlette]'") from error

from tracemw._http.exchange import ServerExchange
from tracemw._http.settings import ServerOptions, shows_options
from tracemw._otel.guard import guarded


@shows_options
class TraceMiddleware(asgi.TraceMiddleware):
    """Trace the requests to a Starlette application, named by route.

    Args:
        app: The application to wrap.
        **options: See `tracemw.ServerOptions`.

    Raises:
        TypeError: for an unknown option, or an application that cannot be called.
        ValueError: for an option whose value is not accepted.
    """

    def __init__(self, app: asgi.ASGIApp, **options: Unpack[ServerOptions]) -> None:
        super().__init__(app, **options)
        self._index = RouteIndex(app)
        self._application: Starlette | None = None
        self.serves(application_of(app))

    @guarded
    def serves(self, app: Starlette | None) -> None:
        """Take over from the native telemetry of the application that this door belongs to. Once is enough."""
        if app is None or app is self._application:
            return
        self._application = app
        _served.add(app)
        for layer in app.user_middleware:
            if _is_a(layer, OpenTelemetryMiddleware):
                options: dict[str, Any] = layer.kwargs
                self.take_over(
                    tracer_provider=options.get("tracer_provider"),
                    meter_provider=options.get("meter_provider"),
                    excludes=_excluding(options.get("excluded_urls")),
                )

    def observe(self, scope: asgi.Scope, exchange: ServerExchange) -> asgi.Scope:
        """Return the scope for the application. If the route is not known otherwise, the scope notes matched routes."""
        if not exchange.is_open or isinstance(scope, RouteScope) or exchange.route_source is not None:
            return scope
        if self._index.covers(scope):
            exchange.route_source = lambda: self._index.route(scope)
            return scope
        observed = RouteScope(scope)
        exchange.route_source = observed.trail.route
        return observed

    def escaped(self, scope: asgi.Scope, exchange: ServerExchange, error: BaseException) -> None:
        """Note an exception that goes on to an outer layer of Starlette, or to the server, to be answered there."""
        is_answered = isinstance(error, Exception) and scope["type"] == "http" and "app" in scope
        if is_answered and exchange.status is None and not exchange.says_only_that_the_client_has_gone(error):
            if not getattr(scope, "beneath_handlers", False):
                exchange.answered(500)  # from the outermost layer; its handler may still choose another status
            elif isinstance(error, HTTPException):
                exchange.answered(error.status_code)
                return
        exchange.failure(error)


def stand_outside(kind: type[Starlette]) -> None:
    """Make applications of this class put an added door around all of their layers."""
    build = kind.build_middleware_stack

    @functools.wraps(build)
    def build_middleware_stack(app: Starlette) -> ASGIApp:
        given = app.user_middleware
        doors = [layer for layer in given if _is_a(layer, TraceMiddleware)]
        if not doors and app not in _served:
            return build(app)
        others = [layer for layer in given if layer not in doors]
        if any(_is_a(layer, BaseHTTPMiddleware) for layer in others):
            others.append(Middleware(_BrokenResponses))
        app.user_middleware = others
        try:
            stack = build(app)
        finally:
            app.user_middleware = given
        for door, args, kwargs in reversed(doors):
            made: Any = door(stack, *args, **kwargs)
            made.serves(app)
            stack = made
        return stack

    kind.build_middleware_stack = build_middleware_stack  # type: ignore[assignment, method-assign]


def _excluding(urls: str | Iterable[str] | None) -> Callable[[Scope], bool] | None:
    """Return what tells whether a request has one of these URLs, given as Starlette's own middleware takes them."""
    if not urls:
        return None
    patterns = [re.compile(each.strip()) for each in (urls.split(",") if isinstance(urls, str) else urls)]
    return lambda scope: any(pattern.search(str(URL(scope=scope))) for pattern in patterns)


def _is_a(layer: Middleware, kind: type) -> bool:
    return isinstance(layer.cls, type) and issubclass(layer.cls, kind)


class _BrokenResponses:
    """A layer that tells the door of an exception in the middle of a response.

    BaseHTTPMiddleware completes such a response first, and then raises the exception again. That is too late for the
    span.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def observed(message: Message) -> None:
            nonlocal begun
            begun = message["type"] == "http.response.start" or (begun and bool(message.get("more_body")))
            await send(message)

        try:
            await self.app(scope, receive, observed)
        except Exception as error:
            exchange = asgi.exchange_of(scope)
            if begun and exchange is not None:
                exchange.failure(error)
            raise


_served: Final[WeakSet[Starlette]] = WeakSet()
"""Applications that have a door around them."""

stand_outside(Starlette)
