"""Whether `skip=` leaves any request of an application to be traced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tracemw._http.exchange import ServerExchange
from tracemw._http.facts import RequestFacts
from tracemw._http.request import ServerRequest
from tracemw._http.skip import DEFAULT_PATHS


class _Asked(ServerRequest):
    """A GET request for another path, as the door would see it."""

    def __init__(self, request: ServerRequest, path: str) -> None:
        self.path, self.mounts, self.method = path, (), "GET"
        self._facts = request.facts()._replace(path=path, method="GET")

    def facts(self) -> RequestFacts:
        return self._facts


def skips_all(exchange: ServerExchange, application: Any, path: str) -> list[str]:
    """Return the paths that are skipped, if those are all that an application serves; an empty list otherwise.

    Args:
        exchange: What the door holds of a request.
        application: The application, whose routes are asked for.
        path: What to ask for where the application shows no routes.
    """
    served = sorted({route for route in routes_of(application) if route not in DEFAULT_PATHS}) or [path]
    skips = exchange.settings.skips
    return served if all(skips(_Asked(exchange.request, route)) for route in served) else []


def routes_of(application: Any) -> Iterator[str]:
    """Give the paths that an application shows to serve, as templates."""
    rules = getattr(getattr(application, "url_map", None), "iter_rules", None)  # Flask and Quart
    if rules is not None:
        yield from (rule.rule for rule in rules() if rule.endpoint != "static")
        return
    pending = [("", each) for each in _routes(application)]
    while pending:
        prefix, route = pending.pop()
        path = getattr(route, "path", None)
        if not isinstance(path, str):
            continue
        if inner := _routes(route):
            pending += [(prefix + path, each) for each in inner]
        elif getattr(route, "name", None) not in _OF_FASTAPI:
            yield prefix + path or "/"


_OF_FASTAPI = frozenset({"openapi", "swagger_ui_html", "swagger_ui_redirect", "redoc_html"})


def _routes(thing: Any) -> list[Any]:
    routes = getattr(thing, "routes", None)
    return list(routes) if isinstance(routes, (list, tuple)) else []
