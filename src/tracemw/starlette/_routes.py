"""The complete route of a request, from Starlette's own matching.

When a request ends, its scope names only the innermost route, and `root_path` is the concrete path of the mounts above.
If the tree of routers can be read, a `RouteIndex` is made once, and knows the complete template of each route. If not,
a `RouteScope` notes the routes of a request as they are matched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

Scope = MutableMapping[str, Any]


def router_of(app: object) -> Router | None:
    """Follow a chain of middleware to its router. Return None when the chain cannot be followed."""
    seen: set[int] = set()
    while app is not None and not isinstance(app, (Router, Starlette)) and id(app) not in seen:
        seen.add(id(app))
        app = getattr(app, "app", None)
    if isinstance(app, Starlette):
        return app.router
    return app if isinstance(app, Router) else None


def application_of(app: object) -> Starlette | None:
    """Follow a chain of middleware to its application. Return None when the chain cannot be followed."""
    seen: set[int] = set()
    while app is not None and not isinstance(app, Starlette) and id(app) not in seen:
        seen.add(id(app))
        # FastAPI's routers know their application.
        owner = getattr(app, "dependency_overrides_provider", None)
        app = owner if owner is not None else getattr(app, "app", None)
    return app if isinstance(app, Starlette) else None


def application_root(scope: Scope) -> str:
    """Return the root path that the server gave the application, as a prefix of its routes."""
    root = scope.get("app_root_path", scope.get("root_path"))
    return root.rstrip("/") if isinstance(root, str) else ""


class RouteIndex:
    """The complete template of every route that an application has.

    With an index, requests keep the server's plain scope. That is faster: routers read the scope for every route that
    they try.
    """

    __slots__ = ("_complete", "_count", "_router", "_templates")

    def __init__(self, app: object) -> None:
        self._router = router_of(app)
        self._count = -1
        self._complete = False
        # By identity, since routes compare by value. The route is kept, so that no other object gets its identity.
        self._templates: dict[int, tuple[BaseRoute, str | None]] = {}

    def covers(self, scope: Scope) -> bool:
        """Tell whether the index has every route that a request can reach. No router may have seen the request yet."""
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

        The route ends with `{path}` where the application of a mount has no routes, or none of them matched.
        """
        route = scope.get("route")
        if route is None:
            return None
        if id(route) not in self._templates and self._router is not None:
            self._read(self._router)  # the route has been added since, to a mounted application
            self._complete = self._complete and id(route) in self._templates
        _, template = self._templates.get(id(route), (None, None))
        return None if template is None else application_root(scope) + template

    def _add(self, router: Router, prefix: str, above: str | None) -> bool:
        """Add the routes of `router`. Return whether all routes beneath could be read, each under one prefix only."""
        for route in router.routes:
            template = getattr(route, "path_format", None)
            if id(route) in self._templates:
                return False
            if isinstance(route, Host):
                template = above  # a Host has no path, and adds nothing
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
        """Tell whether all routers are of the kind, for a request that no router has seen yet."""
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
        included = getattr(route, "original_router", None)  # FastAPI's include_router() leaves such routes
        if included is not None:
            return self._all_beneath(included, seen)
        return isinstance(route, (Route, WebSocketRoute))


class RouteTrail:
    """The way of one request through nested routers, as templates."""

    __slots__ = ("_prefix", "_template")

    def __init__(self, root: str) -> None:
        self._prefix = root.rstrip("/")
        self._template: str | None = None

    def start_at(self, root: str) -> None:
        """Note the application's root path. An application may set it before its routers match."""
        if self._template is None:
            self._prefix = root.rstrip("/")

    def matched(self, template: str, *, mount: str | None = None) -> None:
        """Note that a router has matched `template`. `mount` is the part that leads into a mounted application."""
        self._template = self._prefix + template
        if mount is not None:
            self._prefix += mount

    def route(self) -> str | None:
        """Return the complete route, with mounts and the application's root; None when nothing matched.

        The route ends with `{path}` where the application of a mount has no routes.
        """
        return self._template


class RouteScope(dict[str, Any]):
    """A scope that notes each route that a router puts there.

    Every write goes to the original scope as well, since outer middleware may read it there.
    """

    __slots__ = ("_original", "beneath_handlers", "noted_elsewhere", "trail")

    def __init__(self, original: Scope) -> None:
        super().__init__(original)
        self._original = original
        # Beneath a mount, `root_path` is the mount's concrete path, and `app_root_path` the application's own.
        self.trail = RouteTrail(application_root(original))
        self.beneath_handlers: bool = "starlette.exception_handlers" in original
        """Whether the application's exception handlers are in an outer layer, as they are for a door within a mount."""
        self.noted_elsewhere: tuple[str, ...] = ()
        """Packages whose routes are incomplete in the scope. The trail gets them in another way."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "root_path" and isinstance(value, str):
            self.trail.start_at(value)
        self._write(key, value)

    def update(self, *others: Any, **more: Any) -> None:
        """Write what a router's match brings along."""
        for other in (*others, more):
            pairs: Iterable[tuple[str, Any]] = other.items() if isinstance(other, Mapping) else other
            # A match brings along the concrete root path of a mount. That is not the application's root.
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
        if isinstance(template, str):  # a Host has no path, and adds nothing
            self.trail.matched(template, mount=template.removesuffix("/{path}") if isinstance(route, Mount) else None)
