"""A file as the rules see it: names resolved to what was imported, each node with its parent."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
With: TypeAlias = ast.With | ast.AsyncWith


@dataclass(kw_only=True)
class SourceModule:
    """One module. The lists are in no order."""

    tree: ast.Module
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    """The names that this module imports, with what they stand for: `h` for `httpx`, `Client` for `httpx.Client`."""
    calls: list[ast.Call] = field(default_factory=list)
    withs: list[With] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    assigned: list[tuple[ast.expr, ast.expr]] = field(default_factory=list)
    """Targets of assignments, and what they get."""
    _locals: dict[Function, set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str | bytes) -> SourceModule:
        """Read a module.

        Raises:
            SyntaxError: if it is not Python, or not of a version that this Python reads.
            ValueError: if it has null bytes.
        """
        return cls.of_tree(ast.parse(text))

    @classmethod
    def of_tree(cls, tree: ast.Module) -> SourceModule:
        """Look at a module that is parsed already."""
        source = cls(tree=tree)
        source._walk()
        return source

    def _walk(self) -> None:
        pending: list[ast.AST] = [self.tree]
        while pending:
            node = pending.pop()
            self._note(node)
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
                pending.append(child)

    def _note(self, node: ast.AST) -> None:
        kind = type(node)
        if kind is ast.Call:
            self.calls.append(node)  # type: ignore[arg-type]
        elif isinstance(node, ast.Import):
            for name in node.names:
                self.imports[name.asname or name.name.partition(".")[0]] = (
                    name.name if name.asname else name.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for name in node.names:
                self.imports[name.asname or name.name] = (
                    f"{module}.{name.name}" if module.strip(".") else module + name.name
                )
        elif isinstance(node, ast.With | ast.AsyncWith):
            self.withs.append(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self.functions.append(node)
        elif isinstance(node, ast.Assign):
            self.assigned.extend((target, node.value) for target in node.targets)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            self.assigned.append((node.target, node.value))

    def name(self, node: ast.AST) -> str:
        """Return what an expression stands for, such as `httpx.Client`; empty if that is no dotted name."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.imports.get(node.id, node.id), *reversed(parts)])

    def is_imported(self, node: ast.AST) -> bool:
        """Return whether a dotted name begins with something that the module imports."""
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and node.id in self.imports

    def uses(self, *packages: str) -> bool:
        """Return whether the module imports one of these packages, or from one."""
        return any(name.partition(".")[0] in packages for name in self.imports.values())

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """Give the nodes around a node, the innermost first."""
        while (node := self.parents.get(node)) is not None:  # type: ignore[assignment]
            yield node

    def variable(self, node: ast.expr) -> str:
        """Return a variable as it is written; one of a function with the function's name before it."""
        text = ast.unparse(node)
        function = self.function_of(node)
        if isinstance(node, ast.Name) and isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            return f"{function.name}.{text}" if text in self._locals_of(function) else text
        return text

    def _locals_of(self, function: Function) -> set[str]:
        if function not in self._locals:
            arguments = function.args
            names = {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
            names |= {
                node.id
                for node in own_nodes(function.body)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            }
            self._locals[function] = names
        return self._locals[function]

    def function_of(self, node: ast.AST) -> Function | ast.Lambda | None:
        """Return the innermost function that a node is in."""
        for outer in self.around(node):
            if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                return outer
        return None


def own_nodes(body: Iterable[ast.stmt]) -> Iterator[ast.AST]:
    """Give the nodes of some statements, but for what is in a function or class among them."""
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            pending.extend(ast.iter_child_nodes(node))


def text_of(node: ast.AST | None) -> str | None:
    """Return the text of a literal; None for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
