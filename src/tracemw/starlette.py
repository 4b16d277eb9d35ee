"""The door for Starlette: `app.add_middleware(TraceMiddleware)`, or `app = TraceMiddleware(app)` from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Mount, Route, Router, WebSocketRoute
except ImportError as error:
    raise ImportError("tracemw.starlette needs Starlette: pip install 'tracemw[starlette]'") from error

from tracemw import asgi
from tracemw._http.exchange import ServerExchange, ServerOptions


class TraceMiddleware(asgi.TraceMiddleware):
    """Trace the requests to a Starlette application, named by route.

    Args:
        app: The application to wrap.
        **options: See `tracemw._http.exchange.ServerTracing`.

    Raises:
        TypeError: for an unknown option, or an application that is none.
        ValueError: for an option with a value that cannot work.
    """

    def __init__(self, app: asgi.ASGIApp, **options: Unpack[ServerOptions]) -> None:
        super().__init__(app, **options)
        self._routes = _FlatRoutes(app)

    def observe(self, scope: asgi.Scope, exchange: ServerExchange) -> asgi.Scope:
        """Return a scope that notes the routes which Starlette's own matching puts into it."""
        if isinstance(scope, RouteScope) or exchange.route_source is not None:
            return scope
        if self._routes.suffice_for(scope):
            before = scope.get("route")
            exchange.route_source = lambda: _flat_route(scope, before)
            return scope
        observed = RouteScope(scope)
        exchange.route_source = observed.trail.route
        return observed

    def escaped(self, scope: asgi.Scope, exchange: ServerExchange, error: BaseException) -> None:
        """Note an exception that goes on to a layer of Starlette outside of this one, which will answer it."""
        if exchange.status is None and isinstance(error, Exception) and scope["type"] == "http" and "app" in scope:
            if not getattr(scope, "beneath_handlers", False):
                exchange.response(500)  # the outermost layer; a handler of its own may choose another status
            elif isinstance(error, HTTPException):
                exchange.response(error.status_code)
                return
        exchange.failure(error)


class _FlatRoutes:
    """Whether all routes of an application are its own, with no mount among them.

    Then the one route that is in the scope at the end is the whole route, and requests do not pay for a scope that
    notes each: routers read the scope for every route that they try.
    """

    __slots__ = ("_count", "_flat", "_router")

    def __init__(self, app: object) -> None:
        while app is not None and not isinstance(app, (Router, Starlette)):
            app = getattr(app, "app", None)
        self._router: Router | None = app.router if isinstance(app, Starlette) else app
        self._count = -1
        self._flat = False

    def suffice_for(self, scope: asgi.Scope) -> bool:
        """Tell whether that is so, for a request that no router has seen yet."""
        if self._router is None or "router" in scope:
            return False
        routes = self._router.routes
        if len(routes) != self._count:
            self._count = len(routes)
            self._flat = all(isinstance(route, (Route, WebSocketRoute)) for route in routes)
        return self._flat


def _flat_route(scope: asgi.Scope, before: object) -> str | None:
    route = scope.get("route")
    template = getattr(route, "path_format", None)
    if route is before or not isinstance(template, str):
        return None
    # A mount that has taken a route's place since would have left its concrete path in the root path.
    root = "" if "app_root_path" in scope else scope.get("root_path", "").rstrip("/")
    return root + template


class RouteTrail:
    """The way that one request has taken through nested routers, as templates.

    Neither `scope["route"]` nor `root_path` gives the complete route at the end: the one is the innermost route, the
    other holds the concrete path of a mount with parameters.
    """

    __slots__ = ("_prefix", "_template")

    def __init__(self, root: str) -> None:
        self._prefix = root.rstrip("/")
        self._template: str | None = None

    def start_at(self, root: str) -> None:
        """Note the application's root path, which an application may set before its routers match."""
        if self._template is None:
            self._prefix = root.rstrip("/")

    def matched(self, template: str, *, mount: str | None = None) -> None:
        """Note that a router has matched `template`; `mount` is the part that leads into a mounted application."""
        self._template = self._prefix + template
        if mount is not None:
            self._prefix += mount

    def route(self) -> str | None:
        """Return the complete route, mounts and the application's root included; None when nothing matched.

        A mount whose application has no routes of its own ends the route with `{path}`.
        """
        return self._template


class RouteScope(dict[str, Any]):
    """A scope that notes each route that a router puts into it.

    What is written goes to the original scope as well, since middleware outside may read it there.
    """

    __slots__ = ("_original", "beneath_handlers", "noted_elsewhere", "trail")

    def __init__(self, original: asgi.Scope) -> None:
        super().__init__(original)
        self._original = original
        # Beneath a mount, the root path is the mount's concrete path; the application's own is kept beside it.
        self.trail = RouteTrail(original.get("app_root_path", original.get("root_path", "")))
        self.beneath_handlers: bool = "starlette.exception_handlers" in original
        """Whether the application's exception handlers stand outside, as they do for a door within a mount."""
        self.noted_elsewhere: tuple[str, ...] = ()
        """Packages whose routes are incomplete here, and which the trail gets in another way."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "root_path":
            self.trail.start_at(value)
        self._write(key, value)

    def update(self, *others: Any, **more: Any) -> None:
        """Take in what a router's match brings along."""
        for other in (*others, more):
            pairs: Iterable[tuple[str, Any]] = other.items() if isinstance(other, Mapping) else other
            # What a match brings along includes the concrete root path of a mount: no application's root.
            for key, value in pairs:
                self._write(key, value)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, written first if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._original.pop(key, None)

    def pop(self, key: str, *default: Any) -> Any:
        """Take `key` out of this scope and the original one, and return its value."""
        self._original.pop(key, None)
        return super().pop(key, *default)

    def _write(self, key: str, value: Any) -> None:
        if key == "route" and not type(value).__module__.startswith(self.noted_elsewhere):
            self._matched(value)
        super().__setitem__(key, value)
        self._original[key] = value

    def _matched(self, route: object) -> None:
        template = getattr(route, "path_format", None)
        if isinstance(template, str):  # a Host has no path: it adds nothing
            self.trail.matched(template, mount=template.removesuffix("/{path}") if isinstance(route, Mount) else None)
