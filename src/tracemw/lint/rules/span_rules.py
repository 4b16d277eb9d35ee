"""Spans: their names, their ends, and where they are current. `TMW201`, `TMW202`, `TMW203`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from tracemw.lint.codes import Spot
from tracemw.lint.source import Function, SourceModule, own_nodes, text_of

_OURS: Final = frozenset({"tracemw.span", "tracemw.spans.span"})
NAMED: Final = frozenset({"tracemw.traced", "tracemw.spans.traced"})
_METHODS: Final = frozenset({"start_as_current_span", "start_span"})
_FEW: Final = re.compile(r"(?i:(?:^|[._])(?:method|route|operation|model|__(?:qual)?name__)(?:_?name|_attribute)?$)")
"""What the semantic conventions build names of spans from, and names of classes and functions."""
_MANAGERS: Final = ("contextmanager", "asynccontextmanager", "fixture")


def is_span(call: ast.AST, source: SourceModule) -> bool:
    """Return whether an expression makes a span."""
    if not isinstance(call, ast.Call):
        return False
    if source.name(call.func) in _OURS:
        return True
    return (
        isinstance(call.func, ast.Attribute)
        and call.func.attr in _METHODS
        and name_of(call) is not None  # else a method of somebody else's
        and source.uses("opentelemetry", "tracemw")
    )


def name_of(call: ast.Call) -> ast.expr | None:
    """Return the argument that names a span."""
    if call.args:
        return call.args[0]
    return next((keyword.value for keyword in call.keywords if keyword.arg == "name"), None)


def shown_name(call: ast.Call) -> str:
    """Return a span's name as the source has it."""
    name = name_of(call)
    return "" if name is None else ast.unparse(name)


def spans_of(block: ast.With | ast.AsyncWith, source: SourceModule) -> Iterator[ast.Call]:
    """Give the calls that open the spans of a `with`."""
    for item in block.items:
        if isinstance(item.context_expr, ast.Call) and is_span(item.context_expr, source):
            yield item.context_expr


def names_from_data(source: SourceModule) -> Iterator[Spot]:
    """Find names of spans that are put together from data."""
    for call in source.calls:
        renames = (
            isinstance(call.func, ast.Attribute) and call.func.attr == "update_name" and source.uses("opentelemetry")
        )
        if not renames and not is_span(call, source) and source.name(call.func) not in NAMED:
            continue
        name = name_of(call)
        if name is not None and _is_from_data(name):
            yield Spot(name.lineno, name.col_offset, "TMW201", ast.unparse(name))


def _is_from_data(node: ast.expr) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) and not _is_fixed(part.value) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return text_of(node.left) is not None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = (node.left, node.right)
        return any(text_of(side) is not None or isinstance(side, ast.BinOp | ast.JoinedStr) for side in sides) and any(
            not isinstance(side, ast.Constant) and not _is_fixed(side) for side in sides
        )
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return text_of(node.func.value) is not None
    return False


def _is_fixed(node: ast.expr) -> bool:
    """Return whether a value is one of few: a constant, or named for one of `_FEW`."""
    if isinstance(node, ast.Subscript):
        node = node.slice
        return _FEW.search(text_of(node) or ast.unparse(node)) is not None
    if isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id.isupper()):
        return True
    if isinstance(node, ast.Name):
        return _FEW.search(node.id) is not None
    return isinstance(node, ast.Attribute) and (node.attr.isupper() or _FEW.search(node.attr) is not None)


def spans_without_end(source: SourceModule) -> Iterator[Spot]:
    """Find spans that a function starts, keeps to itself and never ends."""
    for call in source.calls:
        if not (isinstance(call.func, ast.Attribute) and call.func.attr == "start_span" and is_span(call, source)):
            continue
        parent = source.parents.get(call)
        spot = Spot(call.lineno, call.col_offset, "TMW202", shown_name(call))
        if isinstance(parent, ast.Expr):
            yield spot
        elif isinstance(parent, ast.Assign) and len(parent.targets) == 1 and isinstance(parent.targets[0], ast.Name):
            function = source.function_of(call)
            if function is not None and not _ends_or_leaves(parent.targets[0].id, function, source):
                yield spot


def _ends_or_leaves(name: str, function: ast.AST, source: SourceModule) -> bool:
    """Return whether a local span is ended, or given to somebody who may end it."""
    for node in ast.walk(function):
        if not (isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)):
            continue
        parent = source.parents.get(node)
        if isinstance(parent, ast.Attribute):
            if parent.attr in ("end", "__exit__"):
                return True
            continue
        if isinstance(parent, ast.Call) and node in parent.args and _only_looks(parent, source):
            continue
        if not isinstance(parent, ast.Compare | ast.BoolOp | ast.If | ast.UnaryOp):
            return True  # returned, stored, captured, given away
    return False


def _only_looks(call: ast.Call, source: SourceModule) -> bool:
    """Return whether a call uses a span without ending it: `use_span(span)` without `end_on_exit`, for one."""
    name = source.name(call.func).rpartition(".")[2]
    if name == "set_span_in_context":
        return True
    return name == "use_span" and not any(
        keyword.arg == "end_on_exit" and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
        for keyword in call.keywords
    )


def spans_across_yields(source: SourceModule) -> Iterator[Spot]:
    """Find spans that are current while a generator is suspended: its caller goes on within the span."""
    for block in source.withs:
        spans = [call for call in spans_of(block, source) if not _is_not_current(call)]
        function = source.function_of(block)
        if not spans or not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or _is_manager(function):
            continue
        if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_nodes(block.body)):
            yield Spot(block.lineno, block.col_offset, "TMW203", shown_name(spans[0]))


def _is_not_current(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "start_span"


def _is_manager(function: Function) -> bool:
    """Return whether a generator is made into a context manager or fixture: then its caller is meant to be within."""
    return any(name in ast.unparse(decorator) for decorator in function.decorator_list for name in _MANAGERS)
