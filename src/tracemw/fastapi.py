"""The door for FastAPI: `app.add_middleware(TraceMiddleware)`, or `app = TraceMiddleware(app)` from outside.

This door switches FastAPI's native tracing off for its application, from the very first request, so that a request has
one SERVER span. Native operation spans and native metrics go, too. The door uses the providers that native telemetry
was given, unless its own options name others. A request that native telemetry's `exclude` names is skipped. Native log
records and `fastapi.telemetry.get_telemetry_data()` stay: the door keeps for each request what FastAPI would keep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Unpack

try:
    import fastapi
    from fastapi import APIRouter, FastAPI
    from fastapi.telemetry import TelemetryData

    # Private names: FastAPI has no public way to tell a request's complete route, with the prefixes of include_router,
    # or to have its log records written. It looks for both in what its native telemetry keeps of a request.
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
_put: Final = dict.__setitem__  # a context refuses to be changed by anybody, since others may have it


@shows_options
class TraceMiddleware(starlette.TraceMiddleware):
    """Trace the requests to a FastAPI application, named by route.

    Args:
        app: The application to wrap.
        **options: See `tracemw.ServerOptions`.

    Raises:
        TypeError: for an unknown option.
        ValueError: for an option whose value is not accepted.
    """

    _settings: dict[str, Any] | None = None
    """The settings of the application's native telemetry, once the application is known."""

    def __init__(self, app: asgi.ASGIApp, **options: Unpack[ServerOptions]) -> None:
        super().__init__(app, **options)
        # If all routers are FastAPI's, the last route that they note is the complete one.
        self._only_fastapi = RouterKind(app, APIRouter)

    @guarded
    def serves(self, app: Starlette | None) -> None:
        """Take over from the native telemetry of the application that this door belongs to, and switch it off."""
        super().serves(app)
        settings = getattr(app, "_telemetry", None)
        if isinstance(app, FastAPI) and isinstance(settings, dict) and settings is not self._settings:
            self._settings = settings
            self.take_over(
                tracer_provider=settings.get("tracer_provider"),
                meter_provider=settings.get("meter_provider"),
                excludes=None if settings.get("exclude") is None else self._excludes,
            )
            # FastAPI reads these at each request. With tracing off, FASTAPI_OTEL_AUTO_CONFIGURE adds no second
            # exporter to the tracer provider either.
            settings["tracing"] = settings["metrics"] = False

    def _excludes(self, scope: asgi.Scope) -> bool:
        """Tell whether the native telemetry's `exclude` leaves a request out. The notes on the request keep that."""
        if _NATIVE in scope:  # FastAPI has asked, for its log records, and has left None where it takes no notes
            return scope[_NATIVE] is None
        notes = scope[_NATIVE] = _Notes(self._settings or {}, scope)
        return not notes.is_open

    def observe(self, scope: asgi.Scope, exchange: ServerExchange) -> asgi.Scope:
        """Return the scope for the application, with notes into which FastAPI writes the route."""
        found = scope.get(_NATIVE)
        if isinstance(found, _RequestTelemetry):
            notes = found
            if found.span is not None:
                # The application was not found when this middleware was made, so this request has a native span. That
                # span names itself. The next request will have ours.
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

    def enter(self, scope: asgi.Scope, context: Context) -> None:
        """Put the notes on the request where FastAPI looks for them."""
        if (notes := scope.get(_NATIVE)) is not None:
            _put(context, _REQUEST_TELEMETRY_KEY, notes)

    def enter_within(self, scope: asgi.Scope, context: Context) -> Context:
        """Return the context in which FastAPI finds its notes on a request that another door traces."""
        notes = scope.get(_NATIVE)
        if notes is None or context.get(_REQUEST_TELEMETRY_KEY) is notes:
            return context
        return Context({**context, _REQUEST_TELEMETRY_KEY: notes})

    def leave(self, scope: asgi.Scope) -> None:
        """Close the notes and take them out of the scope: they lead back to the scope, and to exceptions."""
        notes = scope.pop(_NATIVE, None)
        if isinstance(notes, (_Notes, _RouteNotes)):
            notes.close()
        elif notes is not None:
            scope[_NATIVE] = notes  # FastAPI's own

    def escaped(self, scope: asgi.Scope, exchange: ServerExchange, error: BaseException) -> None:
        """Have FastAPI log the exception while the span is current, unless FastAPI has done so already."""
        super().escaped(scope, exchange, error)
        try:
            _exception(scope=scope, exc=error)
        except Exception as own:
            fault("fastapi.TraceMiddleware.escaped", own)


def _noted_route(notes: _RequestTelemetry, scope: asgi.Scope) -> str | None:
    if notes.route is None or not isinstance(notes, _Notes):  # FastAPI's own notes include the application's root
        return notes.route
    return application_root(scope) + notes.route


class _Notes(_RequestTelemetry):
    """What FastAPI keeps of a request whose span is ours. Parts that few requests need are made when FastAPI asks.

    Args:
        settings: The settings of the application's native telemetry. Their `exclude` may leave this request out.
        scope: The request's scope, for `exclude`.
    """

    span_method = ""
    _kept: TelemetryData | None
    _seen: list[BaseException] | None

    def __init__(self, settings: dict[str, Any], scope: asgi.Scope) -> None:
        # FastAPI reads these many times, and takes longer to find a default in the class.
        self.span = self.tracer = self.route = self._kept = self._seen = None
        self._mount_prefix = ""
        self.is_open = True
        self._settings = settings
        exclude = settings.get("exclude")
        if exclude is not None and call_hook("exclude", exclude, scope):
            self.close()

    def close(self) -> None:
        """Let go of all that belongs to the request. The request is over."""
        self.is_open = False
        self._kept = self._seen = None

    if not TYPE_CHECKING:  # for a type checker they stay plain attributes, as in the base class

        @property
        def data(self) -> TelemetryData | None:
            if self._kept is None and self.is_open:
                self._kept = TelemetryData()
            return self._kept

        @property
        def logger(self) -> _logs.Logger | None:
            if not self.is_open or not self._settings.get("logs", True):
                return None
            provider = self._settings.get("logger_provider")
            return _logs.get_logger("fastapi", fastapi.__version__, provider, schema_url=SCHEMA_URL)

        @property
        def _exceptions(self) -> list[BaseException]:
            if self._seen is None:
                self._seen = []
            return self._seen


class _RouteNotes(_RequestTelemetry):
    """Notes around the request's own. FastAPI's matching writes its routes here, and they go on to the trail."""

    span = None
    span_method = ""

    def __init__(self, trail: RouteTrail, notes: _RequestTelemetry) -> None:
        self._trail = trail
        self._notes = notes
        self._seen = ""

    def close(self) -> None:
        """Let go of all that belongs to the request. The request is over."""
        if isinstance(self._notes, _Notes):
            self._notes.close()

    if not TYPE_CHECKING:  # for a type checker these stay plain attributes, and `__setattr__` would allow any name

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
        """Take in a route as FastAPI gives it: it starts at the root of the outermost FastAPI application."""
        self._notes.route = self._notes._mount_prefix + route  # noqa: SLF001
        mount = self._mount_prefix[len(self._seen) :] if self._mount_prefix != self._seen else None
        self._trail.matched(route[len(self._seen) :], mount=mount)
        self._seen = self._mount_prefix


starlette.stand_outside(FastAPI)
