"""Exceptions that end inside a span, and that nobody hears of. `TMW401`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from tracemw.lint.codes import Spot
from tracemw.lint.rules.span_rules import shown_name, spans_of
from tracemw.lint.source import SourceModule, own_nodes

_BROAD: Final = frozenset({"Exception", "BaseException"})
_TELLS: Final = frozenset(
    {
        *("record_exception", "set_status", "add_event", "keep", "annotate", "set_attribute", "stage"),
        *("debug", "info", "warning", "warn", "error", "exception", "critical", "log", "print", "capture_exception"),
        *("print_exc", "format_exc", "abort", "fail", "exit", "cancel", "set_exception"),
    }
)


def swallowed_exceptions(source: SourceModule) -> Iterator[Spot]:
    """Find handlers of any exception that neither raise, nor use it, nor tell of it."""
    for block in source.withs:
        spans = list(spans_of(block, source))
        if not spans:
            continue
        for node in own_nodes(block.body):
            if isinstance(node, ast.Try):
                for handler in node.handlers:
                    if _is_broad(handler, source) and not _tells(handler):
                        yield Spot(handler.lineno, handler.col_offset, "TMW401", shown_name(spans[0]))


def _is_broad(handler: ast.ExceptHandler, source: SourceModule) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or source.name(kind) in _BROAD for kind in kinds)


def _tells(handler: ast.ExceptHandler) -> bool:
    for node in own_nodes(handler.body):
        if isinstance(node, ast.Raise) or (
            handler.name is not None and isinstance(node, ast.Name) and node.id == handler.name
        ):
            return True
        if isinstance(node, ast.Call):
            func = node.func
            name = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
            if name in _TELLS:
                return True
    return False
