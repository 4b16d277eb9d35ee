"""Work that other threads get without the context of the trace. `TMW303`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from tracemw.lint.codes import Spot
from tracemw.lint.rules.span_rules import NAMED, is_span, spans_of
from tracemw.lint.source import SourceModule

_POOLS: Final = frozenset(
    {
        "concurrent.futures.ThreadPoolExecutor",
        "concurrent.futures.thread.ThreadPoolExecutor",
    }
)
_THREADS: Final = frozenset({"threading.Thread", "threading.Timer"})
_ROUTES: Final = frozenset({"get", "post", "put", "patch", "delete", "route", "api_route", "websocket"})
_SOONER: Final = ("submit", "map")


def lost_contexts(source: SourceModule) -> Iterator[Spot]:
    """Find functions that run in another thread, and not within a copy of the context."""
    if not source.uses("opentelemetry", "tracemw"):
        return
    pools = {ast.unparse(target) for target, value in source.assigned if _is_pool(value, source)}
    for block in source.withs:
        pools |= {
            ast.unparse(item.optional_vars)
            for item in block.items
            if item.optional_vars is not None and _is_pool(item.context_expr, source)
        }
    for call in source.calls:
        if source.function_of(call) is None:  # at import there is no trace
            continue
        work = _work_of(call, pools, source)
        if work is not None and not _takes_context(work, source) and _has_trace(call, work, source):
            yield Spot(call.lineno, call.col_offset, "TMW303", ast.unparse(call.func))


def _is_pool(node: ast.expr, source: SourceModule) -> bool:
    return isinstance(node, ast.Call) and source.name(node.func) in _POOLS


def _work_of(call: ast.Call, pools: set[str], source: SourceModule) -> ast.expr | None:
    """Return the function that another thread gets by this call; None if it is no such call."""
    func = call.func
    if source.name(func) in _THREADS:
        if not any(keyword.arg in ("args", "kwargs") for keyword in call.keywords):
            return None  # a worker of the process, which gets nothing of a request
        return next((keyword.value for keyword in call.keywords if keyword.arg in ("target", "function")), None)
    if not isinstance(func, ast.Attribute):
        return None
    if func.attr == "run_in_executor" and len(call.args) > 1 and not source.is_imported(func):
        return call.args[1]
    if func.attr in _SOONER and call.args and (ast.unparse(func.value) in pools or _is_pool(func.value, source)):
        return call.args[0]
    return None


def _has_trace(call: ast.Call, work: ast.expr, source: SourceModule) -> bool:
    """Return whether the module shows a trace: one that is current at the call, or spans that the work opens."""
    for outer in source.around(call):
        if isinstance(outer, ast.With | ast.AsyncWith) and any(spans_of(outer, source)):
            return True
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef) and any(
            _serves(decorator, source) for decorator in outer.decorator_list
        ):
            return True
    name = work.attr if isinstance(work, ast.Attribute) else work.id if isinstance(work, ast.Name) else None
    return any(
        is_span(node, source) for function in source.functions if function.name == name for node in ast.walk(function)
    )


def _serves(decorator: ast.expr, source: SourceModule) -> bool:
    """Return whether a decorator makes a span of each call, or a handler of requests."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return source.name(called) in NAMED or (
        isinstance(decorator, ast.Call) and isinstance(called, ast.Attribute) and called.attr in _ROUTES
    )


def _takes_context(work: ast.expr, source: SourceModule) -> bool:
    """Return whether a function is the `run` of a context, or a partial of it."""
    if isinstance(work, ast.Call) and source.name(work.func) == "functools.partial" and work.args:
        work = work.args[0]
    return isinstance(work, ast.Attribute) and work.attr == "run"
