"""Which clients hand no trace on: neither a door nor an official instrumentation traces them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from tracemw.checking.problems import CodePlace, Problem
from tracemw.checking.reachable import Client, fields_of
from tracemw.checking.where_made import place_of_name, shown_path
from tracemw.lint.doors import CLIENT_DOORS, INSTRUMENTORS, instrumentation_remedy
from tracemw.lint.lint_settings import LintSettings
from tracemw.lint.linting import NoFilesError, lint

_TRACING: Final = ("tracemw.", "opentelemetry.instrumentation.")
_DEPTH: Final = 4
"""How deep a traced transport may be within others, such as one that tries again."""
_MARK: Final = "_is_instrumented_by_opentelemetry"
_CLIENTS_CODE: Final = "TMW302"


def is_traced(client: Client) -> bool:
    """Tell whether all that a client sends is traced."""
    if _is_instrumented(client.library) or getattr(client.thing, _MARK, False):
        return True
    parts = _parts(client)
    return bool(parts) and all(_traces(part, _DEPTH) for part in parts)


def problems_of(clients: Iterable[Client], modules: Mapping[str, ModuleType], file: str) -> Iterator[Problem]:
    """Give the clients that hand no trace on, and the calls by none: for these, the linter's rule holds.

    Args:
        clients: The clients.
        modules: The application's own modules, by their files.
        file: The file of the application: its project has the linter's settings.
    """
    places: list[CodePlace] = []
    for client in clients:
        place = place_of_name(client.file, client.name, modules)
        places.append(place)
        if not is_traced(client):
            door = CLIENT_DOORS.get(client.library)
            variable = (
                client.name.removeprefix(f"{modules[client.file].__name__}.") if client.file in modules else "client"
            )
            line = f"add: {door}({variable})" if door else instrumentation_remedy(client.library)
            effect = "its statements are in no trace" if client.library == "sqlalchemy" else "it hands no trace on"
            yield Problem(
                code="client",
                sentence=f"the {client.kind} {client.name} is not traced: {effect}",
                remedy=line,
                place=place,
            )
    try:
        found = lint(map(Path, modules), LintSettings.read(Path(file)))
    except NoFilesError:
        return
    for each in found:
        path = shown_path(each.path)
        if each.code == _CLIENTS_CODE and not any(place.covers(path, each.line) for place in places):
            yield Problem(
                code=each.code, sentence=each.sentence, remedy=each.remedy, place=CodePlace(path=path, line=each.line)
            )


def _parts(client: Client) -> list[Any]:
    """Return what a client sends through; all of it has to be traced."""
    thing = client.thing
    match client.library:
        case "httpx" | "httpx2":
            fields = dict(fields_of(thing))
            mounts = [each for each in (fields.get("_mounts") or {}).values() if each is not None]
            return [fields.get("_transport"), *mounts]
        case "requests":
            return list(thing.adapters.values())
        case "sqlalchemy":
            engine = getattr(thing, "sync_engine", thing)
            listeners = (*engine.dispatch.before_cursor_execute, *engine.dialect.dispatch.handle_error)
            return [each for each in (getattr(each, "__self__", each) for each in listeners) if _is_by_tracing(each)]
        case "aiohttp":
            configured = dict(fields_of(thing)).get("_trace_configs") or []
            started = [each for config in configured for each in config.on_request_start]
            return [each for each in started if _is_by_tracing(each)]
        case _:
            return [thing]


def _traces(thing: Any, depth: int) -> bool:
    if _is_by_tracing(thing) or getattr(thing, _MARK, False):
        return True
    return depth > 0 and any(
        _traces(value, depth - 1) for _, value in fields_of(thing) if getattr(value, "__dict__", None) is not None
    )


def _is_by_tracing(thing: Any) -> bool:
    modules = [getattr(thing, "__module__", None), *(kind.__module__ for kind in type(thing).__mro__)]
    return any(isinstance(module, str) and module.startswith(_TRACING) for module in modules)


def _is_instrumented(library: str) -> bool:
    """Tell whether an official instrumentation traces all clients of a library, also those made before."""
    module = sys.modules.get(f"opentelemetry.instrumentation.{library}")
    instrumentor: Any = getattr(module, INSTRUMENTORS.get(library, ""), None)
    return instrumentor is not None and bool(instrumentor().is_instrumented_by_opentelemetry)
