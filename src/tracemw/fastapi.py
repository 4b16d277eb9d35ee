"""The door for FastAPI: `app.add_middleware(TraceMiddleware)`, or `app = TraceMiddleware(app)` from outside.

FastAPI's native tracing is switched off for the applications that this door serves, from their very first request,
so that a request has one SERVER span; the operation spans that belong to native tracing go away with it, and so do
native metrics. Providers that were given to them are used by this door, unless it has providers of its own. Native log
records and `fastapi.telemetry.get_telemetry_data()` stay: the door keeps for each request what FastAPI would keep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Unpack

try:
    import fastapi
    from fastapi import APIRouter, FastAPI
    from fastapi.telemetry import TelemetryData

    # FastAPI has no public way to tell a request's complete route, include_router prefixes included, and to have its
    # log records written: what its native telemetry keeps per request is where it looks for both.
    from fastapi.telemetry._api import _REQUEST_TELEMETRY_KEY, _RequestTelemetry
    from fastapi.telemetry._asgi import _exception
    from starlette.applications import Starlette

    from tracemw.starlette._routes import RouterKind, RouteScope, RouteTrail, application_root
except ImportError as error:
    raise ImportError("tracemw.fastapi needs FastAPI 0.142 or later: pip install 'tracemw[fastapi]'") from error

from opentelemetry import _logs
from opentelemetry.context import Context

from tracemw import asgi, starlette
from tracemw._http.exchange import ServerExchange
from tracemw._http.settings import ServerOptions, shows_options
from tracemw._otel.guard import call_hook, fault, guarded
from tracemw._otel.providers import SCHEMA_URL

_NATIVE: Final = "fastapi.telemetry"


@shows_options
class TraceMiddleware(starlette.TraceMiddleware):
    """Trace the requests to a FastAPI application, named by route.

    Args:
        app: The application to wrap.
        **options: See `tracemw.ServerOptions`.

    Raises:
        TypeError: for an unknown option.
        ValueError: for an option with a value that cannot work.
    """

    _settings: dict[str, Any] | None = None
    """The settings of the application's native telemetry, once the application is known."""

    def __init__(self, app: asgi.ASGIApp, **options: Unpack[ServerOptions]) -> None:
        super().__init__(app, **options)
        # Then the complete route is what they have noted in the end.
        self._only_fastapi = RouterKind(app, APIRouter)

    @guarded
    def serves(self, app: Starlette | None) -> None:
        """Take over from the native telemetry of the application that this door belongs to, and switch it off."""
        super().serves(app)
        settings = getattr(app, "_telemetry", None)
        if isinstance(app, FastAPI) and isinstance(settings, dict):
            self._settings = settings
            self.take_over(
                tracer_provider=settings.get("tracer_provider"), meter_provider=settings.get("meter_provider")
            )
            # FastAPI reads these at each request. With tracing off, FASTAPI_OTEL_AUTO_CONFIGURE adds no second
            # exporter to the tracer provider either.
            settings["tracing"] = settings["metrics"] = False

    def observe(self, scope: asgi.Scope, exchange: ServerExchange) -> asgi.Scope:
        """Return a scope that notes the routes which FastAPI's and Starlette's own matching put into it."""
        found = scope.get(_NATIVE)
        if isinstance(found, _RequestTelemetry):
            notes = found
            if found.span is not None:
                # The application could not be found when this middleware was made, so this request has a native span,
                # which names itself when it is recorded; the next will have ours.
                self.serves(scope.get("app"))
        else:
            notes = scope[_NATIVE] = _Notes(self._settings or {}, scope)
        if not exchange.is_open:
            return scope
        if exchange.route_source is None and self._only_fastapi.holds_for(scope):
            exchange.route_source = lambda: _noted_route(notes, scope)
            return scope
        observed = super().observe(scope, exchange)
        if isinstance(observed, RouteScope) and not isinstance(notes, _RouteNotes):
            # FastAPI puts its own routes into the scope without their prefixes, and notes the complete ones here.
            observed.noted_elsewhere = ("fastapi.",)
            dict.__setitem__(observed, _NATIVE, _RouteNotes(observed.trail, notes))
        return observed

    def enter(self, scope: asgi.Scope, context: Context) -> Context:
        """Return the context in which FastAPI finds what it keeps of the request."""
        notes = scope.get(_NATIVE)
        if notes is None or context.get(_REQUEST_TELEMETRY_KEY) is notes:
            return context
        return Context({**context, _REQUEST_TELEMETRY_KEY: notes})

    def leave(self, scope: asgi.Scope) -> None:
        """Let go of the request: it leads to its scope, and what FastAPI keeps of it leads to its exceptions."""
        notes = scope.get(_NATIVE)
        if isinstance(notes, (_Notes, _RouteNotes)):
            notes.close()
            scope.pop(_NATIVE, None)

    def escaped(self, scope: asgi.Scope, exchange: ServerExchange, error: BaseException) -> None:
        """Have FastAPI log the exception as long as the span is current, unless it has done so."""
        super().escaped(scope, exchange, error)
        try:
            _exception(scope=scope, exc=error)
        except Exception as own:
            fault("fastapi.TraceMiddleware.escaped", own)


