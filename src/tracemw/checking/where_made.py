"""The file and line where something is made."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from tracemw._otel.application import is_application
from tracemw.checking.problems import CodePlace, Problem
from tracemw.lint.doors import MADE_BY, Framework
from tracemw.lint.lint_settings import is_ignored
from tracemw.lint.source import SourceModule

_HERE: Final = Path.cwd()
"""Where the check has begun. The import of the application may go elsewhere."""


def application_modules() -> dict[str, ModuleType]:
    """Return the modules of the application's own that are loaded, by their files."""
    found: dict[str, ModuleType] = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py") and is_application(file):
            found[file] = module
    return found


def place_of_application(
    application: Any, framework: Framework, modules: dict[str, ModuleType], *, served: str
) -> tuple[CodePlace, str] | None:
    """Return where an application of a framework is made, and its name there; None if no module shows that.

    Args:
        application: The application.
        framework: The framework.
        modules: The application's own modules, by their files.
        served: The variable that servers are told. It may have had the application before it was wrapped.
    """
    made = [
        (file, name, _place(file, call))
        for file in modules
        if (source := _source(file)) is not None
        for call in source.calls
        if MADE_BY.get(source.name(call.func)) is framework
        for name in [_name_of(source, call)]
    ]
    holding = {
        file: names
        for file, module in modules.items()
        if (names := [name for name, each in vars(module).items() if each is application])
    }
    named = [each for each in made if each[1] in holding.get(each[0], ())]
    if not named:
        among_those = [each for each in made if each[0] in holding] or made
        before_wrapping = [each for each in made if each[1] == served]
        named = next((found for found in (among_those, before_wrapping) if len(found) == 1), [])
    if named:
        _, name, place = max(named, key=lambda each: each[2].line or 0)
        return place, name
    for file, (name, *_) in holding.items():
        if (place := place_of_name(file, name)).line is not None:
            return place, name
    return None


def place_of_name(file: str, name: str, among: Iterable[str] = ()) -> CodePlace:
    """Return where a file, or else one of the others, gives something its name; the file alone if none does.

    Args:
        file: The file that knows the name.
        name: Dotted, such as `shop.main.app.state.client`.
        among: Other files. They have to name the holder, too: `state.client`.
    """
    known_as = name.partition("[")[0].split(".")
    for each in (file, *among):
        parts = known_as[-1:] if each == file else known_as[-2:]
        source = _source(each)
        found = [pair for pair in source.assigned if _ends_with(pair[0], parts)] if source is not None else []
        if found:  # `client = None` may come first
            target, value = min(found, key=lambda pair: (isinstance(pair[1], ast.Constant), pair[0].lineno))
            return _place(each, target, value)
    source = _source(file)
    for node in source.tree.body if source is not None else ():
        if isinstance(node, ast.ImportFrom) and known_as[-1] in {alias.asname or alias.name for alias in node.names}:
            return _place(file, node)
    return CodePlace(path=shown_path(file))


def _ends_with(target: ast.expr, parts: list[str]) -> bool:
    if isinstance(target, ast.Tuple | ast.List):
        return any(_ends_with(each, parts) for each in target.elts)
    if not isinstance(target, ast.Attribute | ast.Name):
        return False
    return ast.unparse(target).split(".")[-len(parts) :] == parts


def place_of_code(path: str, line: int) -> CodePlace:
    """Return the place of a line."""
    return CodePlace(path=shown_path(path), line=line)


def is_told(problem: Problem) -> bool:
    """Tell whether no comment at the problem's place says that its code is not told there."""
    place = problem.place
    if place is None or place.line is None:
        return True
    try:
        lines = (_HERE / place.path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    statement = lines[place.line - 1 : place.last or place.line]
    return not any(is_ignored(line, problem.code) for line in statement)


def shown_path(path: str | Path) -> str:
    """Return a path as it is shown: relative to the working directory where it is within."""
    full = Path(path).resolve()
    return full.relative_to(_HERE).as_posix() if full.is_relative_to(_HERE) else full.as_posix()


def _place(file: str, node: ast.expr | ast.stmt, until: ast.expr | None = None) -> CodePlace:
    return CodePlace(path=shown_path(file), line=node.lineno, last=(until or node).end_lineno)


def _name_of(source: SourceModule, call: ast.Call) -> str:
    """Return the variable that a call's result becomes; `app` where it becomes none."""
    for outer in source.around(call):
        if isinstance(outer, ast.Assign):
            target = outer.targets[0]
            if isinstance(target, ast.Tuple) and isinstance(outer.value, ast.Tuple) and call in outer.value.elts:
                target = target.elts[outer.value.elts.index(call)]
            return ast.unparse(target)
        if isinstance(outer, ast.AnnAssign):
            return ast.unparse(outer.target)
        if isinstance(outer, ast.stmt):
            break
    return "app"


@functools.cache
def _source(file: str) -> SourceModule | None:
    try:
        return SourceModule.of(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
