"""Applications that never get a middleware, seen over all files together. `TMW301`.

An application may be made in one file and get its middleware in another. So each file says what it makes and what it
traces, and the two are brought together at the end.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tracemw.lint.codes import Spot, Violation, problem
from tracemw.lint.doors import MADE_BY
from tracemw.lint.source import SourceModule

_MIDDLEWARE: Final = "TraceMiddleware"
_OTHERS: Final = ("instrument_app", "instrument_fastapi", "instrument_starlette", "instrument_flask", "instrument_asgi")
"""What traces an application as well: the official instrumentations, and logfire."""
_OTHERS_CLASSES: Final = ("OpenTelemetryMiddleware", "SentryAsgiMiddleware")
_MOUNTS: Final = ("mount", "Mount", "WSGIMiddleware", "DispatcherMiddleware", "mount_asgi", "Host")


@dataclass(frozen=True, kw_only=True)
class _Made:
    spot: Spot
    names: frozenset[str]
    """What the application is called where it is made: variables, and the function that returns it."""


@dataclass(kw_only=True)
class _Module:
    path: Path
    made: list[_Made] = field(default_factory=list)
    traced: set[str] = field(default_factory=set)
    """What the module traces or mounts, by the names that it has here; those that are imported, with their module."""
    handed: dict[str, set[str]] = field(default_factory=dict)
    """What the module hands to functions, by the functions' names."""
    tracers: set[str] = field(default_factory=set)
    """Functions here that trace what they are given."""
    mounters: dict[str, set[str]] = field(default_factory=dict)
    """What functions here mount in an application that they are given, by the functions' names."""
    called: set[str] = field(default_factory=set)
    """The functions that the module calls, by their names."""
    traces_all: bool = False
    """Whether the middleware is somewhere where the file does not show for which application."""


class Applications:
    """The applications of many files."""

    def __init__(self) -> None:
        self._modules: list[_Module] = []

    def add(self, path: Path, source: SourceModule) -> None:
        """Note what a file makes and traces."""
        module = _Module(path=path)
        for call in source.calls:
            self._note(call, source, module)
        for name, target in source.imports.items():
            if target.rpartition(".")[2] == _MIDDLEWARE and not _is_used(name, source):
                module.traces_all = True
        self._modules.append(module)

    def problems(self) -> Iterator[Violation]:
        """Give the applications that no file traces."""
        called = {name for module in self._modules for name in module.called}
        for module in self._modules:
            module.traced.update(*(names for function, names in module.mounters.items() if function in called))
        traced = {_tail(name) for module in self._modules for name in module.traced if "." in name}
        tracers = {name for module in self._modules for name in module.tracers}
        for module in self._modules:
            if module.traces_all:
                continue
            here = module.traced | {
                name for function, names in module.handed.items() if function in tracers for name in names
            }
            for made in module.made:
                stem = module.path.parent.name if module.path.stem == "__init__" else module.path.stem
                if not made.names & here and not any(f"{stem}.{name}" in traced for name in made.names):
                    yield problem(module.path, made.spot)

    def _note(self, call: ast.Call, source: SourceModule, module: _Module) -> None:
        name = source.name(call.func)
        if name in MADE_BY and source.is_imported(call.func):
            self._note_made(call, name, source, module)
            return
        last = name.rpartition(".")[2] or (call.func.attr if isinstance(call.func, ast.Attribute) else "")
        if last == _MIDDLEWARE or last in _OTHERS or last in _OTHERS_CLASSES or last in _MOUNTS:
            mounter = _mounter(call, source) if last in _MOUNTS else None
            into = module.traced if mounter is None else module.mounters.setdefault(mounter, set())
            for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                self._note_traced(argument, call, source, module, into)
        elif last == "add_middleware" and isinstance(call.func, ast.Attribute) and _names_middleware(call, source):
            self._note_traced(call.func.value, call, source, module, module.traced)
        if last:
            module.called.add(last)
        for argument in call.args:
            if isinstance(argument, ast.Name | ast.Attribute) and last:
                module.handed.setdefault(last, set()).add(source.variable(argument))

    def _note_made(self, call: ast.Call, name: str, source: SourceModule, module: _Module) -> None:
        if _names_middleware(call, source) or any(map(_is_open, call.keywords)):
            return
        if isinstance(source.parents.get(call), ast.Call | ast.Expr | ast.Dict):
            return  # handed on to whoever may trace it, or made for its side effects only
        names: set[str] = set()
        is_variable = False
        for outer in source.around(call):
            if isinstance(outer, ast.Call):
                last = source.name(outer.func).rpartition(".")[2]
                if last == _MIDDLEWARE or last in _OTHERS_CLASSES or last in _MOUNTS:
                    return
            elif isinstance(outer, ast.Assign):
                names |= {source.variable(target) for target in outer.targets}
            elif isinstance(outer, ast.AnnAssign | ast.NamedExpr):
                names.add(source.variable(outer.target))
            elif isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(outer.name)
                break
            is_variable = is_variable or bool(names)
        shown = (min(names, key=len) if names else f"{name}()").rpartition(".")[2]
        line = MADE_BY[name].line_for(shown if is_variable else "app")
        spot = Spot(call.lineno, call.col_offset, "TMW301", shown, f"add {line}")
        module.made.append(_Made(spot=spot, names=frozenset(names)))

    def _note_traced(
        self, node: ast.expr, call: ast.Call, source: SourceModule, module: _Module, into: set[str]
    ) -> None:
        if isinstance(node, ast.Call):
            for inner in node.args:  # mount("/", SomeAdapter(app))
                self._note_traced(inner, call, source, module, into)
            node = node.func
        if isinstance(node, ast.Attribute) and node.attr in ("wsgi_app", "asgi_app"):
            node = node.value
        text = ast.unparse(node)
        into.add(source.variable(node))
        if resolved := source.name(node):
            into.add(resolved.lstrip("."))
        for target, value in source.assigned:  # app = create_app(), and create_app is another module's
            if ast.unparse(target) == text and isinstance(value, ast.Call) and (made := source.name(value.func)):
                into.add(made.lstrip("."))
        function = source.function_of(call)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            if text in _parameters(function):
                module.tracers.add(function.name)
            into.add(function.name)


def _mounter(call: ast.Call, source: SourceModule) -> str | None:
    """Return the function that mounts something in an application that it is given; None for any other mount.

    Whoever has no such application never calls the function, and serves what it would mount by itself.
    """
    function = source.function_of(call)
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or not isinstance(call.func, ast.Attribute):
        return None
    return function.name if ast.unparse(call.func.value) in _parameters(function) else None


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    return {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}


def _is_open(keyword: ast.keyword) -> bool:
    """Return whether an argument may bring a middleware that the call itself does not show."""
    if keyword.arg == "middleware":
        return not isinstance(keyword.value, ast.List | ast.Tuple)
    return keyword.arg in (None, "telemetry")


def _tail(name: str) -> str:
    return ".".join(name.split(".")[-2:])


def _names_middleware(call: ast.Call, source: SourceModule) -> bool:
    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
        for node in ast.walk(argument):
            if isinstance(node, ast.Name | ast.Attribute):
                last = source.name(node).rpartition(".")[2]
                if last == _MIDDLEWARE or last in _OTHERS_CLASSES:
                    return True
    return False


def _is_used(name: str, source: SourceModule) -> bool:
    """Return whether an imported middleware is called, or handed to a call."""
    for call in source.calls:
        for node in (call.func, *call.args, *(keyword.value for keyword in call.keywords)):
            if any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node)):
                return True
    return False
