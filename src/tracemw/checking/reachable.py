"""The clients that an application's modules have: in variables, attributes, containers, closures and defaults."""

from __future__ import annotations

import functools
import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from tracemw._otel.application import is_application
from tracemw.checking.layers import full_names

CLIENTS: Final = {
    "httpx.Client": "httpx",
    "httpx.AsyncClient": "httpx",
    "httpx2.Client": "httpx2",
    "httpx2.AsyncClient": "httpx2",
    "requests.sessions.Session": "requests",
    "urllib3.poolmanager.PoolManager": "urllib3",
    "aiohttp.client.ClientSession": "aiohttp",
    "sqlalchemy.engine.base.Engine": "sqlalchemy",
    "sqlalchemy.ext.asyncio.engine.AsyncEngine": "sqlalchemy",
    "grpc.Channel": "grpc",
    "grpc.aio._base_channel.Channel": "grpc",
}
"""The classes of clients, and their libraries."""

_FRAMEWORKS: Final = frozenset({"falcon", "fastapi", "flask", "litestar", "quart", "starlette", "werkzeug", "socketio"})
"""Packages whose objects lead to the application's own."""
_NOT_LOOKED_INTO: Final = frozenset({"opentelemetry", "logfire", "sentry_sdk", "tracemw", "ddtrace"})
"""Packages that send telemetry: their clients are to hand no trace on."""
_ATOMS: Final = (str, bytes, bytearray, int, float, complex, bool, type(None), types.ModuleType)
_MOST: Final = 200_000
"""Objects that are looked at."""
_MOST_OF_ONE: Final = 2_000
"""Elements of a container that are looked at."""


class Client(NamedTuple):
    """A client, and how the application reaches it."""

    thing: Any
    name: str
    """Such as `shop.main.app.state.client`."""
    file: str
    """The module that leads to it."""

    @property
    def kind(self) -> str:
        """The full name of its class, as the library has it."""
        return next(name for name in full_names(self.thing) if name in CLIENTS)

    @property
    def library(self) -> str:
        """The library that it is of."""
        return CLIENTS[self.kind]


def clients_of(modules: Mapping[str, types.ModuleType], application: Any, name: str, file: str) -> list[Client]:
    """Return the clients that some modules, and an application, lead to.

    Args:
        modules: The application's own modules, by their files.
        application: The application.
        name: What it is called.
        file: The file that it is made in.
    """
    found: dict[int, Client] = {}
    seen: dict[int, Any] = {}  # whatever is looked at is held, so that no other object gets its address
    pending: deque[tuple[Any, str, str, bool]] = deque()
    for path, module in modules.items():
        pending += [(value, f"{module.__name__}.{key}", path, False) for key, value in vars(module).copy().items()]
    pending.append((application, name, file, False))
    while pending and len(seen) < _MOST:
        thing, known_as, path, is_foreign = pending.popleft()
        if issubclass(type(thing), _ATOMS) or id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if not CLIENTS.keys().isdisjoint(full_names(thing)):
            found[id(thing)] = Client(thing, known_as, path)
            continue
        with suppress(Exception):  # an object may answer with whatever it likes, as the proxies of werkzeug do
            pending += ((value, inner, path, foreign) for value, inner, foreign in _inside(thing, known_as, is_foreign))
    return list(found.values())


def _inside(thing: Any, name: str, is_foreign: bool) -> Iterator[tuple[Any, str, bool]]:
    kind = type(thing)
    if kind in (dict, types.MappingProxyType) or issubclass(kind, dict):
        for key, value in list(dict(thing).items())[:_MOST_OF_ONE]:
            yield value, _element(name, key), is_foreign
    elif issubclass(kind, (list, tuple, set, frozenset, deque)):
        for number, value in enumerate(list(thing)[:_MOST_OF_ONE]):
            yield value, f"{name}[{number}]", is_foreign
    elif kind is functools.partial:
        yield from ((each, name, is_foreign) for each in (thing.func, thing.args, thing.keywords))
    elif kind is types.MethodType:
        yield from ((each, name, is_foreign) for each in (thing.__self__, thing.__func__))
    elif kind is types.FunctionType:
        if is_application(thing.__code__.co_filename):
            yield from _of_function(thing)
        elif hasattr(thing, "__wrapped__"):
            yield thing.__wrapped__, name, is_foreign
    elif issubclass(kind, type):
        if _is_own(thing):
            yield from (
                (value, f"{thing.__module__}.{thing.__qualname__}.{key}", False) for key, value in vars(thing).items()
            )
    elif not is_foreign and kind.__module__.partition(".")[0] not in _NOT_LOOKED_INTO:
        leads_on = _is_own(kind) or kind.__module__.partition(".")[0] in _FRAMEWORKS
        yield from ((value, f"{name}.{key}", not leads_on) for key, value in fields_of(thing))


def _element(name: str, key: object) -> str:
    """Return the name of an element; of one in a private field, as the application reads it: `app.state.client`."""
    holder, _, field = name.rpartition(".")
    if isinstance(key, str) and key.isidentifier() and field.startswith("_"):
        return f"{holder}.{key}"
    return f"{name}[{key!r}]" if isinstance(key, (str, int)) else name


def _of_function(function: types.FunctionType) -> Iterator[tuple[Any, str, bool]]:
    name = f"{function.__module__}.{function.__qualname__}"
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield cell.cell_contents, f"{name.rpartition('.<locals>')[0] or name}.{variable}", False
        except ValueError:  # empty as yet
            continue
    yield function.__defaults__, name, False
    yield function.__kwdefaults__, name, False
    yield getattr(function, "__wrapped__", None), name, False


def fields_of(thing: Any) -> Iterable[tuple[str, Any]]:
    """Give the fields of an object, also those in slots. No property is asked."""
    yield from list(getattr(thing, "__dict__", {}).items())
    for kind in type(thing).__mro__:
        for name, member in list(vars(kind).items()):
            if isinstance(member, types.MemberDescriptorType):
                try:
                    yield name, member.__get__(thing, kind)
                except AttributeError:  # not set
                    continue


def _is_own(kind: type) -> bool:
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return isinstance(file, str) and is_application(file)
