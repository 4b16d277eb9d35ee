"""What a request has passed on its way, from the frames on the stack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import FrameType, MethodType
from typing import Any, Final, NamedTuple

from tracemw._otel.application import is_application, is_installed, is_own
from tracemw.lint.doors import MADE_BY, Framework

_DOORS: Final = frozenset({"tracemw.asgi.TraceMiddleware", "tracemw.wsgi.TraceMiddleware"})
"""The classes that all server doors are derived from."""
_TRANSPARENT: Final = frozenset(
    {
        *("a2wsgi", "anyio", "asgiref", "hypercorn", "uvicorn"),
        *("ddtrace", "elasticapm", "logfire", "newrelic", "opentelemetry", "sentry_sdk", "wrapt"),
    }
)
"""Packages that hand every request on, and its exceptions, too: servers and adapters, and other monitoring."""
_BELONG_OUTSIDE: Final = frozenset({"NativeTelemetry", "ProxyFix", "ProxyFixMiddleware", "ProxyHeadersMiddleware"})
"""FastAPI's own telemetry, and layers that only put right who the client is."""


_MOST_MOUNTS: Final = 20


class Layer(NamedTuple):
    """Something that handles requests, and has another application within."""

    owner: Any
    """The object whose method is running; None for a function."""
    name: str
    path: str
    line: int

    @property
    def is_transparent(self) -> bool:
        """Whether nothing is lost where the layer stands outside of a door."""
        return (
            self.name in _BELONG_OUTSIDE
            or self.package in _TRANSPARENT
            or framework_of(self.owner) is not None
            or dispatches(self.owner)
        )

    @property
    def package(self) -> str:
        """The top package of its code."""
        return (type(self.owner).__module__ if self.owner is not None else self.name).partition(".")[0]


def full_names(thing: object) -> Iterator[str]:
    """Give the full names of an object's class, and of the classes that it is derived from."""
    return _names_of(type(thing))


def _names_of(kind: type) -> Iterator[str]:
    return (f"{each.__module__}.{each.__qualname__}" for each in kind.__mro__)


def is_door(thing: object) -> bool:
    """Tell whether an object is a door for requests."""
    return not _DOORS.isdisjoint(full_names(thing))


def is_general_door(thing: object) -> bool:
    """Tell whether a door is for any application, so that it knows no routes."""
    return next(name for name in full_names(thing) if name.startswith("tracemw.")) in _DOORS


def has_door(thing: object) -> bool:
    """Tell whether an object is a door, or will have one: Starlette builds its middleware at the first request."""
    added = (getattr(each, "cls", None) for each in getattr(thing, "user_middleware", ()))
    return is_door(thing) or any(isinstance(kind, type) and not _DOORS.isdisjoint(_names_of(kind)) for kind in added)


def framework_of(thing: object) -> Framework | None:
    """Return the framework that an application is of; None for anything else."""
    return next((MADE_BY[name] for name in full_names(thing) if name in MADE_BY), None)


def dispatches(thing: object) -> bool:
    """Tell whether an object only hands requests to one of several applications, as that of werkzeug does."""
    return isinstance(getattr(thing, "mounts", None), dict)


def stack_from(frame: FrameType | None) -> Iterator[FrameType]:
    """Give a frame and those that have called it, the innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def layers_in(frames: Iterable[FrameType]) -> list[Layer]:
    """Return what the frames are of, in their order: doors, applications, middleware and functions. Each comes once."""
    found: list[Layer] = []
    seen: set[Any] = set()
    for frame in frames:
        code, owner = frame.f_code, frame.f_locals.get("self")
        if is_own(code.co_filename):
            if not is_door(owner):
                continue
        elif not (is_application(code.co_filename) or is_installed(code.co_filename)):
            continue
        key = id(owner) if owner is not None else code
        if key not in seen:
            seen.add(key)
            name = type(owner).__qualname__ if owner is not None else _function(frame)
            found.append(Layer(owner, name, code.co_filename, code.co_firstlineno))
    return found


def _function(frame: FrameType) -> str:
    module = frame.f_globals.get("__name__", "")
    return f"{module}.{frame.f_code.co_qualname.partition('.<locals>')[0]}"


def within(application: Any) -> Iterator[Any]:
    """Give an application, and those within it by the names that middleware keeps them by."""
    seen: set[int] = set()
    pending = [application]
    while pending and len(seen) < 100:
        each = pending.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        for name in (
            "app",
            "wsgi_app",
            "asgi_app",
            "application",
            "other_asgi_app",
            "asgi_handler",
            "middleware_stack",
        ):
            inner = getattr(each, name, None)
            if callable(inner) and not isinstance(inner, MethodType):
                pending.append(inner)


def mounts_of(application: Any) -> list[str]:
    """Return the paths beneath which an application has others mounted, as Starlette and werkzeug do it."""
    found: dict[str, None] = {}
    for each in within(application):
        routes = getattr(each, "routes", None)
        if dispatches(each):
            found.update(dict.fromkeys(map(str, each.mounts)))
        if isinstance(routes, list):
            found.update(
                dict.fromkeys(
                    route.path
                    for route in routes
                    if callable(getattr(route, "app", None)) and not hasattr(route, "endpoint")
                )
            )
    return [path for path in found if path.startswith("/") and "{" not in path][:_MOST_MOUNTS]
