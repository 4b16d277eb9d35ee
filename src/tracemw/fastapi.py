"""The door for FastAPI: `app.add_middleware(TraceMiddleware)`, or `app = TraceMiddleware(app)` from outside.

FastAPI's native tracing is switched off for the applications that this door serves, from their very first request,
so that a request has one SERVER span; the operation spans that belong to native tracing go away with it. Native metrics
and log records stay where the door is inside the application.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Unpack

try:
    from fastapi import APIRouter, FastAPI

    # FastAPI has no public way to tell a request's complete route, include_router prefixes included: what its native
    # telemetry keeps per request is where it notes it.
    from fastapi.telemetry._api import _RequestTelemetry

    from tracemw._routes import RouterKind, RouteScope, RouteTrail, application_root
except ImportError as error:
    raise ImportError("tracemw.fastapi needs FastAPI 0.142 or later: pip install 'tracemw[fastapi]'") from error

from tracemw import asgi, starlette
from tracemw._guard import guarded
from tracemw._http.server import ServerExchange, ServerOptions

_NATIVE: Final = "fastapi.telemetry"


class TraceMiddleware(starlette.TraceMiddleware):
    """Trace the requests to a FastAPI application, named by route.

    Args:
        app: The application to wrap.
        **options: See `tracemw._http.server.ServerTracing`.

    Raises:
        TypeError: for an unknown option.
        ValueError: for an option with a value that cannot work.
    """

    def __init__(self, app: asgi.ASGIApp, **options: Unpack[ServerOptions]) -> None:
        super().__init__(app, **options)
        # Then the complete route is what they have noted in the end.
        self._only_fastapi = RouterKind(app, APIRouter)
        # FastAPI builds its middleware before it reads its telemetry settings: this is in time for the first request.
        _silence_native(_application(app))

    def observe(self, scope: asgi.Scope, exchange: ServerExchange) -> asgi.Scope:
        """Return a scope that notes the routes which FastAPI's and Starlette's own matching put into it."""
        found = scope.get(_NATIVE)
        native = found if isinstance(found, _RequestTelemetry) else None
        if native is not None and native.span is not None:
            # The application could not be found when this middleware was made, so this request has a native span,
            # which names itself when it is recorded; the next will have ours.
            _silence_native(scope.get("app"))
        if exchange.ended:
            return scope
        if exchange.route_source is None and self._only_fastapi.holds_for(scope):
            notes = native or _RequestTelemetry(span=None, span_method="", data=None)
            scope[_NATIVE] = notes
            exchange.route_source = lambda: _noted_route(notes, scope)
            return scope
        observed = super().observe(scope, exchange)
        if isinstance(observed, RouteScope) and not isinstance(native, _RouteNotes):
            # FastAPI puts its own routes into the scope without their prefixes, and notes the complete ones here.
            observed.noted_elsewhere = ("fastapi.",)
            dict.__setitem__(observed, _NATIVE, _RouteNotes(observed.trail, native))
        return observed


def _noted_route(notes: _RequestTelemetry, scope: asgi.Scope) -> str | None:
    return None if notes.route is None else application_root(scope) + notes.route


class _RouteNotes(_RequestTelemetry):
    """What FastAPI's matching writes its routes into, in place of the object that its native telemetry would make."""

    def __init__(self, trail: RouteTrail, native: _RequestTelemetry | None) -> None:
        self._trail: RouteTrail | None = None
        self._native = native
        super().__init__(
            span=None,
            span_method="",
            logger=native.logger if native else None,
            data=native.data if native else None,
        )
        self._seen = ""
        self._trail = trail

    if not TYPE_CHECKING:  # a checker would let any attribute be assigned

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "route" and self._trail is not None:
                self._matched(value)

    @guarded
    def _matched(self, route: str) -> None:
        """Take in a route as FastAPI gives it: from its outermost application's own root on."""
        if self._native is not None:
            self._native.route = self._native._mount_prefix + route  # noqa: SLF001
        mount = self._mount_prefix[len(self._seen) :] if self._mount_prefix != self._seen else None
        if self._trail is not None:
            self._trail.matched(route[len(self._seen) :], mount=mount)
        self._seen = self._mount_prefix


def _application(app: object) -> object:
    """Follow a chain of middleware to the FastAPI application that it belongs to; None when it cannot be followed."""
    seen: set[int] = set()
    while app is not None and id(app) not in seen:
        if isinstance(app, FastAPI):
            return app
        seen.add(id(app))
        provider = getattr(app, "dependency_overrides_provider", None)
        app = provider if provider is not None else getattr(app, "app", None)
    return None


@guarded
def _silence_native(app: object) -> None:
    settings = getattr(app, "_telemetry", None)
    if isinstance(settings, dict):
        # With tracing off, FASTAPI_OTEL_AUTO_CONFIGURE adds no second exporter to the tracer provider either.
        settings["tracing"] = settings["metrics"] = False
