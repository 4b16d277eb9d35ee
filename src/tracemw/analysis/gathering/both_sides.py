"""Two sides, from the words that name them to their comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tracemw.analysis.comparison.changes import Comparison
from tracemw.analysis.comparison.comparing_sides import SidesError, compare
from tracemw.analysis.comparison.side import Side
from tracemw.analysis.gathering.measuring import Fetched, measure
from tracemw.analysis.gathering.searching import fetch
from tracemw.analysis.gathering.sources import Files, ServerSearch, parse_side
from tracemw.analysis.load.files import traces_of_files
from tracemw.analysis.load.query_api import QueryApi
from tracemw.analysis.load.unreadable import NoTraceError
from tracemw.analysis.model import Trace

_EVERY: Final = 100


def compare_sources(
    before: Sequence[str],
    after: Sequence[str],
    *,
    open_api: Callable[[], QueryApi],
    service: str | None = None,
    route: str | None = None,
    since: float = 3600.0,
    limit: int = 1000,
    report: Callable[[str], object],
) -> Comparison:
    """Return what sets two sets of traces apart.

    Args:
        before: Words that name one set: files, a version, times, TraceQL.
        after: Words that name the other.
        open_api: Returns the server to search. It is not called for files.
        service: Only requests of this service; None for all.
        route: Only requests of this route; None for all.
        since: How many seconds a search without times goes back.
        limit: How many traces a search gives at most.
        report: Is told how far the work is.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if a side is not accepted, is empty or cannot be read; or if both sides are the same.
    """
    now = time.time()
    sources = [parse_side(words, now, service=service, route=route, since=since) for words in (before, after)]
    if sources[0].is_same(sources[1]):
        raise SidesError("both sides are the same; name two sets that differ")
    sides: list[Side] = []
    fetched: list[Fetched] = []
    for when, source in zip(("before", "after"), sources, strict=True):
        side = Side(source.name, service=service, route=route)
        sides.append(side)
        if isinstance(source, Files):
            _look_at(traces_of_files(source.files), when, side, report)
        else:
            fetched.append(_searched(source, when, side, open_api(), limit, report))
    report("asking for metrics")
    whole, notes = measure(fetched) if len(fetched) == len(sides) else ({}, [])
    return compare(sides[0], sides[1], whole=whole, notes=notes)


def _searched(
    source: ServerSearch, when: str, side: Side, api: QueryApi, limit: int, report: Callable[[str], object]
) -> Fetched:
    ids = api.search(source.query, start=source.start, end=source.end, limit=limit)
    if not ids:
        raise NoTraceError(
            f"{when}: no trace matches {source.query} in this time; look further back, and check server and tenant"
        )
    _look_at(fetch(api, ids, lambda done: report(f"{when}: {done}")), when, side, report)
    return Fetched(api, source, side, is_cut=len(ids) >= limit)


def _look_at(traces: Iterable[Trace], when: str, side: Side, report: Callable[[str], object]) -> None:
    for number, trace in enumerate(traces, 1):
        side.add(trace)
        if number % _EVERY == 0:
            report(f"{when}: {number} traces")
