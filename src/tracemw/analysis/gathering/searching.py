"""Traces that a search of Tempo or of the viewer finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tracemw.analysis.load.query_api import QueryApi
from tracemw.analysis.model import Trace

_FILTER: Final = re.compile(r"""\s*\{\s*((?:[^{}"`]|"(?:[^"\\]|\\.)*"|`[^`]*`)*?)\s*\}\s*""")
"""One filter of spans, whose strings may have braces."""

_AT_ONCE: Final = 8
"""Traces that are fetched side by side, and held in memory."""


def fetch(api: QueryApi, ids: Sequence[str], report: Callable[[str], object]) -> Iterator[Trace]:
    """Give the traces of ids, some of them fetched side by side, and report how far that is."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for begin in range(0, len(ids), _AT_ONCE):
            yield from threads.map(api.trace, ids[begin : begin + _AT_ONCE])
            report(f"{min(begin + _AT_ONCE, len(ids))} of {len(ids)} traces")


def narrowed(query: str | None, own: str) -> str:
    """Return the TraceQL of a search for spans that also match a condition.

    Of a query that is one filter, the condition narrows the spans; else it narrows the traces.
    """
    condition = filter_of(query or "{ }")
    if condition is None:
        return f"{{ {own} }} && {query}"
    return f"{{ {own} && ({condition}) }}" if condition else f"{{ {own} }}"


def filter_of(query: str) -> str | None:
    """Return the condition of a query that is one filter of spans; None for any other query."""
    found = _FILTER.fullmatch(query)
    return None if found is None else found[1]
