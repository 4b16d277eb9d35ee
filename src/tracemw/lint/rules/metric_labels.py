"""Labels of metrics that make a time series of each request. `TMW403`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from tracemw.lint.codes import Spot
from tracemw.lint.source import SourceModule, text_of

_ID: Final = re.compile(r"(?i:(?:^|[._])(?:trace|span|correlation|request)[._]?id$)")
_METHODS: Final = frozenset({"add", "record", "set", "observe", "labels"})


def trace_ids_in_labels(source: SourceModule) -> Iterator[Spot]:
    """Find calls of metrics whose labels have the id of a trace, span or request."""
    if not source.uses("opentelemetry", "prometheus_client", "tracemw"):
        return
    for call in source.calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr in _METHODS and _has_id(call):
            yield Spot(call.lineno, call.col_offset, "TMW403", ast.unparse(call.func.value))


def _has_id(call: ast.Call) -> bool:
    is_labels = isinstance(call.func, ast.Attribute) and call.func.attr == "labels"
    if is_labels and any(keyword.arg is not None and _ID.search(keyword.arg) for keyword in call.keywords):
        return True
    values = [*call.args[1:], *(keyword.value for keyword in call.keywords if keyword.arg == "attributes")]
    return any(
        text is not None and _ID.search(text)
        for value in values
        if isinstance(value, ast.Dict)
        for key in value.keys
        for text in [text_of(key)]
    )
