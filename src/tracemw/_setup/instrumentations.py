"""The official instrumentations that `init(instrument=...)` turns on, found by their entry points.

tracemw wraps no driver itself. With `"auto"`, what it has a door for is left to the door: two would trace a call twice.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Collection, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from tracemw._process.log import log

AUTO: Final = "auto"
"""All that is installed."""

_GROUP: Final = "opentelemetry_instrumentor"
WITH_DOOR: Final = frozenset(
    {
        *("asgi", "falcon", "fastapi", "flask", "litestar", "starlette", "wsgi"),
        *("httpx", "httpx2", "requests", "urllib3", "sqlalchemy"),
    }
)
"""The libraries that tracemw has a door for, by the names of their instrumentations."""
_CHECK: Final = "opentelemetry.instrumentation.dependencies"
"""The module that knows what an instrumentation needs. It comes with every instrumentation, and is no dependency."""


def find(wanted: Iterable[str], not_by_auto: Collection[str] = ()) -> list[EntryPoint]:
    """Return the instrumentations with these names; for `auto`, all that can be turned on.

    Args:
        wanted: The names.
        not_by_auto: The names of those that `auto` leaves out; `*` is all of them.

    Raises:
        ValueError: for one that is not installed, or whose library is not; the error names the package to install.
    """
    installed = {each.name: each for each in entry_points(group=_GROUP)}
    found: dict[str, EntryPoint] = {}
    for name in wanted:
        if name == AUTO:
            if "*" not in not_by_auto:
                left = [each for each in installed.values() if each.name not in not_by_auto]
                found |= {each.name: each for each in left if _is_for_auto(each)}
            continue
        if name not in installed:
            raise ValueError(
                f"instrument={name!r}: no instrumentation of that name is installed; "
                f"pip install opentelemetry-instrumentation-{name.replace('_', '-')}{_instead(name)}"
            )
        conflict = _conflict(installed[name])
        if conflict is not None:
            raise ValueError(f"instrument={name!r}: {_said(conflict)}{_instead(name)}")
        found[name] = installed[name]
    return list(found.values())


def turn_on(instrumentations: Iterable[EntryPoint]) -> None:
    """Turn instrumentations on that are not on yet. One that fails is logged, and the others go on."""
    for each in instrumentations:
        try:
            instrumentor: Any = each.load()()
            if not getattr(instrumentor, "is_instrumented_by_opentelemetry", False):
                instrumentor.instrument(skip_dep_check=True)
        except Exception as error:
            log(logging.ERROR, "the instrumentation %r cannot be turned on", each.name, error=error)


def _is_for_auto(instrumentation: EntryPoint) -> bool:
    return instrumentation.name not in WITH_DOOR and _conflict(instrumentation) is None


def _conflict(instrumentation: EntryPoint) -> Any:
    """Return what keeps an instrumentation from working: a library that is missing, or of another version."""
    return importlib.import_module(_CHECK).get_dist_dependency_conflicts(instrumentation.dist)


def _said(conflict: Any) -> str:
    required = conflict.required or " or ".join(map(str, getattr(conflict, "required_any", None) or ()))
    needed = str(required).split(";")[0].strip()
    found = conflict.found or ", ".join(map(str, getattr(conflict, "found_any", None) or ()))
    return f"its instrumentation takes {needed}, and {f'there is {found}' if found else 'that is not installed'}"


def _instead(name: str) -> str:
    return "; or use tracemw.sqlalchemy.trace_engine(engine), which needs none" if name == "sqlalchemy" else ""
