"""How Starlette's own matching tells the complete route of a request.

At the end of a request the scope names the innermost route only, and `root_path` holds the concrete path of the mounts
above it. Where the tree of routers can be read, a `RouteIndex` made once knows the templates above each route; where
it cannot, a `RouteScope` notes the routes of a request as they are matched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

Scope = MutableMapping[str, Any]


def router_of(app: object) -> Router | None:
    """Follow a chain of middleware to the router that it leads to; None when it cannot be followed."""
    seen: set[int] = set()
    while app is not None and not isinstance(app, (Router, Starlette)) and id(app) not in seen:
        seen.add(id(app))
        app = getattr(app, "app", None)
    if isinstance(app, Starlette):
        return app.router
    return app if isinstance(app, Router) else None


def application_of(app: object) -> Starlette | None:
    """Follow a chain of middleware to the application that it belongs to; None when it cannot be followed."""
    seen: set[int] = set()
    while app is not None and not isinstance(app, Starlette) and id(app) not in seen:
        seen.add(id(app))
        # FastAPI's routers know their application.
        owner = getattr(app, "dependency_overrides_provider", None)
        app = owner if owner is not None else getattr(app, "app", None)
    return app if isinstance(app, Starlette) else None


def application_root(scope: Scope) -> str:
    """Return the root path at which a server has put the application, as a prefix of its routes."""
    root = scope.get("app_root_path", scope.get("root_path"))
    return root.rstrip("/") if isinstance(root, str) else ""


class RouteIndex:
    """The complete template of every route that an application has.

    Routers read the scope for every route that they try, so with an index requests keep the server's plain one.
    """

    __slots__ = ("_complete", "_count", "_router", "_templates")

    def __init__(self, app: object) -> None:
        self._router = router_of(app)
        self._count = -1
        self._complete = False
        # By identity, since routes compare by value; the route is kept so that its identity stays its own.
        self._templates: dict[int, tuple[BaseRoute, str | None]] = {}

    def covers(self, scope: Scope) -> bool:
        """Tell whether the index has every route that a request can reach which no router has seen yet."""
        if self._router is None or "router" in scope:
            return False
        if len(self._router.routes) != self._count:
            self._read(self._router)
        return self._complete

    def _read(self, router: Router) -> None:
        self._count = len(router.routes)
        self._templates = {}
        self._complete = self._add(router, "", None)

    def route(self, scope: Scope) -> str | None:
        """Return the complete route of a request that has been served; None when nothing matched.

        A mount whose application has no routes of its own, or none that matched, ends the route with `{path}`.
        """
        route = scope.get("route")
        if route is None:
            return None
        if id(route) not in self._templates and self._router is not None:
            self._read(self._router)  # it has been added since, to a mounted application
            self._complete = self._complete and id(route) in self._templates
        _, template = self._templates.get(id(route), (None, None))
        return None if template is None else application_root(scope) + template

    def _add(self, router: Router, prefix: str, above: str | None) -> bool:
        """Add the routes of `router`; tell whether all that it leads to could be read, each in one way only."""
        for route in router.routes:
            template = getattr(route, "path_format", None)
            if id(route) in self._templates:
                return False
            if isinstance(route, Host):
                template = above  # it has no path: it adds nothing
            elif not isinstance(template, str):
                return False
            else:
                template = prefix + template
            self._templates[id(route)] = (route, template)
            if isinstance(route, (Mount, Host)):
                if not self._add_app(route.app, (template or "").removesuffix("/{path}"), template):
                    return False
            elif not isinstance(route, (Route, WebSocketRoute)):
                return False
        return True

    def _add_app(self, app: object, prefix: str, above: str | None) -> bool:
        router = router_of(app)
        return self._add(router, prefix, above) if router is not None else isinstance(app, StaticFiles)


class RouterKind:
    """Whether all routers of an application are of one kind."""

    __slots__ = ("_count", "_holds", "_kind", "_router")

    def __init__(self, app: object, kind: type[Router]) -> None:
        self._router = router_of(app)
        self._kind = kind
        self._count = -1
        self._holds = False

    def holds_for(self, scope: Scope) -> bool:
        """Tell whether that is so, for a request that no router has seen yet."""
        if self._router is None or "router" in scope:
            return False
        if len(self._router.routes) != self._count:
            self._count = len(self._router.routes)
            self._holds = self._all_beneath(self._router, {})
        return self._holds

    def _all_beneath(self, router: Router | None, seen: dict[int, Router]) -> bool:
        if not isinstance(router, self._kind):
            return False
        if id(router) in seen:  # an application may be mounted within itself
            return True
        seen[id(router)] = router
        return all(self._leads_to_no_other(route, seen) for route in router.routes)

    def _leads_to_no_other(self, route: BaseRoute, seen: dict[int, Router]) -> bool:
        if isinstance(route, Mount):
            return isinstance(route.app, StaticFiles) or self._all_beneath(router_of(route.app), seen)
        included = getattr(route, "original_router", None)  # what FastAPI's include_router() leaves among the routes
        if included is not None:
            return self._all_beneath(included, seen)
        return isinstance(route, (Route, WebSocketRoute))


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

    def __init__(self, original: Scope) -> None:
        super().__init__(original)
        self._original = original
        # Beneath a mount, the root path is the mount's concrete path; the application's own is kept beside it.
        self.trail = RouteTrail(application_root(original))
        self.beneath_handlers: bool = "starlette.exception_handlers" in original
        """Whether the application's exception handlers stand outside, as they do for a door within a mount."""
        self.noted_elsewhere: tuple[str, ...] = ()
        """Packages whose routes are incomplete here, and which the trail gets in another way."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "root_path" and isinstance(value, str):
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
