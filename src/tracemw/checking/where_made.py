"""The file and line where something is made."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from tracemw._otel.application import is_application
from tracemw.checking.problems import Place
from tracemw.lint.doors import MADE_BY, Framework
from tracemw.lint.source import Source


def application_modules() -> dict[str, ModuleType]:
    """Return the modules of the application's own that are loaded, by their files."""
    found: dict[str, ModuleType] = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py") and is_application(file):
            found[file] = module
    return found


def place_of_application(
    application: Any, framework: Framework, modules: dict[str, ModuleType]
) -> tuple[Place, str] | None:
    """Return where an application of a framework is made, and its name there; None if no module shows that."""
    holding = {
        file: module for file, module in modules.items() if any(each is application for each in vars(module).values())
    }
    for files in (holding, modules):
        found = [
            (_place(file, call), _name_of(source, call))
            for file in files
            for source in [_source(file)]
            if source is not None
            for call in source.calls
            if MADE_BY.get(source.name(call.func)) is framework
        ]
        if found and (files is holding or len(found) == 1):
            return found[0]
    return None


def place_of_name(file: str, name: str, among: Iterable[str] = ()) -> Place:
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
    return Place(path=shown_path(file))


def _ends_with(target: ast.expr, parts: list[str]) -> bool:
    if isinstance(target, ast.Tuple | ast.List):
        return any(_ends_with(each, parts) for each in target.elts)
    if not isinstance(target, ast.Attribute | ast.Name):
        return False
    return ast.unparse(target).split(".")[-len(parts) :] == parts


def place_of_code(path: str, line: int) -> Place:
    """Return the place of a line."""
    return Place(path=shown_path(path), line=line)


def shown_path(path: str | Path) -> str:
    """Return a path as it is shown: relative to the working directory where it is within."""
    full, here = Path(path).resolve(), Path.cwd()
    return full.relative_to(here).as_posix() if full.is_relative_to(here) else full.as_posix()


def _place(file: str, node: ast.expr | ast.stmt, until: ast.expr | None = None) -> Place:
    return Place(path=shown_path(file), line=node.lineno, last=(until or node).end_lineno)


def _name_of(source: Source, call: ast.Call) -> str:
    """Return the variable that a call's result becomes; `app` where it becomes none."""
    for outer in source.around(call):
        if isinstance(outer, ast.Assign):
            return ast.unparse(outer.targets[0])
        if isinstance(outer, ast.AnnAssign):
            return ast.unparse(outer.target)
        if isinstance(outer, ast.stmt):
            break
    return "app"


@functools.cache
def _source(file: str) -> Source | None:
    try:
        return Source.of(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