def _noted_route(notes: _RequestTelemetry, scope: asgi.Scope) -> str | None:
    if notes.route is None or not isinstance(notes, _Notes):  # FastAPI's own have the application's root in them
        return notes.route
    return application_root(scope) + notes.route


class _Notes(_RequestTelemetry):
    """What FastAPI keeps of a request, of which the span is ours; what few requests need is made when it is asked for.

    Args:
        settings: Those of the application's native telemetry.
        scope: The request's, for those who have excluded it from native telemetry.
    """

    span = None
    span_method = ""
    _kept: TelemetryData | None = None
    _seen: list[BaseException] | None = None
    _is_open = True

    def __init__(self, settings: dict[str, Any], scope: asgi.Scope) -> None:
        self._settings = settings
        exclude = settings.get("exclude")
        if exclude is not None and call_hook("exclude", exclude, scope):
            self.close()

    def close(self) -> None:
        """Let go of all that belongs to the request, which is over."""
        self._is_open = False
        self._kept = self._seen = None

    if not TYPE_CHECKING:  # a checker would have them stay plain attributes

        @property
        def data(self) -> TelemetryData | None:
            if self._kept is None and self._is_open:
                self._kept = TelemetryData()
            return self._kept

        @property
        def logger(self) -> _logs.Logger | None:
            if not self._is_open or not self._settings.get("logs", True):
                return None
            provider = self._settings.get("logger_provider")
            return _logs.get_logger("fastapi", fastapi.__version__, provider, schema_url=SCHEMA_URL)

        @property
        def _exceptions(self) -> list[BaseException]:
            if self._seen is None:
                self._seen = []
            return self._seen


class _RouteNotes(_RequestTelemetry):
    """What FastAPI's matching writes its routes into, around what it keeps of the request."""

    span = None
    span_method = ""

    def __init__(self, trail: RouteTrail, notes: _RequestTelemetry) -> None:
        self._trail = trail
        self._notes = notes
        self._seen = ""

    def close(self) -> None:
        """Let go of all that belongs to the request, which is over."""
        if isinstance(self._notes, _Notes):
            self._notes.close()

    if not TYPE_CHECKING:  # a checker would let any attribute be assigned, and have these stay plain attributes

        @property
        def data(self) -> TelemetryData | None:
            return self._notes.data

        @property
        def logger(self) -> _logs.Logger | None:
            return self._notes.logger

        @property
        def _exceptions(self) -> list[BaseException]:
            return self._notes._exceptions  # noqa: SLF001

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "route":
                self._matched(value)

    @guarded
    def _matched(self, route: str) -> None:
        """Take in a route as FastAPI gives it: from its outermost application's own root on."""
        self._notes.route = self._notes._mount_prefix + route  # noqa: SLF001
        mount = self._mount_prefix[len(self._seen) :] if self._mount_prefix != self._seen else None
        self._trail.matched(route[len(self._seen) :], mount=mount)
        self._seen = self._mount_prefix


starlette.stand_outside(FastAPI)
